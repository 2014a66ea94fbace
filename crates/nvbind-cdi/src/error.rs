//! What can go wrong with specs, said in one line.

use crate::Invalid;
use nvbind_config::trusted;
use std::path::PathBuf;

/// Why a spec was not made, read, written or found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A spec file cannot be read or must not be believed.
    #[error("CDI spec: {0}")]
    File(#[from] trusted::Error),
    /// A folder of specs cannot be listed.
    #[error("CDI spec folder: cannot list {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file name that says neither JSON nor YAML.
    #[error("CDI spec: {}: cannot tell its format: name it .json, .yaml or .yml", .0.display())]
    Extension(PathBuf),
    /// A file that is not JSON or YAML, or not a spec (half-written, a field of an unknown name, a wrong type).
    #[error("CDI spec: {}: {message}: generate it anew or remove it", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A spec that breaks a rule of the CDI specification.
    #[error("CDI spec: {}: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The rule and the place.
        source: Invalid,
    },
    /// Options that would make an invalid spec.
    #[error("CDI spec: {0}")]
    Generated(#[from] Invalid),
    /// A version that was never released.
    #[error("CDI version '{0}' is unknown: use one of 0.3.0, 0.4.0, 0.5.0, 0.6.0, 0.7.0, 0.8.0, 1.0.0, 1.1.0")]
    UnknownVersion(String),
    /// The spec cannot be said in so old a version.
    #[error("CDI spec: what it says needs version {needed}, more than {limit}: use --cdi-version {needed}")]
    NeedsVersion {
        /// The lowest version that would do.
        needed: &'static str,
        /// The version asked for.
        limit: String,
    },
    /// A spec cannot be put into words (a path that is not UTF-8).
    #[error("CDI spec: cannot be written as text: {0}")]
    Encode(String),
    /// A spec file cannot be written.
    #[error("CDI spec: cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Two spec files of the same folder define the same device.
    #[error("CDI device {name} is defined by both {} and {}: remove one of them", paths.0.display(), paths.1.display())]
    Conflict {
        /// The qualified name.
        name: String,
        /// The files.
        paths: (PathBuf, PathBuf),
    },
    /// No spec defines the device.
    #[error("no CDI device '{name}': {hint}")]
    Unresolved {
        /// The name as asked for.
        name: String,
        /// What is known instead.
        hint: String,
    },
    /// No such GPU or MIG device on this host.
    #[error("no GPU or MIG device '{id}' on this host: {hint}")]
    UnknownDevice {
        /// The identifier as asked for.
        id: String,
        /// What there is.
        hint: String,
    },
    /// A GPU that was asked for does not answer.
    #[error(
        "GPU {0} is lost (it fell off the bus or does not answer): reset it or reboot, and leave it out until then"
    )]
    Lost(String),
    /// A GPU that was asked for has no device node.
    #[error("{} of {uuid} is missing: run nvidia-smi or nvidia-modprobe to make it", path.display())]
    NodeMissing {
        /// The GPU.
        uuid: String,
        /// The node on the host.
        path: PathBuf,
    },
    /// GPUs that have one node together, of which some were asked for.
    #[error("in WSL2 all GPUs have one device node: {0} cannot be left out; ask for all")]
    NotApart(String),
    /// A WSL2 machine without its node.
    #[error("{} is missing: WSL2 has no GPU for this machine; update Windows, its NVIDIA driver and WSL", .0.display())]
    DxgMissing(PathBuf),
    /// A mode that finds nothing.
    #[error("nothing for --mode {mode} on this host: no {wanted}; {advice}")]
    NoExtra {
        /// The mode.
        mode: &'static str,
        /// The nodes that would be taken.
        wanted: String,
        /// What to do.
        advice: &'static str,
    },
    /// There is nothing to make a spec of.
    #[error("no usable GPU on this host: run nvbind info to see why, or ask for --device-id none")]
    NoDevices,
    /// An option has a value that it does not take.
    #[error("--{option} does not take '{value}': use {wanted}")]
    Option {
        /// The option, without dashes.
        option: &'static str,
        /// The value.
        value: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// The host could not be searched.
    #[error(transparent)]
    Gpu(#[from] nvbind_gpu::Error),
}

impl Error {
    /// Exit code of a command that stops at this error.
    pub fn exit_code(&self) -> u8 {
        use std::io::ErrorKind::PermissionDenied;
        match self {
            Self::File(error) if error.is_permission() => 3,
            Self::Folder { source, .. } | Self::Write { source, .. } if source.kind() == PermissionDenied => 3,
            Self::File(error) if error.is_not_found() => 4,
            Self::Unresolved { .. } | Self::UnknownDevice { .. } | Self::NoDevices | Self::NoExtra { .. } => 4,
            Self::DxgMissing(_) => 5,
            Self::Folder { .. } | Self::Write { .. } | Self::Encode(_) | Self::Lost(_) | Self::NodeMissing { .. } => 1,
            Self::Gpu(error) => error.exit_code(),
            _ => 2,
        }
    }
}
