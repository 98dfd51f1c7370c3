//! Five hundred containers at once: what the last of them costs beside the first, and a list of all.

use anyhow::Result;

use crate::cases::{Subject, text};
use crate::runner::Cost;
use crate::stats::{Quartiles, wall};

/// As the command line picks it.
pub(crate) const TITLE: &str = "crowd of 500";

const SIZE: usize = 500;
/// How many of the first and of the last are looked at, and how often all are listed.
const SAMPLES: usize = 15;

/// What one runtime needs, in milliseconds of wall time; medians.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    first: f64,
    last: f64,
    list: f64,
}

impl Crowd {
    /// Starts them one after the other, each of which stays, lists them, and takes them away again.
    pub(crate) fn of(subject: &Subject<'_>) -> Result<Self> {
        subject.in_fresh_directory(|| {
            let mut starts = Vec::new();
            let outcome = (0..SIZE).try_for_each(|index| {
                let bundle = subject.bundles.one_of_many(index)?;
                starts.push(subject.command(&["run", "--detach", "--bundle", text(&bundle)?, &id(index)])?);
                subject.runner.check_interrupt()
            });
            let lists: Result<Vec<Cost>> = (0..SAMPLES).map(|_| subject.command(&["list"])).collect();
            for index in 0..starts.len() {
                subject.command(&["delete", "--force", &id(index)])?;
            }
            outcome?;
            let median = |costs: &[Cost]| Quartiles::of(costs, wall).median;
            let (first, last) = (median(&starts[..SAMPLES]), median(&starts[SIZE - SAMPLES..]));
            Ok(Self { first, last, list: median(&lists?) })
        })
    }

    /// A line for the list of facts.
    pub(crate) fn line(&self, runtime: &str) -> String {
        let Self { first, last, list } = self;
        let factor = last / first;
        format!(
            "- {TITLE} that stay, {runtime}: `run --detach` of the first {first:.1} ms, of the last {last:.1} ms ({factor:.2} times), \
             `list` of all {list:.1} ms\n"
        )
    }
}

fn id(index: usize) -> String {
    format!("crowd-{index}")
}
