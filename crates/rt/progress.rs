//! A line on the terminal while a checkpoint or a restore takes its time.

use container::{Progress, Watch};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// What lasts no longer says nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(250);

/// The line. It is wiped off again at the end.
pub(crate) struct Meter {
    what: &'static str,
    started: Instant,
    is_shown: bool,
}

impl Meter {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, started: Instant::now(), is_shown: false }
    }

    /// Runs an operation, which is watched if there is a terminal to show it on.
    pub(crate) fn during<T>(mut self, work: impl FnOnce(Option<Watch<'_>>) -> T) -> T {
        if !std::io::stderr().is_terminal() {
            return work(None);
        }
        let done = work(Some(Watch { every: INTERVAL, tell: Box::new(|progress| self.show(progress)) }));
        self.wipe();
        done
    }

    fn show(&mut self, progress: Progress) {
        let so_far = self.started.elapsed();
        if so_far >= PATIENCE {
            self.is_shown = true;
            write(&format!("\r\x1b[K{}: {}", self.what, line(progress, so_far)));
        }
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write("\r\x1b[K");
        }
    }
}

/// A terminal that is gone is no reason to stop.
fn write(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// `413 MiB of 1024 MiB, 206 MiB/s, 2 s`; memory that is not here (it is sent elsewhere) is left out.
fn line(progress: Progress, so_far: Duration) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let seconds = so_far.as_secs().max(1);
    if progress.done == 0 {
        return format!("{seconds} s");
    }
    let Progress { done, of } = progress;
    format!("{} MiB of {} MiB, {} MiB/s, {seconds} s", mib(done), mib(of.max(done)), mib(done) / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_and_how_fast() {
        let of = 1 << 30;
        let at = |done, seconds| line(Progress { done, of }, Duration::from_secs(seconds));
        assert_eq!(at(412 << 20, 2), "412 MiB of 1024 MiB, 206 MiB/s, 2 s");
        assert_eq!(at(2 << 30, 4), "2048 MiB of 2048 MiB, 512 MiB/s, 4 s");
        assert_eq!(at(0, 3), "3 s");
    }
}
