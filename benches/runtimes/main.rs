//! rt against runc and crun: what the same command costs in each, in one run, pair by pair.
//!
//! `cargo bench --bench runtimes -- --help` lists what it takes; docs/benchmarks.md says how to read what it prints.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program for the terminal

mod args;
mod bundle;
mod cases;
mod crowd;
mod engines;
mod facts;
mod frozen;
mod hog;
mod plot;
mod report;
mod runner;
mod runtime;
mod stats;
mod view;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use args::Args;
use bundle::Bundles;
use cases::{Case, Subject};
use crowd::Crowd;
use engines::{Engines, timed};
use frozen::Frozen;
use report::Measured;
use runner::{Cost, Runner};
use runtime::Programs;
use view::Workdir;

/// Rounds before the first that counts: caches fill, and a runtime that cannot do the case is found out.
const WARM_UPS: usize = 2;

fn main() -> ExitCode {
    let outcome = match timed::called_as() {
        Some(path) => timed::run(&path).map(ExitCode::from),
        None => try_main().map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [hog::FLAG, bytes] => hog::run(bytes.parse()?),
        [hog::CLOCK, bytes, processes] => hog::clock(bytes.parse()?, processes.parse()?),
        [view::FLAG, ..] => in_view(&Args::parse(&args[1..])?),
        _ if Args::parse(&args)?.help => {
            println!("{}", args::USAGE);
            Ok(())
        }
        _ => {
            ensure!(rustix::process::geteuid().is_root(), "needs root: containers are made and frozen");
            Err(view::enter(&args))
        }
    }
}

/// All of it, in a mount namespace of our own.
fn in_view(args: &Args) -> Result<()> {
    let load = facts::load();
    let programs = Programs::find()?;
    let workdir = Workdir::new()?;
    let cgroups = view::arrange_cgroups(args.cgroup2)?;
    let runner = Runner::new(&programs.environment(workdir.path())?)?;
    let bundles = Bundles::make(workdir.path(), &programs.runc, &programs.busybox)?;

    let outcome =
        Bench { args, programs: &programs, runner: &runner, bundles: &bundles, workdir: &workdir }.run();
    let swept = runner.kill_leftovers().and_then(|()| view::remove_cgroups());
    let Results { measured, crowds, frozen, engines, floor } = outcome?;
    swept?;

    let facts = facts::list(&programs, cgroups, &load, &floor);
    let figures = format!("{}{}{engines}\n{crowds}{facts}", report::table(&measured), frozen.text);
    println!("{figures}");
    ensure!(measured.iter().all(|it| it.has("rt")), "rt could not do every case");
    if args.write { report::write_page(&figures).and_then(|()| frozen.write()) } else { Ok(()) }
}

/// All that a run works with.
#[derive(Debug)]
struct Bench<'a> {
    args: &'a Args,
    programs: &'a Programs,
    runner: &'a Runner,
    bundles: &'a Bundles,
    workdir: &'a Workdir,
}

/// What was measured.
struct Results {
    measured: Vec<Measured>,
    /// Lines for the list of facts.
    crowds: String,
    frozen: Frozen,
    /// A table.
    engines: String,
    /// The cost of a program that does nothing.
    floor: Cost,
}

impl Bench<'_> {
    /// Every case, the lines about many at once, and the cost of a program that does nothing; the engines last.
    fn run(&self) -> Result<Results> {
        let nothing = [&*self.programs.busybox.to_string_lossy(), "true"];
        self.runner.run(&nothing).context("busybox true")?;
        let floor = self.runner.run(&nothing)?;
        let measured = self.args.cases.iter().map(|case| self.measure(*case)).collect::<Result<_>>()?;
        let crowds = if self.args.crowd { self.crowds()? } else { String::new() };
        let frozen = if self.args.frozen { self.frozen()? } else { Frozen::default() };
        let engines = if self.args.engines { self.engines()? } else { String::new() };
        Ok(Results { measured, crowds, frozen, engines, floor })
    }

    /// What engines make of it, with rt and with runc.
    fn engines(&self) -> Result<String> {
        let (dir, rootfs) = (self.workdir.path(), self.bundles.rootfs());
        Engines::new(self.programs, self.runner, dir, &rootfs, self.args.pairs)?.measure()
    }

    /// Many containers at once, for each runtime that can be used at all.
    fn crowds(&self) -> Result<String> {
        let (subjects, _) = self.able(Case::Run)?;
        let line = |subject: &Subject<'_>| {
            eprintln!("{} ({}) ...", crowd::TITLE, subject.runtime.name);
            Ok(Crowd::of(subject)?.line(subject.runtime.name))
        };
        subjects.iter().map(line).collect()
    }

    /// How long containers stand still, with rt and with runc.
    fn frozen(&self) -> Result<Frozen> {
        let (subjects, absent) = self.able(Case::Checkpoint)?;
        let named = |name| subjects.iter().find(|subject| subject.runtime.name == name);
        match (named("rt"), named("runc")) {
            (Some(rt), Some(runc)) => Frozen::of(rt, runc),
            _ => {
                let text = format!("\n- without {}: {}\n", frozen::TITLE, absent.join(", "));
                Ok(Frozen { text, ..Frozen::default() })
            }
        }
    }

    /// One case: warm-ups, then rounds in which every runtime has its turn, each round starting with another one.
    fn measure(&self, case: Case) -> Result<Measured> {
        let pairs = self.args.pairs.unwrap_or(case.pairs());
        eprintln!("{} ({pairs} pairs) ...", case.title());
        let (subjects, absent) = self.able(case)?;
        let mut samples: Vec<_> = subjects.iter().map(|subject| (subject.runtime.name, Vec::new())).collect();
        for round in 0..pairs {
            for turn in 0..subjects.len() {
                let index = (turn + round) % subjects.len();
                samples[index].1.push(subjects[index].measure(case)?);
            }
        }
        Ok(Measured { case, samples, absent })
    }

    /// Warms up, and sorts out the runtimes that cannot do the case, with the reason.
    fn able(&self, case: Case) -> Result<(Vec<Subject<'_>>, Vec<String>)> {
        let (mut subjects, mut absent) = (Vec::new(), Vec::new());
        for runtime in &self.programs.runtimes {
            let subject = Subject::new(runtime, self.runner, self.bundles, self.workdir.path());
            let problem = if case.needs_criu() && self.programs.criu.is_none() {
                Some("no criu in RT_CRIU or in PATH".to_owned())
            } else if case.needs_criu() && !runtime.checkpoints {
                Some("this build of it has no CRIU support".to_owned())
            } else {
                let failure = (0..WARM_UPS).find_map(|_| subject.measure(case).err());
                failure.map(|error| format!("{error:#}"))
            };
            self.runner.check_interrupt()?;
            match problem {
                None => subjects.push(subject),
                Some(problem) => absent.push(format!("{} ({problem})", runtime.name)),
            }
        }
        Ok((subjects, absent))
    }
}
