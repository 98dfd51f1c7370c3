//! What `rt` says besides its results: errors to the log file in runc's keys, steps with `--debug`.

use crate::cli::{Global, LogFormat};
use crate::output;
use anyhow::Context;
use log::{LevelFilter, Metadata, Record};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The log file, if there is one.
///
/// An engine may read the whole file as one JSON object (podman does), so without `--debug` nothing but the one error goes
/// there; warnings go to stderr.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    file: Option<Arc<File>>,
    format: LogFormat,
    started: Instant,
}

/// Opens the log file and takes the messages of all crates.
pub(crate) fn start(global: &Global) -> anyhow::Result<Log> {
    let open = |path: &std::path::PathBuf| {
        let options = File::options().append(true).create(true).mode(0o644).open(path);
        options.with_context(|| format!("--log {}", path.display()))
    };
    let file = global.log.as_ref().map(open).transpose()?.map(Arc::new);
    let log = Log { file, format: global.log_format, started: Instant::now() };
    // Set once, at the start of the only thread.
    let _ = log::set_boxed_logger(Box::new(log.clone()));
    log::set_max_level(if global.debug { LevelFilter::Debug } else { LevelFilter::Warn });
    Ok(log)
}

impl Log {
    /// Writes the one error to the file, with its class (docs/diagnosis.md) if it has one.
    pub(crate) fn error(&self, message: &str, class: Option<&str>) {
        self.write("error", message, class);
    }

    fn write(&self, level: &str, message: &str, class: Option<&str>) {
        let Some(mut file) = self.file.as_deref() else { return };
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let line = match self.format {
            LogFormat::Json => {
                let mut object =
                    serde_json::json!({"level": level, "msg": message, "time": time.to_string()});
                if let Some(class) = class {
                    object["class"] = class.into();
                }
                object.to_string()
            }
            LogFormat::Text => format!("time=\"{time}\" level={level} msg={message:?}"),
        };
        // One write, so that lines of several processes do not mix; a full disk must not hide the error itself.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_lowercase();
        let elapsed = self.started.elapsed().as_secs_f64() * 1e3;
        let message = sys::one_line(&format!("[{elapsed:8.3} ms] {}", record.args()));
        if log::max_level() >= LevelFilter::Debug {
            self.write(&level, &message, None);
        }
        output::message(&format!("{level}: {message}"));
    }

    fn flush(&self) {}
}
