//! A record of when spot capacity was there.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A record of when spot capacity was there, one entry for each tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Length of a tick in hours.
    pub tick_hours: f64,
    /// Length of a tick in seconds, as recorded.
    pub tick_seconds: f64,
    /// Whether capacity was there, tick by tick.
    pub up: Vec<bool>,
}

/// The file's form, that of the traces published with "Can't Be Late" (NSDI 2024).
#[derive(Deserialize)]
struct File {
    metadata: Metadata,
    data: Vec<u8>,
}

#[derive(Deserialize)]
struct Metadata {
    gap_seconds: f64,
}

/// What is wrong with a trace file.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read trace '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a trace.
    #[error("trace '{}': {why}: it must be {{\"metadata\": {{\"gap_seconds\": 600}}, \"data\": [1, 0, ...]}}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl TraceError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => 3,
                std::io::ErrorKind::NotFound => 4,
                _ => 1,
            },
            Self::Form { .. } => 2,
        }
    }
}

impl Trace {
    /// Reads a trace file.
    pub fn from_file(path: &Path) -> Result<Self, TraceError> {
        let text = std::fs::read_to_string(path).map_err(|source| TraceError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(&text).map_err(|why| TraceError::Form {
            path: path.to_owned(),
            why,
        })
    }

    /// Reads the text of a trace file; the error says what is wrong.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let tick_seconds = file.metadata.gap_seconds;
        if !(tick_seconds.is_finite() && tick_seconds > 0.0) {
            return Err(format!("gap_seconds is {tick_seconds}"));
        }
        if let Some(at) = file.data.iter().position(|entry| *entry > 1) {
            return Err(format!("data[{at}] is {}, neither 0 nor 1", file.data[at]));
        }
        Ok(Self {
            tick_hours: tick_seconds / 3600.0,
            tick_seconds,
            up: file.data.iter().map(|entry| *entry == 1).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read() {
        let trace = Trace::from_json(r#"{"metadata": {"gap_seconds": 600}, "data": [1, 0, 1]}"#).unwrap();
        assert_eq!(trace.up, [true, false, true]);
        assert!((trace.tick_hours - 1.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_trace_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "EOF"),
            (r#"{"data": []}"#, "missing field `metadata`"),
            (r#"{"metadata": {"gap_seconds": 0}, "data": []}"#, "gap_seconds is 0"),
            (r#"{"metadata": {"gap_seconds": 600}, "data": [0, 2]}"#, "data[1] is 2"),
            (r#"{"metadata": {"gap_seconds": 600}, "data": [true]}"#, "invalid type"),
        ] {
            let error = Trace::from_json(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
