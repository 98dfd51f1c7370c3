//! From cases to trials: who runs where, what is skipped and why.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Completion, Conclusion, Trial};

use crate::needs::{self, Need};
use crate::test::RunDirectory;
use crate::{Fallible, Outcome, Runtime, Test};

/// A case's function.
pub type Body = fn(&Test) -> Outcome;

/// A case: a name, a function, and where it can run.
#[derive(Debug)]
pub struct Case {
    name: &'static str,
    body: Body,
    /// Why runc cannot run it; empty when it can.
    not_runc: &'static str,
    needs: Vec<Need>,
}

/// A case that both runtimes must pass.
#[must_use]
pub fn both(name: &'static str, body: Body) -> Case {
    rt_only(name, "", body)
}

/// A case that only `rt` can pass, and why.
#[must_use]
pub fn rt_only(name: &'static str, why_not_runc: &'static str, body: Body) -> Case {
    Case { name, body, not_runc: why_not_runc, needs: vec![needs::root, needs::busybox] }
}

impl Case {
    /// Adds something without which the case is skipped.
    #[must_use]
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }
}

/// All cases.
#[derive(Debug)]
pub struct Suite {
    rt: Runtime,
    cases: Vec<(&'static str, Case)>,
}

impl Suite {
    /// An empty suite for the binary `rt`.
    #[must_use]
    pub fn new(rt: &str) -> Self {
        Self { rt: Runtime::rt(rt), cases: Vec::new() }
    }

    /// Adds a module's cases; their trials are called `module::case/runtime`.
    #[must_use]
    pub fn module(mut self, name: &'static str, cases: Vec<Case>) -> Self {
        self.cases.extend(cases.into_iter().map(|case| (name, case)));
        self
    }

    /// Runs what `arguments` select.
    ///
    /// # Errors
    /// When the run's directory cannot be made.
    pub fn run(self, arguments: &Arguments) -> Fallible<Summary> {
        let skipped = Arc::new(Mutex::new(Vec::new()));
        let run =
            if needs::busybox().is_ok() && !arguments.list { Some(RunDirectory::create()?) } else { None };
        let run = Arc::new(run);
        let mut trials = Vec::new();
        let mut rt_only = BTreeMap::new();
        for (module, case) in self.cases {
            let case = Arc::new(case);
            if case.not_runc.is_empty() {
                trials.push(trial(module, &case, Runtime::runc(), &run, &skipped));
            } else {
                *rt_only.entry(case.not_runc).or_insert(0) += 1;
            }
            trials.push(trial(module, &case, self.rt.clone(), &run, &skipped));
        }
        let conclusion = libtest_mimic::run(arguments, trials);
        let skipped = std::mem::take(&mut *skipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(Summary { conclusion, skipped, rt_only })
    }
}

fn trial(
    module: &str,
    case: &Arc<Case>,
    runtime: Runtime,
    run: &Arc<Option<RunDirectory>>,
    skipped: &Arc<Mutex<Vec<String>>>,
) -> Trial {
    let name = format!("{module}::{}/{}", case.name, runtime.name());
    let (case, run, skipped) = (Arc::clone(case), Arc::clone(run), Arc::clone(skipped));
    Trial::ignorable_test(name, move || {
        if let Some(reason) = unmet(&case, &runtime) {
            skipped.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(reason.clone());
            return Ok(Completion::ignored_with(reason));
        }
        let test = Test::new(run.as_ref().as_ref().ok_or("no directory for the run")?, runtime)?;
        (case.body)(&test)?;
        test.finish()?;
        Ok(Completion::Completed)
    })
}

fn unmet(case: &Case, runtime: &Runtime) -> Option<String> {
    let runc: &[Need] = if runtime.name() == "runc" { &[needs::runc] } else { &[] };
    case.needs.iter().chain(runc).find_map(|need| need().err())
}

/// How a run went.
#[derive(Debug)]
pub struct Summary {
    conclusion: Conclusion,
    skipped: Vec<String>,
    rt_only: BTreeMap<&'static str, usize>,
}

impl Summary {
    /// Failure when a case failed, or when one was skipped and `RT_TEST_NO_SKIPS` is set.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if !self.skipped.is_empty() && std::env::var_os("RT_TEST_NO_SKIPS").is_some() {
            return ExitCode::FAILURE;
        }
        self.conclusion.exit_code()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.rt_only.values().sum();
        writeln!(f, "{total} cases of the suite run on rt only:")?;
        for (reason, count) in &self.rt_only {
            writeln!(f, "  {count} because {reason}")?;
        }
        let mut reasons = BTreeMap::new();
        for reason in &self.skipped {
            *reasons.entry(reason).or_insert(0) += 1;
        }
        writeln!(f, "SKIPPED: {}", self.skipped.len())?;
        for (reason, count) in reasons {
            writeln!(f, "  {count} {reason}")?;
        }
        Ok(())
    }
}
