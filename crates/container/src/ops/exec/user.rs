//! Who an exec'ed process runs as.

use crate::error::{Error, Result};

/// Who an exec'ed process runs as (`--user UID[:GID]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecUser {
    /// The user id.
    pub uid: u32,
    /// The group id; None keeps the container process'.
    pub gid: Option<u32>,
}

impl ExecUser {
    /// Understands `UID[:GID]`. Strictly numbers: CVE-2026-30892 was a user that was not understood and became root.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: String| Err(Error::Request(format!("--user {text:?}: {why}")));
        let number = |part: &str| match part.parse::<u32>() {
            // The kernel's "no change" (setresuid(2)).
            Ok(u32::MAX) | Err(_) => refuse("must be UID[:GID], both numbers".into()),
            Ok(number) if part.starts_with('+') => refuse(format!("{number} must be written without a sign")),
            Ok(number) => Ok(number),
        };
        let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
        Ok(Self { uid: number(uid)?, gid: gid.map(number).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::ExecUser;

    #[test]
    fn users_are_numbers_and_nothing_else() {
        assert_eq!(ExecUser::parse("1").unwrap(), ExecUser { uid: 1, gid: None });
        assert_eq!(ExecUser::parse("1:2").unwrap(), ExecUser { uid: 1, gid: Some(2) });
        for bad in ["", ":", "1:", ":2", "root", "1:x", "-1", "+1", "4294967295", "4294967296", "1:2:3", " 1"]
        {
            assert!(ExecUser::parse(bad).is_err(), "{bad:?}");
        }
    }
}
