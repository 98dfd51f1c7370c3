//! What a machine must have for CRIU: the program and its helpers, the kernel's features, the limits.

use super::finding::Finding;
use super::proc::{field, text};
use criu::{Class, Features, Session, Version};
use std::path::PathBuf;

/// The version of CRIU that can dump internet sockets on Linux 6.16 and later, where SO_PASSCRED cannot be asked of them.
const SEES_SOCKETS: Version = Version::new(4, 2, 0);
/// What a lazy page server asks for, at the most.
const LARGEST_PIPE: u64 = 8 << 20;
/// The programs that CRIU starts, and what it is without.
const PROGRAMS: [(&str, Class); 4] = [
    ("tar", Class::TarMissing),
    ("iptables-restore", Class::IptablesMissing),
    ("ip6tables-restore", Class::IptablesMissing),
    ("ip", Class::IpMissing),
];

/// What was found of a machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) criu: PathBuf,
    pub(super) version: Version,
    /// `6.18.5-amd64`.
    pub(super) kernel: String,
    pub(super) features: Features,
    /// Programs that CRIU would not find.
    pub(super) missing: Vec<(&'static str, Class)>,
    /// /proc/sys/fs/pipe-max-size, in bytes; none for who may exceed it.
    pub(super) pipe_limit: Option<u64>,
}

/// What a dump needs of a machine besides what every dump needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    /// To know which memory changes.
    pub(super) tracking: bool,
    /// To serve memory on demand.
    pub(super) lazy_pages: bool,
    /// To hold packets back with iptables.
    pub(super) iptables: bool,
    /// To write down a network namespace.
    pub(super) network: bool,
}

impl Machine {
    /// Asks criu and the kernel.
    pub(super) fn ask(criu: PathBuf, session: &mut Session) -> criu::Result<Self> {
        let version = session.version()?;
        // CRIU(3.15): it does not know the third feature, and then says nothing of the others.
        let wanted = Features { pidfd_store: version >= Version::new(3, 16, 0), ..Features::ALL };
        Ok(Self {
            version,
            criu,
            kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            features: session.features(wanted)?,
            missing: PROGRAMS.into_iter().filter(|(name, _)| criu::binary::helper(name).is_none()).collect(),
            pipe_limit: pipe_limit(),
        })
    }

    /// Whether this criu cannot dump internet sockets on this kernel.
    pub(super) fn is_criu_blind(&self) -> bool {
        self.version < SEES_SOCKETS && numbers(&self.kernel) >= (6, 16)
    }

    /// What there is and what is missing: all of it, where nobody says what is needed.
    pub(super) fn judge(&self, needs: Option<Needs>) -> Vec<Finding> {
        let criu = format!("criu {} ({}), Linux {}", self.version, self.criu.display(), self.kernel);
        let mut findings = vec![if self.is_criu_blind() {
            Finding::warning(Class::CriuTooOld, format!("{criu}: it cannot dump internet sockets"))
        } else {
            Finding::ok(Class::CriuTooOld, criu)
        }];
        let features = [
            (
                self.features.mem_track,
                Class::MemoryTracking,
                "CONFIG_MEM_SOFT_DIRTY",
                needs.map(|needs| needs.tracking),
            ),
            (
                self.features.lazy_pages,
                Class::Userfaultfd,
                "userfaultfd(2)",
                needs.map(|needs| needs.lazy_pages),
            ),
        ];
        findings.extend(
            features
                .into_iter()
                .filter_map(|(is_there, class, name, needed)| optional(is_there, class, name, needed)),
        );
        if needs.is_none_or(|needs| needs.lazy_pages) {
            findings.push(self.pipe());
        }
        findings.extend(self.programs(needs));
        findings
    }

    /// A lazy page server keeps memory in pipes; how large they have to be depends on how the memory lies.
    fn pipe(&self) -> Finding {
        match self.pipe_limit {
            None => Finding::ok(Class::PipeSize, "pipes of any size (CAP_SYS_RESOURCE)"),
            Some(limit) if limit >= LARGEST_PIPE => {
                Finding::ok(Class::PipeSize, format!("pipes of {limit} bytes"))
            }
            Some(limit) => Finding::warning(Class::PipeSize, format!("pipes of {limit} bytes at the most")),
        }
    }

    fn programs(&self, needs: Option<Needs>) -> Vec<Finding> {
        let judge = |(name, class): &(&str, Class)| {
            let needed = needs.map(|needs| match class {
                Class::IptablesMissing => needs.iptables,
                Class::IpMissing => needs.network,
                // Of a tmpfs that holds something; which ones do is known when the container stands still.
                _ => false,
            });
            match needed {
                Some(true) => Some(Finding::fails(*class, *name)),
                Some(false) if *class != Class::TarMissing => None,
                _ => Some(Finding::warning(*class, *name)),
            }
        };
        let missing: Vec<_> = self.missing.iter().filter_map(judge).collect();
        match (missing.is_empty(), needs) {
            (true, None) => vec![Finding::ok(Class::TarMissing, "tar, ip and iptables are there")],
            _ => missing,
        }
    }
}

/// A feature that not everybody needs: not worth a word where nobody does, and a failure where it is missed.
fn optional(is_there: bool, class: Class, name: &str, needed: Option<bool>) -> Option<Finding> {
    match (is_there, needed) {
        (_, Some(false)) => None,
        (true, _) => Some(Finding::ok(class, name)),
        (false, None) => Some(Finding::warning(class, format!("no {name}"))),
        (false, Some(true)) => Some(Finding::fails(class, format!("no {name}"))),
    }
}

/// The largest pipe that this process may ask for (pipe(7)).
fn pipe_limit() -> Option<u64> {
    const CAP_SYS_RESOURCE: u32 = 24;
    let capabilities =
        text("/proc/self/status").and_then(|status| u64::from_str_radix(field(&status, "CapEff")?, 16).ok());
    if capabilities.is_some_and(|set| set >> CAP_SYS_RESOURCE & 1 == 1) {
        return None;
    }
    text("/proc/sys/fs/pipe-max-size").and_then(|limit| limit.trim().parse().ok())
}

/// The first two numbers of a kernel's version.
fn numbers(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn machine() -> Machine {
        Machine {
            criu: "/usr/sbin/criu".into(),
            version: Version::new(4, 1, 1),
            kernel: "6.18.0-rc1+".into(),
            features: Features { lazy_pages: true, ..Features::default() },
            missing: vec![("tar", Class::TarMissing), ("ip", Class::IpMissing)],
            pipe_limit: Some(1 << 20),
        }
    }

    fn verdicts(findings: &[Finding]) -> Vec<(Class, Verdict)> {
        findings.iter().map(|finding| (finding.class, finding.verdict)).collect()
    }

    #[test]
    fn all_is_told_where_nobody_says_what_is_needed() {
        use Class::{CriuTooOld, IpMissing, MemoryTracking, PipeSize, TarMissing, Userfaultfd};
        use Verdict::{Ok, Warning, WouldFail};
        let expected = [
            (CriuTooOld, Warning),
            (MemoryTracking, Warning),
            (Userfaultfd, Ok),
            (PipeSize, Warning),
            (TarMissing, Warning),
            (IpMissing, Warning),
        ];
        assert_eq!(verdicts(&machine().judge(None)), expected);
        let needs = Needs { tracking: true, network: true, ..Needs::default() };
        let expected = [
            (CriuTooOld, Warning),
            (MemoryTracking, WouldFail),
            (TarMissing, Warning),
            (IpMissing, WouldFail),
        ];
        assert_eq!(verdicts(&machine().judge(Some(needs))), expected);
    }

    #[test]
    fn an_old_criu_is_blind_on_a_new_kernel_only() {
        assert!(machine().is_criu_blind());
        assert!(!Machine { kernel: "6.12.48+deb13-amd64".into(), ..machine() }.is_criu_blind());
        assert!(!Machine { version: Version::new(4, 2, 1), ..machine() }.is_criu_blind());
        assert_eq!((numbers("5.10"), numbers("")), ((5, 10), (0, 0)));
    }
}
