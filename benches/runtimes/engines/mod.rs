//! Through podman, containerd and docker: what an engine's command costs with rt and with runc, and how much of that is the
//! engine's own.

mod operation;
pub(crate) mod timed;

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::Pid;
use testkit::daemon::{self, Engine, Home, IMAGE};

use crate::cases::text;
use crate::runner::Runner;
use crate::runtime::Programs;
use crate::stats::Quartiles;
use crate::view;
use operation::{NAME, Operation};
use timed::Timed;

/// As the command line picks it.
pub(crate) const TITLE: &str = "engines";

/// How many pairs are measured unless the user says otherwise.
const PAIRS: usize = 10;

/// The engines.
#[derive(Clone, Copy, Debug)]
enum Family {
    Podman,
    Containerd,
    Docker,
}

/// One command of an engine.
#[derive(Clone, Copy, Debug)]
struct Sample {
    wall: Duration,
    /// The part of it that passed in calls of the runtime.
    runtime: Duration,
}

/// The surroundings: a /run and a /dev/shm of their own, where engines keep locks and sockets that no option moves.
#[derive(Debug)]
pub(crate) struct Engines<'a> {
    runner: &'a Runner,
    dir: &'a Path,
    rootfs: &'a Path,
    pairs: usize,
    has_criu: bool,
    /// What the last command complained about.
    errors: File,
    sides: [Timed; 2],
}

/// An engine that runs containers with one of the runtimes.
struct Subject<'a> {
    engines: &'a Engines<'a>,
    engine: &'a Engine,
    side: &'a Timed,
}

impl<'a> Engines<'a> {
    /// In `dir`; the containers' files are those of `rootfs`.
    ///
    /// Nothing but engines can be measured afterwards: criu keeps what it knows of the kernel in a /run of this kind.
    pub(crate) fn new(
        programs: &Programs,
        runner: &'a Runner,
        dir: &'a Path,
        rootfs: &'a Path,
        pairs: Option<usize>,
    ) -> Result<Self> {
        for (path, mode) in [("/run", "mode=755"), ("/dev/shm", "mode=1777")] {
            sys::mount::mount_legacy("rt-bench", File::open(path)?, "tmpfs", 0, mode)?;
        }
        fs::create_dir("/run/lock")?;
        let named = |name| programs.runtimes.iter().find(|runtime| runtime.name == name);
        let (Some(rt), Some(runc)) = (named("rt"), named("runc")) else { return Err(anyhow!("no runc")) };
        let sides = [Timed::make(dir, "rt", &rt.path)?, Timed::make(dir, "runc", &runc.path)?];
        let path = dir.join("complaints");
        let errors = File::options().create(true).read(true).append(true).open(path)?;
        let (pairs, has_criu) = (pairs.unwrap_or(PAIRS), programs.criu.is_some());
        Ok(Self { runner, dir, rootfs, pairs, has_criu, errors, sides })
    }

    /// A table, and a line for each engine that is not there.
    pub(crate) fn measure(&self) -> Result<String> {
        let (mut table, mut absent) = (String::new(), String::new());
        for family in [Family::Podman, Family::Containerd, Family::Docker] {
            match family.is_there() {
                Ok(()) => table += &self.rows(family)?,
                Err(reason) => {
                    eprintln!("SKIP {TITLE}: {}: {reason}", family.name());
                    absent += &format!("- without {} ({reason})\n", family.name());
                }
            }
        }
        let head = "| engine's command | pairs | with rt ms | with runc ms | rt's wall | rt itself ms | runc itself ms | the engine ms \
                    (rt, runc) | its part (rt, runc) |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        Ok(format!("\n{head}{table}\n{absent}"))
    }

    /// One line for each of an engine's operations.
    fn rows(&self, family: Family) -> Result<String> {
        let made = self.sides.iter().map(|side| self.make(family, side)).collect::<Result<Vec<_>>>();
        let engines = made.with_context(|| format!("{TITLE}: {}", family.name()))?;
        let mut rows = String::new();
        for operation in Operation::of(family).iter().copied() {
            if operation.needs_criu() && !self.has_criu {
                eprintln!("SKIP {}: no criu in RT_CRIU or in PATH", operation.title());
                continue;
            }
            eprintln!("{} ({} pairs) ...", operation.title(), self.pairs);
            rows += &row(operation.title(), &self.paired(operation, &engines)?);
        }
        Ok(rows)
    }

    /// An engine of its own for each runtime, so that neither finds what the other has left warm.
    fn make(&self, family: Family, side: &Timed) -> Result<Engine> {
        let word = format!("{}-{}", family.name(), side.name);
        let home = Home {
            place: text(&self.dir.join(&word))?.to_owned(),
            tag: format!("{}-{word}", view::name()),
            image: text(self.rootfs)?.to_owned(),
        };
        let engine = match family {
            Family::Podman => Engine::podman_at(home, "overlay", &side.path),
            Family::Containerd => Engine::containerd_at(home),
            Family::Docker => Engine::docker_at(home, "overlay2", &[(&side.for_docker(), &side.path)]),
        };
        engine.map_err(|error| anyhow!("{}", error.message().unwrap_or_default().to_owned()))
    }

    /// Rounds in which either side has its turn, now the one first, now the other; the first does not count.
    fn paired(&self, operation: Operation, engines: &[Engine]) -> Result<[Vec<Sample>; 2]> {
        let mut samples = [Vec::new(), Vec::new()];
        let pid = |engine: &Engine| Pid::from_raw(engine.daemon()?.cast_signed());
        let daemons: Vec<_> = engines.iter().filter_map(pid).collect();
        for round in 0..=self.pairs {
            for turn in 0..2 {
                let index = (turn + round) % 2;
                self.runner.check_interrupt()?;
                let subject = Subject { engines: self, engine: &engines[index], side: &self.sides[index] };
                let sample = subject.measure(operation)?;
                // What an engine does in the background to clean up must not be in the next one's figures.
                self.runner.wait_for_stragglers(&daemons)?;
                if round > 0 {
                    samples[index].push(sample);
                }
            }
        }
        Ok(samples)
    }

    /// What the last command complained about: its last line.
    fn complaint(&self) -> String {
        let text = fs::read_to_string(self.dir.join("complaints")).unwrap_or_default();
        text.lines().next_back().unwrap_or("it said nothing").to_owned()
    }
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Docker => "docker",
        }
    }

    fn is_there(self) -> Result<(), String> {
        match self {
            Self::Podman => daemon::podman(),
            Self::Containerd => daemon::containerd(),
            Self::Docker => daemon::docker(),
        }
    }
}

impl Subject<'_> {
    /// Measures it once, and takes everything away again.
    fn measure(&self, operation: Operation) -> Result<Sample> {
        self.engines.runner.forget_ended();
        let told = || format!("{} with {}: {}", operation.title(), self.side.name, self.engines.complaint());
        operation.sample(self).with_context(told)
    }

    /// A command of the engine, timed.
    fn time(&self, words: &[&str]) -> Result<Sample> {
        self.engines.errors.set_len(0)?;
        let line: Vec<_> = [self.engine.program()].iter().chain(words).copied().collect();
        let begin = timed::now();
        let cost = self.engines.runner.run_telling(&line, &self.engines.errors)?;
        Ok(Sample { wall: cost.wall, runtime: self.side.spent(begin, timed::now())? })
    }

    /// A container that sleeps, in the background.
    fn start(&self, options: &[&str]) -> Result<()> {
        let started = self.engine.run(NAME, options, "exec sleep 1000000");
        started.map_err(|error| anyhow!("{}", error.message().unwrap_or_default().to_owned()))
    }

    fn path(&self, name: &str) -> Result<String> {
        Ok(text(&self.engines.dir.join(name))?.to_owned())
    }

    fn rootfs(&self) -> Result<&str> {
        text(self.engines.rootfs)
    }

    /// What the engine's image is called, and the options that its `run` needs.
    fn image(&self) -> (&'static str, Vec<String>) {
        (IMAGE, self.engine.options())
    }
}

fn row(title: &str, [rt, runc]: &[Vec<Sample>; 2]) -> String {
    let of = |samples: &[Sample], quantity: fn(&Sample) -> f64| {
        Quartiles::new(samples.iter().map(quantity).collect()).median
    };
    let wall = |sample: &Sample| ms(sample.wall);
    let own = |sample: &Sample| ms(sample.runtime);
    let engine = |sample: &Sample| ms(sample.wall.saturating_sub(sample.runtime));
    let part = |sample: &Sample| 100.0 * (1.0 - ms(sample.runtime) / ms(sample.wall));
    let ratios = Quartiles::new(rt.iter().zip(runc).map(|(rt, runc)| wall(rt) / wall(runc)).collect());
    format!(
        "| {title} | {} | {:.1} | {:.1} | {:.2} ({:.2}-{:.2}) | {:.1} | {:.1} | {:.1}, {:.1} | {:.0} %, {:.0} % |\n",
        rt.len(),
        of(rt, wall),
        of(runc, wall),
        ratios.median,
        ratios.low,
        ratios.high,
        of(rt, own),
        of(runc, own),
        of(rt, engine),
        of(runc, engine),
        of(rt, part),
        of(runc, part)
    )
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
