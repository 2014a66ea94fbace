//! What can go wrong with the ledger.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The binding that is in the way of a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The process that answers for it.
    pub pid: u32,
    /// Whether it holds the device for itself alone.
    pub exclusive: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' (pid {})", self.name, self.pid)
    }
}

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its folder cannot be opened or written.
    #[error("cannot open the ledger {}: {source}; check the folder's owner or set [state] dir", path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file is not a ledger any more.
    #[error("the ledger {} is damaged ({reason}): stop all containers, move the file away and try again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        reason: String,
    },
    /// A newer nvbind wrote the file.
    #[error("the ledger {} has schema {found}, newer than this nvbind's {known}: use the newer nvbind", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest schema that this build knows.
        known: i64,
    },
    /// Another process held the file for too long.
    #[error("the ledger {} is busy: another nvbind holds it; try again", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// SQLite refused something else.
    #[error("the ledger {} cannot be used: {reason}", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        reason: String,
    },
    /// A device is held exclusively, or wanted exclusively while it is shared.
    #[error("device {device} is {} by {holder}: choose another GPU or stop it with 'nvbind stop {}'",
        if holder.exclusive { "held exclusively" } else { "in use" }, holder.name)]
    Held {
        /// UUID of the device.
        device: String,
        /// Who has it.
        holder: Holder,
    },
    /// The name belongs to another binding.
    #[error("the name '{name}' is taken by container {id}: choose another --name or remove it with 'nvbind rm {name}'")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        id: String,
    },
    /// No binding has this id or name.
    #[error("no container '{key}': 'nvbind ps' lists them")]
    NotFound {
        /// What was asked for.
        key: String,
    },
    /// More than one id begins with this prefix.
    #[error("'{key}' begins the id of {count} containers: give more of it, or the name")]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// How many ids it begins.
        count: usize,
    },
    /// `/proc` does not say who this process is.
    #[error("cannot tell the owner of a container from /proc: {0}; mount procfs on /proc")]
    Proc(#[source] io::Error),
}

impl Error {
    /// Exit code of the command that failed with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 3,
            Self::NotFound { .. } => 4,
            Self::NameTaken { .. } | Self::Ambiguous { .. } => 2,
            Self::Newer { .. } | Self::Proc(_) => 5,
            Self::Open { .. } | Self::Damaged { .. } | Self::Busy { .. } | Self::Sql { .. } | Self::Held { .. } => 1,
        }
    }
}
