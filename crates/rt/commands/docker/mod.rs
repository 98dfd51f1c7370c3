mod ask;
mod settings;
mod verdict;

use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use anyhow::bail;
use clap::Args;
use container::Tcp;
use container::takeover::{
    Allowances, Alone, AlonePlan, Checkpoint, CheckpointPlan, Engine, HandBack, HandBackPlan, Inspect,
    Restored, checkpoint, find, hand_back, restore_alone,
};
use settings::Settings;
use std::path::PathBuf;
use verdict::Verdict;

/// Checkpoint or restore a container of docker's or podman's from outside
///
/// The container need not be prepared in any way, and whatever runtime made it, no state of rt's is needed. A checkpoint asks the engine
/// where everything is and has CRIU write the images; the engine then sees the container as ended. A restore hands the images back to the
/// engine where it can restore (podman; docker with an experimental daemon), or else brings the container back standing alone: on its root,
/// which is mounted again if need be, and unknown to the engine. Without CONTAINER the containers are listed, and one is asked for.
#[derive(Debug, Args)]
#[command(
    override_usage = "rt docker [OPTIONS] checkpoint|restore [CONTAINER]\n       rt docker [OPTIONS] -c|-r [CONTAINER]"
)]
pub(crate) struct Arguments {
    /// Checkpoint a container
    #[arg(long, short)]
    checkpoint: bool,
    /// Restore a container
    #[arg(long, short)]
    restore: bool,
    /// Tell each step, CRIU's errors, and the restored process
    #[arg(long, short)]
    verbose: bool,
    /// Print the request to CRIU (or the engine's command) and the mounts as JSON, and change nothing
    #[arg(long)]
    print: bool,
    /// Checkpoint: let the container run on
    #[arg(long)]
    leave_running: bool,
    /// Restore: have the engine restore it [default: where the engine can]
    #[arg(long)]
    into_engine: bool,
    /// Restore: bring it back standing alone
    #[arg(long)]
    alone: bool,
    /// Restore: stay until it ends, with its terminal or its output here (standing alone)
    #[arg(long)]
    attach: bool,
    /// Restore: append its output to this file (standing alone) [default: `output` beside the images]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    settings: settings::Options,
    /// Keep established TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Close TCP connections instead of keeping them
    #[arg(long)]
    tcp_close: bool,
    /// Allow unix sockets that are connected to the outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Handle file locks
    #[arg(long)]
    file_locks: bool,
    /// Give unlinked files that have other names a temporary name for the restore
    #[arg(long)]
    link_remap: bool,
    /// What to do, unless -c or -r says it, and the container's id or name
    #[arg(value_name = "checkpoint|restore|CONTAINER")]
    words: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Checkpoint,
    Restore,
}

/// A container, and where everything about it is.
struct Subject {
    engine: Engine,
    container: Inspect,
    images: PathBuf,
    criu: PathBuf,
    dockerinit: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let (action, named) = arguments.action()?;
    arguments.check(action)?;
    if !sys::is_root() {
        bail!("not running as root");
    }
    let settings = Settings::new(&arguments.settings)?;
    let engine = Engine::find(&settings.engine)?;
    let named = match named {
        Some(named) => named.to_owned(),
        None => ask::container(&engine, action)?,
    };
    let images = settings.images(&engine)?;
    let container = match action {
        Action::Checkpoint => engine.inspect(&named)?,
        Action::Restore => find(&engine, &images, &named)?,
    };
    let subject = Subject {
        images: images.join(&container.id),
        criu: settings.criu(context)?,
        dockerinit: settings.dockerinit(&engine)?,
        engine,
        container,
    };
    let verdict = Verdict::new(action, arguments.verbose);
    if !arguments.print {
        verdict.surroundings(&subject)?;
    }
    match action {
        Action::Checkpoint => arguments.checkpoint(subject, &verdict),
        Action::Restore if arguments.is_for_engine(&subject.engine)? => {
            arguments.hand_back(subject, &verdict)
        }
        Action::Restore => arguments.restore_alone(subject, &verdict),
    }
}

impl Arguments {
    /// What is to be done, and to which container.
    fn action(&self) -> anyhow::Result<(Action, Option<&str>)> {
        let mut words = self.words.iter().map(String::as_str);
        let action = match (self.checkpoint, self.restore) {
            (true, true) => bail!("-c and -r exclude each other"),
            (true, false) => Action::Checkpoint,
            (false, true) => Action::Restore,
            (false, false) => match words.next() {
                Some("checkpoint") => Action::Checkpoint,
                Some("restore") => Action::Restore,
                _ => bail!("need either checkpoint or restore (-c or -r)"),
            },
        };
        let named = words.next();
        if named == Some("") {
            bail!("no container was named");
        }
        if let Some(word) = words.next() {
            bail!("unexpected argument {word:?}: one container at a time");
        }
        Ok((action, named))
    }

    /// Options that belong to the other action, or to another way of restoring.
    fn check(&self, action: Action) -> anyhow::Result<()> {
        let of_restore = [
            (self.into_engine, "--into-engine"),
            (self.alone, "--alone"),
            (self.attach, "--attach"),
            (self.output.is_some(), "--output"),
        ];
        let of_checkpoint = [(self.leave_running, "--leave-running")];
        let (foreign, other) = match action {
            Action::Checkpoint => (&of_restore[..], "restore"),
            Action::Restore => (&of_checkpoint[..], "checkpoint"),
        };
        if let Some((_, flag)) = foreign.iter().find(|(is_set, _)| *is_set) {
            bail!("{flag} is of use with {other} only");
        }
        if let Some((_, flag)) = of_restore[1..].iter().find(|(is_set, _)| *is_set && self.into_engine) {
            bail!("--into-engine and {flag} exclude each other");
        }
        if self.attach && self.output.is_some() {
            bail!("--attach and --output exclude each other: the output comes here, or goes to a file");
        }
        Ok(())
    }

    /// Whether the engine is to restore the container.
    fn is_for_engine(&self, engine: &Engine) -> anyhow::Result<bool> {
        if self.alone || self.attach || self.output.is_some() {
            return Ok(false);
        }
        let can = engine.can_restore()?;
        if self.into_engine && !can {
            bail!(
                "--into-engine: the docker daemon restores containers only when it is started with --experimental"
            );
        }
        Ok(can)
    }

    fn allowances(&self) -> Allowances {
        Allowances {
            tcp: Tcp { established: self.tcp_established, close: self.tcp_close, ..Tcp::default() },
            ext_unix_sk: self.ext_unix_sk,
            file_locks: self.file_locks,
            link_remap: self.link_remap,
        }
    }

    fn checkpoint(&self, subject: Subject, verdict: &Verdict) -> anyhow::Result<Exit> {
        let request = Checkpoint {
            engine: subject.engine,
            container: subject.container,
            images: subject.images,
            criu: subject.criu,
            allow: self.allowances(),
            leave_running: self.leave_running,
            dockerinit: subject.dockerinit,
        };
        if self.print {
            return print(&CheckpointPlan::new(&request)?.in_words()?);
        }
        let done = checkpoint(&request, &mut |step| verdict.step(step));
        verdict.give(done, |()| None)
    }

    fn hand_back(&self, subject: Subject, verdict: &Verdict) -> anyhow::Result<Exit> {
        let request = HandBack {
            engine: subject.engine,
            container: subject.container,
            images: subject.images,
            allow: self.allowances(),
        };
        if self.print {
            return print(&HandBackPlan::new(&request)?.in_words());
        }
        let done = hand_back(&request, &mut |step| verdict.step(step));
        verdict.give(done, |pid| Some(*pid))
    }

    fn restore_alone(&self, subject: Subject, verdict: &Verdict) -> anyhow::Result<Exit> {
        let request = Alone {
            engine: subject.engine,
            container: subject.container,
            images: subject.images,
            criu: subject.criu,
            allow: self.allowances(),
            attach: self.attach,
            output: self.output.clone(),
            dockerinit: subject.dockerinit,
        };
        if self.print {
            return print(&AlonePlan::new(&request)?.in_words()?);
        }
        let mut ready = |restored: &Restored| verdict.good(Some(restored.pid), restored.output.as_deref());
        match restore_alone(&request, &mut |step| verdict.step(step), &mut ready) {
            Ok(restored) => Ok(super::exit_of(restored.exit)),
            Err(error) => verdict.bad(error),
        }
    }
}

fn print(plan: &serde_json::Value) -> anyhow::Result<Exit> {
    output::line(&serde_json::to_string_pretty(plan)?)?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn arguments(line: &str) -> Arguments {
        let command = Arguments::augment_args(clap::Command::new("docker"));
        let matches = command.try_get_matches_from(line.split(' ')).unwrap();
        Arguments::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn both_spellings_say_the_same() {
        for (line, expected) in [
            ("docker checkpoint web", (Action::Checkpoint, Some("web"))),
            ("docker -c web", (Action::Checkpoint, Some("web"))),
            ("docker -cv", (Action::Checkpoint, None)),
            ("docker restore", (Action::Restore, None)),
            ("docker -r -v checkpoint", (Action::Restore, Some("checkpoint"))),
            ("docker --restore web", (Action::Restore, Some("web"))),
        ] {
            assert_eq!(arguments(line).action().unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_says_nothing_or_two_things_is_refused() {
        for (line, word) in [
            ("docker web", "need either"),
            ("docker -c -r web", "exclude"),
            ("docker checkpoint a b", "unexpected argument \"b\""),
            ("docker -r ", "no container was named"),
        ] {
            assert!(arguments(line).action().unwrap_err().to_string().contains(word), "{line}");
        }
        for (line, action, word) in [
            ("docker -c --attach web", Action::Checkpoint, "--attach is of use with restore only"),
            (
                "docker -r --leave-running web",
                Action::Restore,
                "--leave-running is of use with checkpoint only",
            ),
            ("docker -r --into-engine --alone web", Action::Restore, "--into-engine and --alone exclude"),
            ("docker -r --attach --output f web", Action::Restore, "--attach and --output exclude"),
        ] {
            assert!(arguments(line).check(action).unwrap_err().to_string().contains(word), "{line}");
        }
    }
}
