//! The kernel that runs here, and the oldest that will do.

/// The oldest that `rt` runs on, major and minor version: the one that brought mount_setattr(2), and, one earlier, close_range(2) with
/// `CLOSE_RANGE_CLOEXEC`. What younger ones add is marked `KERNEL(x.y)` where it is used.
pub const OLDEST: (u32, u32) = (5, 12);

/// What to say of a failure where the kernel is older than [`OLDEST`], on which calls fail that are not checked one by one.
pub fn too_old() -> Option<String> {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let (major, minor) = OLDEST;
    (version(&release)? < OLDEST)
        .then(|| format!("this is Linux {release}, and rt needs {major}.{minor} or later"))
}

/// The first two numbers of a release such as `6.1.0-50-cloud-amd64`; `None` when it does not begin with them.
fn version(release: &str) -> Option<(u32, u32)> {
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
        assert!(version("5.9.16") < Some(OLDEST) && version("5.12.1") >= Some(OLDEST));
    }

    #[test]
    fn nothing_is_said_of_a_kernel_that_will_do() {
        assert_eq!(too_old(), None);
    }
}
