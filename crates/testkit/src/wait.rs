//! Waiting with an end.

use std::time::{Duration, Instant};

use crate::Fallible;

/// How long a step may take before it counts as hung: ten seconds, times `RT_TEST_PATIENCE` (a whole
/// number; for slow machines such as an emulated one).
#[must_use]
pub fn patience() -> Duration {
    let factor = std::env::var("RT_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    Duration::from_secs(10) * factor
}

/// Waits until `condition` holds, asking every few milliseconds.
///
/// # Errors
/// When [`patience`] ends first; the text names `what`.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Fallible<()> {
    if becomes_true(patience(), &mut condition) {
        return Ok(());
    }
    Err(format!("waited {:?} in vain for: {what}", patience()).into())
}

/// Whether `condition` holds within `limit`.
pub(crate) fn becomes_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
