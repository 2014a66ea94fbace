//! What can go wrong with the state of deployments.

use std::io;
use std::path::PathBuf;

/// What can go wrong with the state of deployments.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file or its folder cannot be opened or written.
    #[error("cannot open the state {}: {source}; check the folder's owner or set [state] dir", path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A newer nvbind wrote the file.
    #[error("the state {} has schema {found}, newer than this nvbind's {known}: use the newer nvbind", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest schema that this build knows.
        known: i64,
    },
    /// SQLite says no.
    #[error("the state {}: {reason}", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        reason: String,
    },
    /// A live deployment has that name.
    #[error(
        "a deployment '{name}' is there already ({status}): choose another name, or end it with nvbind cloud down {name}"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Its status.
        status: &'static str,
    },
    /// There is no such deployment.
    #[error("no deployment '{name}': see nvbind cloud list")]
    NotFound {
        /// What was asked for.
        name: String,
    },
}

impl StateError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 3,
            Self::NotFound { .. } => 4,
            Self::NameTaken { .. } => 2,
            _ => 1,
        }
    }
}
