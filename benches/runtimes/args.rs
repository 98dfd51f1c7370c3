//! The bench's own command line.

use anyhow::{Context, Result, bail};

use crate::cases::Case;
use crate::{crowd, engines, frozen};

pub(crate) const USAGE: &str = "\
usage: cargo bench --bench runtimes -- [--pairs N] [--cgroup2] [--write] [NAME...]

Times rt against runc and crun, also below podman, containerd and docker. NAME is a part of a case's title and picks the cases that have it; without
one all are measured.

  --pairs N   measure N pairs of each case
  --cgroup2   on a machine with cgroup v1: hide that and use v2
  --write     put the figures into docs/benchmarks.md (all cases must be measured)

RT_BIN is the rt to measure (otherwise the release binary), RT_CRIU the criu that all use.";

/// What to do.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) cases: Vec<Case>,
    /// Whether to measure many containers at once.
    pub(crate) crowd: bool,
    /// Whether to measure how long containers stand still.
    pub(crate) frozen: bool,
    /// Whether to measure through podman, containerd and docker.
    pub(crate) engines: bool,
    pub(crate) pairs: Option<usize>,
    pub(crate) cgroup2: bool,
    pub(crate) write: bool,
    pub(crate) help: bool,
}

impl Args {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut names = Vec::new();
        let mut parsed = Self {
            cases: Vec::new(),
            crowd: false,
            frozen: false,
            engines: false,
            pairs: None,
            cgroup2: false,
            write: false,
            help: false,
        };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg {
                // cargo itself says this to every bench.
                "--bench" => {}
                "--pairs" => parsed.pairs = Some(pairs(args.next())?),
                "--cgroup2" => parsed.cgroup2 = true,
                "--write" => parsed.write = true,
                "--help" | "-h" => parsed.help = true,
                flag if flag.starts_with('-') => bail!("unknown flag {flag}\n{USAGE}"),
                name => names.push(name),
            }
        }
        let more = [crowd::TITLE, frozen::TITLE, engines::TITLE];
        let titles: Vec<_> = Case::ALL.map(Case::title).into_iter().chain(more).collect();
        for name in &names {
            if !titles.iter().any(|title| title.contains(name)) {
                bail!("no case has {name:?} in its title: {}", titles.join(", "));
            }
        }
        if parsed.write && !names.is_empty() {
            bail!("--write: the page holds all cases, so all must be measured");
        }
        let picked = |title: &str| names.is_empty() || names.iter().any(|name| title.contains(name));
        parsed.cases = Case::ALL.into_iter().filter(|case| picked(case.title())).collect();
        parsed.crowd = picked(crowd::TITLE);
        parsed.frozen = picked(frozen::TITLE);
        parsed.engines = picked(engines::TITLE);
        Ok(parsed)
    }
}

fn pairs(value: Option<&str>) -> Result<usize> {
    match value.context("flag needs an argument: --pairs")?.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => bail!("--pairs: not a number above 0"),
    }
}
