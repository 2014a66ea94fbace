//! What can go wrong with the configuration of an engine.

use std::io;
use std::path::PathBuf;

/// What can go wrong with the configuration of an engine. Wherever one of these is returned, no file was changed, unless it
/// says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user's file cannot be read as what it should be.
    #[error("{} line {line}: {why}; mend the file first, nothing was changed", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What the parser says.
        why: String,
    },
    /// A key of the user's file leads to something other than it must.
    #[error("{}: '{key}' is not {expected}; mend the file first, nothing was changed", path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The file says that it is of a version that nvbind does not know.
    #[error("{}: configuration version {version} of containerd is not one that nvbind knows (1, 2, 3); nothing was changed", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: String,
    },
    /// The engine itself does not take a file.
    #[error("{program} does not take {}: {why}; nothing was changed", path.display())]
    Refused {
        /// The engine's program.
        program: String,
        /// The file, as it was or as it would be.
        path: PathBuf,
        /// What the engine says.
        why: String,
    },
    /// The engine reads the files, and the runtime is not among those that it then has.
    #[error(
        "containerd would not see the runtime '{name}' in {}: a file that it imports later replaces the section; \
         name that file with --config, or put the runtime there by hand; nothing was changed",
        path.display()
    )]
    Shadowed {
        /// Name of the runtime.
        name: String,
        /// The file that it would be written to.
        path: PathBuf,
    },
    /// The file is written by k3s or rke2.
    #[error(
        "{} is written anew by {distribution} at every start: {distribution} finds nvidia-container-runtime by itself, so run \
         'nvbind runtime alias', restart {distribution}, and use its runtime class 'nvidia'",
        path.display()
    )]
    Rancher {
        /// `k3s` or `rke2`.
        distribution: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// docker reads one file.
    #[error("docker reads no drop-in files: leave --drop-in-config out")]
    NoDropIn,
    /// There is no runtime to configure.
    #[error(
        "nvbind-runtime is neither beside nvbind nor on PATH: run 'make install', or name it with --nvidia-runtime-path"
    )]
    NoRuntime,
    /// An engine cannot be asked for its configuration.
    #[error("cannot ask '{program}' for its configuration: {why}; use --config-source file")]
    Source {
        /// The program with its arguments.
        program: String,
        /// Why.
        why: String,
    },
    /// A name that is taken by something else.
    #[error("{} is there and is not nvbind's: remove its package, or choose another folder with --dir", .0.display())]
    Taken(PathBuf),
    /// A file operation failed.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was written down for the way back cannot be read.
    #[error("cannot read {}: {why}; take nvbind's lines out by hand and remove that file", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root, or name a file of your own with --config",
        _ => "",
    }
}

impl Error {
    /// The exit code of `nvbind` for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Syntax { .. }
            | Self::Misplaced { .. }
            | Self::Version { .. }
            | Self::Refused { .. }
            | Self::Shadowed { .. }
            | Self::NoDropIn
            | Self::Taken(_)
            | Self::Record { .. } => 2,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 3,
            Self::Rancher { .. } | Self::NoRuntime => 5,
            Self::Source { .. } | Self::Io { .. } => 1,
        }
    }
}
