//! An engine's own program, asked about its configuration.

use super::{Error, file};
use crate::child;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What a program answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It ended well; what it printed.
    Yes(String),
    /// It failed; what it said, on one line.
    No(String),
    /// There is no such program.
    Absent,
}

/// Runs a program to its end.
pub(super) fn ask(program: &Path, arguments: &[&str]) -> Said {
    match child::ask(Command::new(program).args(arguments)) {
        Ok(Ok(text)) => Said::Yes(text),
        Ok(Err(why)) => Said::No(why),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Said::Absent,
        Err(error) => Said::No(error.to_string()),
    }
}

/// A folder for what a program is to look at before it lies in its place.
pub(super) fn folder() -> Result<TempDir, Error> {
    tempfile::tempdir().map_err(|error| file::failed("make a folder in", &std::env::temp_dir(), error))
}
