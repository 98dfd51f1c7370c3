//! From cases to trials: who runs where, what is skipped and why.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Conclusion, Trial};

use crate::needs::{self, Need};
use crate::test::{RunDirectory, View, lock};
use crate::{Fallible, Outcome, Runtime, Test};

/// A case's function.
pub type Body = fn(&Test) -> Outcome;

/// A case: a name, a function, and where it can run.
pub struct Case {
    name: &'static str,
    body: Box<dyn Fn(&Test) -> Outcome + Send + Sync>,
    runs: Runs,
    needs: Vec<Need>,
    also_on_v2: bool,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("runs", &self.runs).finish_non_exhaustive()
    }
}

/// What a case runs on.
#[derive(Debug, Clone, Copy)]
enum Runs {
    /// Once on each runtime.
    OnBoth,
    /// On `rt` alone, and why.
    OnRt(&'static str),
    /// Once, with both in its hands.
    Comparing,
}

/// A case that both runtimes must pass.
#[must_use]
pub fn both(name: &'static str, body: Body) -> Case {
    Case::new(name, Runs::OnBoth, body)
}

/// A case that only `rt` can pass, and why.
#[must_use]
pub fn rt_only(name: &'static str, why_not_runc: &'static str, body: Body) -> Case {
    Case::new(name, Runs::OnRt(why_not_runc), body)
}

/// A case that runs once and compares the two.
#[must_use]
pub fn comparing(name: &'static str, body: impl Fn(&Test) -> Outcome + Send + Sync + 'static) -> Case {
    Case::new(name, Runs::Comparing, body).needs(needs::runc)
}

/// The same cases, and each once more on `rt` where the machine's cgroups are not cgroup2 alone: in a view in which they are, as
/// `module::case/rt-v2`. They must not need controllers, which stay where the machine has them.
#[must_use]
pub fn also_on_v2(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().map(|case| Case { also_on_v2: true, ..case }).collect()
}

impl Case {
    fn new(name: &'static str, runs: Runs, body: impl Fn(&Test) -> Outcome + Send + Sync + 'static) -> Self {
        Self { name, body: Box::new(body), runs, needs: vec![needs::root, needs::busybox], also_on_v2: false }
    }

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
    twins: &'static [&'static str],
}

impl Suite {
    /// An empty suite for the binary `rt`.
    #[must_use]
    pub fn new(rt: &str) -> Self {
        Self { rt: Runtime::rt(rt), cases: Vec::new(), twins: &[] }
    }

    /// Adds a module's cases; their trials are called `module::case/runtime`.
    #[must_use]
    pub fn module(mut self, name: &'static str, cases: Vec<Case>) -> Self {
        self.cases.extend(cases.into_iter().map(|case| (name, case)));
        self
    }

    /// Names the modules whose cases run on runc too when `RT_TEST_BRIEF` is set; those of the others then run on `rt` alone.
    #[must_use]
    pub fn twins_when_brief(self, twins: &'static [&'static str]) -> Self {
        Self { twins, ..self }
    }

    /// Runs what `arguments` select; the closing words to print, and the exit code.
    pub fn finish(self, arguments: &Arguments) -> (String, ExitCode) {
        match self.run(arguments) {
            Ok(_) if arguments.list => (String::new(), ExitCode::SUCCESS),
            Ok(summary) => (format!("{summary}\n"), summary.exit_code()),
            Err(error) => {
                let reason = error.message().unwrap_or_default();
                (format!("the suite cannot start: {reason}\n"), ExitCode::FAILURE)
            }
        }
    }

    /// Runs what `arguments` select.
    ///
    /// # Errors
    /// When the run's directory cannot be made.
    pub fn run(self, arguments: &Arguments) -> Fallible<Summary> {
        let told = Arc::new(Mutex::new(Told::default()));
        let run =
            if needs::busybox().is_ok() && !arguments.list { Some(RunDirectory::create()?) } else { None };
        let run = Arc::new(run);
        let mut trials = Vec::new();
        let mut rt_only = BTreeMap::new();
        let is_brief = is_brief();
        for (module, case) in self.cases {
            let case = Arc::new(case);
            match case.runs {
                Runs::OnBoth if is_brief && !self.twins.contains(&module) => {
                    *rt_only.entry(BRIEF).or_insert(0) += 1;
                }
                Runs::OnBoth => {
                    trials.push(trial(module, &case, Runtime::runc(), View::Machine, &run, &told));
                }
                Runs::OnRt(reason) => *rt_only.entry(reason).or_insert(0) += 1,
                Runs::Comparing => {}
            }
            trials.push(trial(module, &case, self.rt.clone(), View::Machine, &run, &told));
            if case.also_on_v2 && needs::cgroup_v2().is_err() {
                trials.push(trial(module, &case, self.rt.clone(), View::V2, &run, &told));
            }
        }
        let conclusion = libtest_mimic::run(arguments, trials);
        let told = std::mem::take(&mut *lock(&told));
        Ok(Summary { conclusion, told, rt_only })
    }
}

fn is_brief() -> bool {
    std::env::var_os("RT_TEST_BRIEF").is_some_and(|value| !value.is_empty())
}

/// How often a case repeats what only now and then goes wrong: so often, and a fifth of it when `RT_TEST_BRIEF` is set.
#[must_use]
pub fn rounds(full: usize) -> usize {
    if is_brief() { full.div_ceil(5) } else { full }
}

/// Why a case has no trial on runc in a brief run.
const BRIEF: &str = "the run is brief (RT_TEST_BRIEF)";

/// What trials tell the summary.
#[derive(Debug, Default)]
struct Told {
    /// Why a case was skipped, once for each.
    skipped: Vec<String>,
    /// The lines of [`Test::figure`].
    figures: Vec<String>,
    /// How long each trial took, and its name.
    times: Vec<(Duration, String)>,
}

impl Told {
    /// The trials that took longest: where to begin when the suite has become slow.
    fn write_slowest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        let mut times: Vec<_> = self.times.iter().collect();
        times.sort_by(|a, b| b.cmp(a));
        let total: Duration = times.iter().map(|(time, _)| *time).sum();
        writeln!(f, "{} trials took {:.0} s together; the slowest:", times.len(), total.as_secs_f64())?;
        times
            .iter()
            .take(SHOWN)
            .try_for_each(|(time, name)| writeln!(f, "  {:5.1} s {name}", time.as_secs_f64()))
    }
}

fn trial(
    module: &str,
    case: &Arc<Case>,
    runtime: Runtime,
    view: View,
    run: &Arc<Option<RunDirectory>>,
    told: &Arc<Mutex<Told>>,
) -> Trial {
    let name = match case.runs {
        Runs::Comparing => format!("{module}::{}", case.name),
        _ => format!("{module}::{}/{}{}", case.name, runtime.name(), view.suffix()),
    };
    let (case, run, told, title) = (Arc::clone(case), Arc::clone(run), Arc::clone(told), name.clone());
    Trial::ignorable_test(name, move || {
        if let Some(reason) = unmet(&case, &runtime, view) {
            lock(&told).skipped.push(reason.clone());
            return Ok(Completion::ignored_with(reason));
        }
        let test = Test::new(run.as_ref().as_ref().ok_or("no directory for the run")?, runtime, view)?;
        let begin = Instant::now();
        let outcome = (case.body)(&test);
        {
            let mut told = lock(&told);
            told.times.push((begin.elapsed(), title.clone()));
            told.figures.append(&mut test.figures());
        }
        outcome?;
        test.finish()?;
        Ok(match test.skipped() {
            None => Completion::Completed,
            Some(reason) => {
                lock(&told).skipped.push(reason.clone());
                Completion::ignored_with(reason)
            }
        })
    })
}

fn unmet(case: &Case, runtime: &Runtime, view: View) -> Option<String> {
    let runc: &[Need] = if runtime.name() == "runc" { &[needs::runc] } else { &[] };
    let hybrid: &[Need] = if view == View::V2 { &[needs::hybrid] } else { &[] };
    case.needs.iter().chain(runc).chain(hybrid).find_map(|need| need().err())
}

/// How a run went.
#[derive(Debug)]
pub struct Summary {
    conclusion: Conclusion,
    told: Told,
    rt_only: BTreeMap<&'static str, usize>,
}

impl Summary {
    /// Failure when a case failed, or when one was skipped and `RT_TEST_NO_SKIPS` is set.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if !self.told.skipped.is_empty() && std::env::var_os("RT_TEST_NO_SKIPS").is_some() {
            return ExitCode::FAILURE;
        }
        self.conclusion.exit_code()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.rt_only.values().sum();
        if total > 0 {
            writeln!(f, "{total} cases of the suite run on rt only:")?;
        }
        for (reason, count) in &self.rt_only {
            writeln!(f, "  {count} because {reason}")?;
        }
        for figure in &self.told.figures {
            writeln!(f, "{figure}")?;
        }
        self.told.write_slowest(f)?;
        let mut reasons = BTreeMap::new();
        for reason in &self.told.skipped {
            *reasons.entry(reason).or_insert(0) += 1;
        }
        writeln!(f, "SKIPPED: {}", self.told.skipped.len())?;
        for (reason, count) in reasons {
            writeln!(f, "  {count} {reason}")?;
        }
        Ok(())
    }
}
