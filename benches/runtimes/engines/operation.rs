//! What is done with the engines.

use anyhow::Result;

use super::{Family, Sample, Subject};

/// The name of the container; there is one at a time.
pub(crate) const NAME: &str = "bench";

/// One command of an engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    PodmanRun,
    PodmanCheckpoint,
    PodmanRestore,
    CtrRun,
    DockerRun,
    DockerCheckpoint,
}

impl Operation {
    /// Those of one engine.
    pub(crate) fn of(family: Family) -> &'static [Self] {
        match family {
            Family::Podman => &[Self::PodmanRun, Self::PodmanCheckpoint, Self::PodmanRestore],
            Family::Containerd => &[Self::CtrRun],
            Family::Docker => &[Self::DockerRun, Self::DockerCheckpoint],
        }
    }

    /// As it stands in the table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::PodmanRun => "podman run --rm",
            Self::PodmanCheckpoint => "podman container checkpoint --export",
            Self::PodmanRestore => "podman container restore --import",
            Self::CtrRun => "ctr run --rm",
            Self::DockerRun => "docker run --rm",
            Self::DockerCheckpoint => "docker checkpoint create",
        }
    }

    /// Whether it stands on CRIU.
    pub(crate) fn needs_criu(self) -> bool {
        matches!(self, Self::PodmanCheckpoint | Self::PodmanRestore | Self::DockerCheckpoint)
    }

    /// Does it once.
    pub(super) fn sample(self, subject: &Subject<'_>) -> Result<Sample> {
        match self {
            Self::PodmanRun => brief(subject, &[]),
            Self::PodmanCheckpoint => {
                let archive = subject.path("archive.tar")?;
                subject.start(&[])?;
                let sample = subject.time(&["container", "checkpoint", "--export", &archive, NAME])?;
                subject.time(&["rm", "-f", "-t", "0", NAME])?;
                Ok(sample)
            }
            Self::PodmanRestore => {
                let archive = subject.path("archive.tar")?;
                subject.start(&[])?;
                subject.time(&["container", "checkpoint", "--export", &archive, NAME])?;
                subject.time(&["rm", "-f", "-t", "0", NAME])?;
                let sample = subject.time(&["container", "restore", "--import", &archive])?;
                subject.time(&["rm", "-f", "-t", "0", NAME])?;
                Ok(sample)
            }
            Self::CtrRun => subject.time(&[
                "run",
                "--rm",
                "--runc-binary",
                &subject.path(&format!("timed/{}", subject.side.name))?,
                "--runc-root",
                &subject.path("ctr-state")?,
                "--fifo-dir",
                &subject.path("")?,
                "--rootfs",
                subject.rootfs()?,
                NAME,
                "/bin/true",
            ]),
            Self::DockerRun => brief(subject, &["--runtime", &subject.side.for_docker()]),
            Self::DockerCheckpoint => {
                subject.start(&["--runtime", &subject.side.for_docker()])?;
                let sample = subject.time(&["checkpoint", "create", NAME, "one"])?;
                subject.time(&["rm", "-f", NAME])?;
                Ok(sample)
            }
        }
    }
}

/// `run --rm` of /bin/true.
fn brief(subject: &Subject<'_>, options: &[&str]) -> Result<Sample> {
    let (image, needed) = subject.image();
    let needed: Vec<_> = needed.iter().map(String::as_str).collect();
    subject.time(&[&["run", "--rm"], options, &needed, &[image, "/bin/true"]].concat())
}
