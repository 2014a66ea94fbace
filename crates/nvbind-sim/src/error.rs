//! What can go wrong with a simulated machine.

use std::io;
use std::path::{Path, PathBuf};

use crate::mig::MigRefusal;

/// Why something about a simulated machine failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No profile and no file has this name.
    #[error("unknown simulated machine '{name}': use a profile ({known}) or the path of a profile file")]
    UnknownProfile {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A profile file cannot be used.
    #[error("profile file {}: {reason}", path.display())]
    BadProfile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The simulated NVML library is not where it should be.
    #[error(
        "the simulator's NVML library libnvbind_sim_nvml.so was not found in {searched}: install nvbind whole, or set NVBIND_SIM_LIBRARY to its path"
    )]
    NoLibrary {
        /// Where it was looked for.
        searched: String,
    },
    /// The unpacked driver that should be laid over cannot be used.
    #[error("driver overlay {}: {reason}", path.display())]
    BadOverlay {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The state file is missing or holds no whole state.
    #[error("simulated machine {}: {reason}; remove that folder and start it again", root.display())]
    NoState {
        /// The simulated machine's root.
        root: PathBuf,
        /// Why.
        reason: String,
    },
    /// The machine has no such GPU.
    #[error("the simulated machine has no GPU '{selector}': use an index up to {last}, a UUID, a PCI bus id or all")]
    NoSuchGpu {
        /// What was asked for.
        selector: String,
        /// Highest index.
        last: usize,
    },
    /// There is no such setting.
    #[error("unknown setting '{key}': use one of {known}")]
    UnknownSetting {
        /// What was asked for.
        key: String,
        /// The keys there are.
        known: String,
    },
    /// A value does not fit its setting.
    #[error("{key}={value}: {reason}")]
    BadValue {
        /// The setting.
        key: String,
        /// The value.
        value: String,
        /// What would fit.
        reason: String,
    },
    /// MIG mode or a MIG instance cannot be what is asked for.
    #[error("MIG on GPU {gpu}: {reason}")]
    Mig {
        /// Index of the GPU.
        gpu: usize,
        /// What kind of refusal it is.
        kind: MigRefusal,
        /// Why.
        reason: String,
    },
    /// No such process on the GPU.
    #[error("no process {pid} on GPU '{selector}'")]
    NoSuchProcess {
        /// The process id.
        pid: u32,
        /// Where it was looked for.
        selector: String,
    },
    /// A system call failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Makes an [`Error::Io`] for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source: source.into(),
        }
    }

    /// The exit code that tells this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownProfile { .. } | Self::NoSuchGpu { .. } | Self::NoSuchProcess { .. } => 4,
            Self::Mig { kind, .. } => mig_exit_code(*kind),
            Self::BadProfile { .. } | Self::UnknownSetting { .. } | Self::BadValue { .. } => 2,
            Self::BadOverlay { .. } => 2,
            Self::NoLibrary { .. } => 5,
            Self::NoState { .. } => 1,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 3,
            Self::Io { .. } => 1,
        }
    }
}

/// What is in use can be had later; the others need another request.
fn mig_exit_code(kind: MigRefusal) -> u8 {
    match kind {
        MigRefusal::NotSupported | MigRefusal::BadPlacement | MigRefusal::NoRoom => 2,
        MigRefusal::InUse => 1,
        MigRefusal::NotFound => 4,
    }
}
