//! What can go wrong with a container of our own.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a container of our own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An ordinary user gets no user namespace.
    #[error("this host does not let an ordinary user make containers ({source}): {remedy}")]
    UserNamespace {
        /// The kernel's word.
        source: io::Error,
        /// What to do.
        remedy: String,
    },
    /// Limits without a cgroup.
    #[error(
        "--memory and --cpus need root: no cgroup is delegated to this user's nvbind; leave them out, or run nvbind with sudo"
    )]
    Limits,
    /// A user of the container that the user namespace does not have.
    #[error(
        "user {uid} is beyond the {ids} user ids of this container: get a range with 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}', and the package uidmap"
    )]
    NotMapped {
        /// The user, as the container numbers it.
        uid: u32,
        /// User ids that the namespace has.
        ids: u32,
        /// Who runs nvbind.
        name: String,
    },
    /// An id that is not one plain word.
    #[error("'{id}' cannot be a container id: use letters, digits, '-' and '_'")]
    Id {
        /// The id.
        id: String,
    },
    /// Nothing says what to run on.
    #[error("nothing to run on: give an image or --rootfs DIR")]
    NoRoot,
    /// Nothing says what to run.
    #[error("nothing to run: the image names no command; give one after '--'")]
    NoCommand,
    /// A path that the workload names is not there.
    #[error("{what} {} is not there: {source}; check the path", path.display())]
    Missing {
        /// What the path was to be.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path that the workload names is of another kind.
    #[error("{what} {} is not {expected}; check the path", path.display())]
    Kind {
        /// What the path was to be.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// `--user` names somebody whom the container does not know.
    #[error("{kind} '{name}' is not in the container's {file}: use a number or another name")]
    NoSuchUser {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
    },
    /// A file or folder of ours cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The container runtime refused.
    #[error("cannot {action} container '{name}': {why}")]
    Runtime {
        /// `create`, `start`, `delete`.
        action: &'static str,
        /// The container.
        name: String,
        /// The runtime's word.
        why: String,
    },
    /// The command is not in the container, or is no program.
    #[error("cannot run '{command}' in the container: {why}; check the command and the image's PATH")]
    Command {
        /// The command.
        command: String,
        /// The runtime's word.
        why: String,
        /// Exit code as shells give it: 127 not found, 126 not executable.
        code: u8,
    },
    /// `rm` of a container that runs.
    #[error("container '{name}' is running: stop it first, or use 'nvbind rm --force {name}'")]
    Running {
        /// Its name.
        name: String,
    },
    /// The binding belongs to another engine.
    #[error("container '{name}' belongs to engine {engine}: use its own commands")]
    OtherEngine {
        /// Its name.
        name: String,
        /// The engine.
        engine: String,
    },
    /// A container that does not go away.
    #[error("container '{name}' does not end after SIGKILL: a process of it hangs in the kernel; see 'dmesg'")]
    Stuck {
        /// Its name.
        name: String,
    },
    /// The container in the background did not start.
    #[error("{why}")]
    Supervisor {
        /// What its supervisor said.
        why: String,
        /// The exit code that goes with it.
        code: u8,
    },
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] nvbind_alloc::Error),
    /// The device edits do not fit.
    #[error(transparent)]
    Edits(#[from] nvbind_oci::Error),
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] crate::image::Error),
}

impl Error {
    /// Exit code of the command that failed with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UserNamespace { .. } | Self::Limits | Self::NotMapped { .. } => 5,
            Self::Io { source, .. } | Self::Missing { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                3
            }
            Self::Missing { .. } => 4,
            Self::Id { .. }
            | Self::NoRoot
            | Self::NoCommand
            | Self::Kind { .. }
            | Self::NoSuchUser { .. }
            | Self::Running { .. }
            | Self::OtherEngine { .. } => 2,
            Self::Io { .. } | Self::Runtime { .. } | Self::Stuck { .. } => 1,
            Self::Command { code, .. } | Self::Supervisor { code, .. } => *code,
            Self::Ledger(error) => error.exit_code(),
            Self::Edits(error) => error.exit_code(),
            Self::Image(error) => error.exit_code(),
        }
    }

    /// For `map_err`: the failure to do `action` to `path`.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source: source.into(),
        }
    }
}
