//! What can be wrong with the configuration, said in one line.

use crate::trusted;
use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A command line flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// What can be wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or must not be believed.
    #[error("configuration: {0}")]
    File(#[from] trusted::Error),
    /// The file that `NVBIND_CONFIG` names is not there.
    #[error("configuration: {} does not exist: correct or unset NVBIND_CONFIG", .0.display())]
    Missing(PathBuf),
    /// A file is not TOML.
    #[error("configuration: {origin}: not valid TOML: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// No such section or key.
    #[error("configuration: {origin}: unknown key '{key}': did you mean '{nearest}'?")]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The known key nearest to it.
        nearest: String,
    },
    /// A value of the wrong type.
    #[error("configuration: {origin}: '{key}' is {found}: it must be {wanted}")]
    WrongType {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that the key does not take.
    #[error("configuration: {origin}: '{key}' does not take '{value}': {wanted}")]
    Value {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it takes.
        wanted: String,
    },
}

impl Error {
    /// Exit code of a command that stops at this error: 3 without permission, else 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File(error) if error.is_permission() => 3,
            _ => 2,
        }
    }
}
