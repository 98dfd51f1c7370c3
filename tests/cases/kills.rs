//! SIGKILL at random for `rt`, for criu and for both, in checkpoints and restores: 40 in all, or as many as `RT_KILLS` says.
//!
//! Whatever the moment, the container runs (perhaps paused) or is in the images, whole; the next command, whichever it is, finds it so or
//! repairs it, and nothing is left behind. The moments come from a seed, which is told with a failure; `RT_KILLS_SEED` sets it.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Case, Container, Fallible, Outcome, Output, Running, Test, needs, rt_only};

use super::checkpoint::counting;
use super::counter::{counts_on, is_unbroken};
use super::killed::criu_of;
use super::one_line;

const WHY: &str = "runc does not recover from SIGKILL everywhere";

/// Kills in all, without `RT_KILLS`.
const KILLS: usize = 40;
/// The seed, without `RT_KILLS_SEED`.
const SEED: u64 = 2026;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Rt,
    Criu,
    Both,
}

/// How many cases share the kills.
const CASES: usize = 9;

pub(crate) fn cases() -> Vec<Case> {
    use Victim::{Both, Criu, Rt};
    const STAYS: &[&str] = &["--leave-running"];
    [
        rt_only("checkpoint_without_rt", WHY, |test| checkpoints(test, Dice::new(0, Rt), &[])),
        rt_only("checkpoint_without_criu", WHY, |test| checkpoints(test, Dice::new(1, Criu), &[])),
        rt_only("checkpoint_without_both", WHY, |test| checkpoints(test, Dice::new(2, Both), &[])),
        rt_only("left_running_without_rt", WHY, |test| checkpoints(test, Dice::new(3, Rt), STAYS)),
        rt_only("left_running_without_criu", WHY, |test| checkpoints(test, Dice::new(4, Criu), STAYS)),
        rt_only("left_running_without_both", WHY, |test| checkpoints(test, Dice::new(5, Both), STAYS)),
        rt_only("restore_without_rt", WHY, |test| restores(test, Dice::new(6, Rt))),
        rt_only("restore_without_criu", WHY, |test| restores(test, Dice::new(7, Criu))),
        rt_only("restore_without_both", WHY, |test| restores(test, Dice::new(8, Both))),
    ]
    .into_iter()
    .map(|case| case.needs(needs::criu))
    .collect()
}

/// A number that the environment may set.
fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Moments of one case, and what came of them.
struct Dice {
    victim: Victim,
    seed: u64,
    state: u64,
    /// How long the operation takes when nobody disturbs it.
    whole: Duration,
    /// How many are still to be killed.
    left: usize,
    tries: usize,
    /// How often somebody was killed.
    hits: usize,
    /// How often a container was lost with criu.
    lost: usize,
}

impl Dice {
    fn new(case: usize, victim: Victim) -> Self {
        let kills = variable("RT_KILLS", KILLS);
        let left = kills / CASES + usize::from(case < kills % CASES);
        let seed = variable("RT_KILLS_SEED", SEED);
        let state = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(case as u64);
        Self { victim, seed, state, whole: Duration::ZERO, left, tries: 0, hits: 0, lost: 0 }
    }

    /// Sees how long it takes to do it undisturbed.
    fn measure(&mut self, work: impl FnOnce() -> Fallible<Output>) -> Outcome {
        let started = Instant::now();
        work()?;
        self.whole = started.elapsed();
        Ok(())
    }

    /// The next number (Steele, Lea and Flood's SplitMix64).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// The next moment, until enough were killed; too many may have been done before.
    fn moment(&mut self) -> Option<Duration> {
        self.tries += 1;
        let whole = u64::try_from(self.whole.as_micros()).unwrap_or(u64::MAX);
        let goes_on = self.left > 0 && self.tries <= 5 * (self.hits + self.left);
        goes_on.then(|| Duration::from_micros(self.below(whole)))
    }

    fn count(&mut self, is_hit: bool) {
        self.hits += usize::from(is_hit);
        self.left -= usize::from(is_hit);
    }

    /// Says how to see a failure again.
    fn blame(&self, moment: Duration, error: &testkit::Failed) -> testkit::Failed {
        let (seed, number) = (self.seed, self.tries);
        let what = error.message().unwrap_or("?");
        format!("kill {number} of RT_KILLS_SEED={seed}, after {moment:?}: {what}").into()
    }

    /// Says what came of all.
    fn tell(&self, test: &Test, what: &str) {
        let lost =
            if self.lost == 0 { String::new() } else { format!(", {} containers lost with criu", self.lost) };
        let Self { victim, hits, tries, seed, .. } = self;
        test.figure(format!("{what}: {victim:?} killed {hits} times in {tries} tries (seed {seed}){lost}"));
    }
}

/// Kills them after a while; whether somebody was there still.
fn kill(victim: Victim, running: &mut Running, after: Duration) -> bool {
    let started = Instant::now();
    let criu = if victim == Victim::Rt { None } else { criu_of(running) };
    std::thread::sleep(after.saturating_sub(started.elapsed()));
    let is_there = running.is_running();
    if victim != Victim::Criu {
        running.kill();
    }
    let criu_was_there = criu.is_some_and(|pid: Pid| kill_process(pid, Signal::KILL).is_ok());
    match victim {
        Victim::Rt => is_there,
        Victim::Criu | Victim::Both => criu_was_there,
    }
}

fn checkpoints(test: &Test, mut dice: Dice, flags: &[&str]) -> Outcome {
    let mut container = counting(test)?;
    let images = test.new_path("images");
    dice.measure(|| container.checkpoint(&images, flags))?;
    if flags.is_empty() {
        container.restore(&images, &[])?;
    }
    while let Some(moment) = dice.moment() {
        let has_outlived = one_checkpoint(&mut dice, &container, flags, moment);
        if !has_outlived.map_err(|error| dice.blame(moment, &error))? {
            dice.lost += 1;
            container.delete()?;
            test.leaves_nothing()?;
            container = counting(test)?;
        }
    }
    container.delete()?;
    dice.tell(test, if flags.is_empty() { "checkpoint" } else { "checkpoint --leave-running" });
    assert!(3 * dice.lost <= dice.hits, "{} of {} containers lost", dice.lost, dice.hits);
    test.leaves_nothing()
}

/// Whether the container has outlived it. The exception is known: who is killed with criu while he makes a system call in its name
/// (docs/criu.md). `rt`, if it lives, says so.
fn one_checkpoint(
    dice: &mut Dice,
    container: &Container<'_>,
    flags: &[&str],
    moment: Duration,
) -> Fallible<bool> {
    let victim = dice.victim;
    let images = container.test.new_path("images");
    let flags = [&["--image-path", images.as_str()], flags].concat();
    let mut running = container.cmd("checkpoint", &flags).spawn()?;
    let is_hit = kill(dice.victim, &mut running, moment);
    dice.count(is_hit);
    let output = running.output()?;
    let says_lost = output.stderr.contains("ended with it");
    if victim == Victim::Criu && output.code != 0 {
        one_line(container.test, &output, &["criu died during"])?;
    }
    any_command(dice, container)?;
    let is_running = container.status()? == "running";
    if !is_running {
        container.delete()?;
        container.test.leaves_nothing()?;
        let restored = container.restore(&images, &[]);
        if restored.is_err() && (says_lost || victim == Victim::Both && is_hit) {
            return Ok(false);
        }
        restored?;
    }
    assert!(!says_lost, "{output}");
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    // It may have been killed before it made them.
    let _ = std::fs::remove_dir_all(&images);
    Ok(true)
}

/// The next command on a container, whichever it is: it takes back what was left half done. Those that fail where there is nothing
/// left of the container may do so.
fn any_command(dice: &mut Dice, container: &Container<'_>) -> Outcome {
    let images = container.test.new_path("images");
    let (command, flags): (&str, &[&str]) = match dice.below(5) {
        0 => ("resume", &[]),
        1 => ("pause", &[]),
        2 => ("checkpoint", &["--leave-running", "--image-path", &images]),
        3 => ("update", &["--pids-limit", "100"]),
        _ => {
            container.exec(&[], &["true"]).output()?;
            return Ok(());
        }
    };
    let output = container.cmd(command, flags).output()?;
    if command == "pause" && output.code == 0 {
        assert_eq!(container.status()?, "paused");
        container.cmd("resume", &[]).succeeds()?;
    }
    Ok(())
}

fn restores(test: &Test, mut dice: Dice) -> Outcome {
    let container = counting(test)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let log = std::fs::read(container.bundle.path("/log"))?;
    dice.measure(|| container.restore(&images, &[]))?;
    container.delete()?;
    while let Some(moment) = dice.moment() {
        one_restore(&mut dice, &container, &images, moment).map_err(|error| dice.blame(moment, &error))?;
    }
    // None of it has harmed the images.
    std::fs::write(container.bundle.path("/log"), log)?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)?;
    is_unbroken(&container.bundle, "/log")?;
    dice.tell(test, "restore");
    Ok(())
}

/// It runs, whole, or there is nothing of it.
fn one_restore(dice: &mut Dice, container: &Container<'_>, images: &str, moment: Duration) -> Outcome {
    let mut running = container.quiet("restore", &["--detach", "--image-path", images]).spawn()?;
    let is_hit = kill(dice.victim, &mut running, moment);
    dice.count(is_hit);
    let output = running.output()?;
    container.test.cmd(&["list"]).succeeds()?;
    match container.status()?.as_str() {
        "running" => counts_on(&container.bundle, "/log", 3)?,
        status => assert!(status != "paused" && output.code != 0, "{status} after {output}"),
    }
    container.delete()?;
    container.test.leaves_nothing()
}
