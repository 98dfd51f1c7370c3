use super::Target;
use crate::context::Context;
use crate::exit::Exit;
use crate::output;
use anyhow::bail;
use clap::Args;
use container::ops::{Event, Events};
use std::time::Duration;

/// Print what a container uses, and when its memory is short, as JSON
///
/// Its statistics are printed once in each interval, until it ends.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The time between statistics (as 500ms, 5s or 1m30s)
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    interval: String,
    /// Print its statistics once, and be done
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<Exit> {
    let Some(interval) = duration(&arguments.interval) else {
        bail!(
            "--interval {:?}: must be a number with a unit, such as 500ms, 5s or 1m30s",
            arguments.interval
        );
    };
    if interval.is_zero() {
        bail!("duration interval must be greater than 0");
    }
    let events = Events::of(&context.store, &arguments.target.id()?)?;
    if arguments.stats {
        output::line(&serde_json::to_string(&events.stats()?)?)?;
        return Ok(Exit::Success);
    }
    let mut failed = None;
    events.follow(interval, |event| {
        let printed = print(event);
        let goes_on = matches!(printed, Ok(true));
        failed = printed.err();
        Ok(goes_on)
    })?;
    failed.map_or(Ok(Exit::Success), Err)
}

/// Whether there is somebody to read more.
fn print(event: &Event) -> anyhow::Result<bool> {
    output::has_reader(&format!("{}\n", serde_json::to_string(event)?))
}

/// A duration as Go writes it (time.ParseDuration): numbers, each with its unit. One below zero is none.
fn duration(text: &str) -> Option<Duration> {
    let positive = text.strip_prefix(['-', '+']).unwrap_or(text);
    let length = if positive == "0" { Duration::ZERO } else { units(positive)? };
    Some(if text.starts_with('-') { Duration::ZERO } else { length })
}

/// Numbers without a sign, each with its unit.
fn units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() || text.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in [
            ("5s", 5000),
            ("300ms", 300),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("+2s", 2000),
            ("0", 0),
            ("-3s", 0),
            ("1000us", 1),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "1m 30s", "--1s", "-", ".s", "1e3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
