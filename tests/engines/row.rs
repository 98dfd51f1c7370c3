//! One operation of the table: commands, what they print, and how it is run on both runtimes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::engine::Engine;
use crate::world::perform;
use testkit::needs::Need;
use testkit::{Case, Outcome, Runtime, Test, comparing};

/// An operation.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What the user does, in the page's words.
    pub(crate) what: &'static str,
    /// The commands, in bash; see shell/prelude.bash for what they can use.
    pub(crate) script: String,
    /// All that they print.
    pub(crate) prints: String,
    /// Whether it has a daemon of its own.
    pub(crate) own_daemon: bool,
    /// Whether the machine's systemd makes the cgroups.
    pub(crate) under_systemd: bool,
    /// Why runc cannot do it.
    pub(crate) not_runc: Option<&'static str>,
    pub(crate) needs: Vec<Need>,
}

impl Row {
    /// The test.
    pub(crate) fn into_case(self, engine: &'static Engine) -> Case {
        let needs: Vec<_> = engine.needs.iter().chain(&self.needs).copied().collect();
        let case = comparing(self.name, move |test| self.compare(engine, test));
        needs.into_iter().fold(case, Case::needs)
    }

    fn compare(&self, engine: &'static Engine, test: &Test) -> Outcome {
        let its = test.with_runtime(Runtime::runc(), |runc| Ok(perform(engine, self, runc)))?;
        let ours = test.with_runtime(test.runtime().clone(), |rt| Ok(perform(engine, self, rt)))?;
        let result = Result { runc: brief(&its), rt: brief(&ours), note: self.not_runc };
        keep(engine.name, self.name, result);
        match (its, ours) {
            (Ok(()), Ok(())) if self.not_runc.is_some() => Err("runc passes, which it should not".into()),
            (_, Ok(())) if self.not_runc.is_some() => Ok(()),
            (Err(its), ours) if self.not_runc.is_none() => {
                let reason = brief(&Err(its)).unwrap_or_default();
                let rt = if ours.is_ok() { "rt passes" } else { "rt fails, too" };
                test.skip(&format!("{} {}: runc fails here ({rt}): {reason}", engine.name, self.name));
                Ok(())
            }
            (_, ours) => ours.map_err(Into::into),
        }
    }
}

/// How an operation went: for each runtime nothing, or how it failed.
#[derive(Debug, Clone)]
pub(crate) struct Result {
    pub(crate) runc: Option<String>,
    pub(crate) rt: Option<String>,
    pub(crate) note: Option<&'static str>,
}

/// By engine and name.
type Results = BTreeMap<(&'static str, &'static str), Result>;

static RESULTS: Mutex<Results> = Mutex::new(BTreeMap::new());

fn keep(engine: &'static str, name: &'static str, result: Result) {
    RESULTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert((engine, name), result);
}

/// How all operations of this run went.
pub(crate) fn results() -> Results {
    RESULTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

/// The first line of what went wrong.
fn brief(outcome: &std::result::Result<(), String>) -> Option<String> {
    outcome.as_ref().err().map(|text| text.lines().next().unwrap_or_default().to_owned())
}
