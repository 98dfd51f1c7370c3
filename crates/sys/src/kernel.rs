//! The kernel that runs here.

/// Its release, such as `6.1.0-50-cloud-amd64` (uname(2)).
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The first two numbers of a release such as `6.1.0-50-cloud-amd64`; `None` when it does not begin with them.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_by_its_numbers() {
        for (release, expected) in [
            ("5.10.0-46-cloud-amd64", Some((5, 10))),
            ("4.18.0-553.el8_10.x86_64", Some((4, 18))),
            ("6.18.44-fc-v669", Some((6, 18))),
            ("5.12", Some((5, 12))),
            ("5.12-rc1+", Some((5, 12))),
            ("6", None),
            ("next", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn this_one_has_a_version() {
        assert!(version(&release()).is_some());
    }
}
