//! What can go wrong between a bundle and its container.

use std::path::PathBuf;

/// A failure on the container start path, told in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A member of `config.json` has another JSON type than the OCI runtime specification gives it.
    #[error("config.json: '{member}' is not {expected}; fix the bundle")]
    Malformed {
        /// Name of the member.
        member: String,
        /// What it should be, with its article.
        expected: &'static str,
    },
    /// A device node that the edits name cannot be looked at on the host.
    #[error("device node {path}: {source}; load the driver's modules, then run 'nvbind cdi generate' again", path = path.display())]
    Node {
        /// The host path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A path that the edits name as a device is something else on the host.
    #[error("device node {path} is {found}, not {expected}; run 'nvbind cdi generate' again", path = path.display())]
    NodeKind {
        /// The host path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What the edits say.
        expected: String,
    },
    /// A hook names a stage that the OCI runtime specification does not have.
    #[error("hook {path}: unknown stage '{stage}'; regenerate the CDI spec that names it", path = path.display())]
    HookStage {
        /// Program of the hook.
        path: PathBuf,
        /// The stage as written.
        stage: String,
    },
}

impl Error {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Malformed { .. } | Self::HookStage { .. } => 2,
            Self::Node { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => 3,
            Self::Node { .. } | Self::NodeKind { .. } => 5,
        }
    }
}
