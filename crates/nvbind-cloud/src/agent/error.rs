//! What goes wrong with an agent.

use std::io;
use std::path::{Path, PathBuf};

/// What goes wrong with an agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file cannot be read or written.
    #[error("cannot {what} '{}': {source}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A plan or a state that is none.
    #[error("'{}': {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no agent of that folder.
    #[error("no agent in '{}'", .0.display())]
    None(PathBuf),
    /// The folder is another order's.
    #[error("'{}' is in use by another order", .0.display())]
    Taken(PathBuf),
    /// The agent lives, and what was asked for needs it gone.
    #[error("the agent in '{}' runs: stop it first", .0.display())]
    Runs(PathBuf),
    /// The agent did not come up.
    #[error("the agent in '{}' did not start: {why}", path.display())]
    NotStarted {
        /// The folder.
        path: PathBuf,
        /// The end of its log.
        why: String,
    },
    /// The agent does not stop.
    #[error("the agent in '{}' has not stopped within {seconds} s", path.display())]
    NotStopped {
        /// The folder.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A call of `nvbind` failed.
    #[error("nvbind {what}: {why}")]
    Nvbind {
        /// The command.
        what: &'static str,
        /// What it said.
        why: String,
    },
}

impl AgentError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => 3,
                io::ErrorKind::NotFound => 4,
                _ => 1,
            },
            Self::Form { .. } | Self::Taken(_) | Self::Runs(_) => 2,
            Self::None(_) => 4,
            Self::NotStarted { .. } | Self::NotStopped { .. } | Self::Nvbind { .. } => 1,
        }
    }

    /// For `map_err`: an operation on a file failed.
    pub(super) fn io<'path>(what: &'static str, path: &'path Path) -> impl FnOnce(io::Error) -> Self + 'path {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }
}
