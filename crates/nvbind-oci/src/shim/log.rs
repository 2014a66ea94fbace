//! Where messages go: standard error, the engine's log file, and one of our own.

use super::command_line::CommandLine;
use super::time;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The shim's messages.
pub(super) struct Log {
    engine: Option<PathBuf>,
    engine_is_json: bool,
    own: Option<PathBuf>,
}

impl Log {
    /// A log for the engine that wrote this command line.
    pub(super) fn new(line: &CommandLine) -> Self {
        Self {
            engine: line.log.clone(),
            engine_is_json: line.log_is_json,
            own: None,
        }
    }

    /// Writes to this file too.
    pub(super) fn also_to(&mut self, file: Option<&Path>) {
        self.own = file.map(Path::to_owned);
    }

    /// Says what was done, in our own log only.
    pub(super) fn info(&self, message: &str) {
        if let Some(own) = &self.own {
            append(own, &text_line("info", message));
        }
    }

    /// Says why the container does not start. Engines show the last error that the runtime wrote to its log.
    pub(super) fn error(&self, message: &str) {
        eprintln!("nvbind-runtime: {message}");
        let message = format!("nvbind: {message}");
        if let Some(engine) = &self.engine {
            let line = if self.engine_is_json {
                json_line("error", &message)
            } else {
                text_line("error", &message)
            };
            append(engine, &line);
        }
        if let Some(own) = &self.own {
            append(own, &text_line("error", &message));
        }
    }
}

/// A line as runc writes it with `--log-format json`.
fn json_line(level: &str, message: &str) -> String {
    format!("{}\n", json!({ "level": level, "msg": message, "time": time::now() }))
}

/// A line as runc writes it by default.
fn text_line(level: &str, message: &str) -> String {
    // A JSON string is what logrus' quoting gives for these messages.
    format!("time=\"{}\" level={level} msg={}\n", time::now(), json!(message))
}

/// Appends a line. A log that cannot be written is no reason to fail for, and there is nowhere to say so.
fn append(file: &Path, line: &str) {
    let opened = OpenOptions::new().append(true).create(true).mode(0o644).open(file);
    let _ = opened.and_then(|mut file| file.write_all(line.as_bytes()));
}
