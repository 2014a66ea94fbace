//! What can go wrong between a bundle and its container.

use nvbind_gpu::UnknownCapability;
use std::io;
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
    /// A path that JSON cannot hold.
    #[error("path {} is not UTF-8; rename it", .0.display())]
    Text(PathBuf),
    /// A device node that the edits name cannot be looked at on the host.
    #[error("device node {path}: {source}; load the driver's modules, then run 'nvbind cdi generate' again", path = path.display())]
    Node {
        /// The host path.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    /// A CDI annotation holds something else than qualified names.
    #[error("annotation {key}: '{name}' is no CDI device name; write it as vendor/class=device")]
    Annotation {
        /// Key of the annotation.
        key: String,
        /// The word in it.
        name: String,
    },
    /// `NVIDIA_DRIVER_CAPABILITIES` holds an unknown word.
    #[error("NVIDIA_DRIVER_CAPABILITIES: {0}")]
    Capability(UnknownCapability),
    /// A `NVIDIA_REQUIRE_*` variable that is no requirement.
    #[error(
        "{variable}: '{expression}' is not understood; write as cuda>=12.2 or driver>=535, or set NVIDIA_DISABLE_REQUIRE=1"
    )]
    RequirementSyntax {
        /// Name of the variable.
        variable: String,
        /// The part that is not understood.
        expression: String,
    },
    /// The host is not as the image needs it.
    #[error(
        "{variable}={expression} is not met: {found}; use another image, update the driver, or set NVIDIA_DISABLE_REQUIRE=1"
    )]
    Requirement {
        /// Name of the variable.
        variable: String,
        /// What it asks for.
        expression: String,
        /// What the host has.
        found: String,
    },
    /// `NVIDIA_IMEX_CHANNELS` or a mount names no channel.
    #[error("IMEX channel '{0}' is not understood; write a number below 1048576")]
    ImexChannel(String),
    /// The configuration of nvbind cannot be used.
    #[error(transparent)]
    Config(#[from] nvbind_config::Error),
    /// A spec or a device cannot be used.
    #[error(transparent)]
    Cdi(#[from] nvbind_cdi::Error),
    /// A file of the bundle cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Bundle {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the bundle is not JSON.
    #[error("{path} is not valid JSON: {source}; fix the bundle", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// `nvbind cdi generate` could not be started or understood.
    #[error(
        "cannot ask {program} for the devices: {reason}; install nvbind beside nvbind-runtime, or write a spec with 'nvbind cdi generate --output /etc/cdi/nvidia.json'"
    )]
    JustInTime {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// `nvbind cdi generate` ended with a failure, which it explained.
    #[error("{message}")]
    Generate {
        /// Its message.
        message: String,
        /// Its exit code.
        exit_code: u8,
    },
    /// No low-level runtime was found.
    #[error("no OCI runtime found: none of {} is on PATH; install runc, or set runtime.runtimes in /etc/nvbind/config.toml", .0.join(", "))]
    NoRuntime(Vec<String>),
    /// The low-level runtime cannot be executed.
    #[error("cannot execute {path}: {source}", path = path.display())]
    Exec {
        /// The runtime.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// NVIDIA's own hook was asked for, under whose name ours may lie.
    #[error(
        "the container asks for GPUs by docker's --gpus, and is started by another runtime than nvbind-runtime, which alone gives \
         them: use --runtime nvbind, or make it docker's default with 'nvbind runtime configure --set-as-default'"
    )]
    Prestart,
    /// A hook did not get the container's state.
    #[error("container state on standard input: {0}")]
    State(String),
    /// The container's root cannot be opened.
    #[error("cannot open the container's root {path}: {source}", path = path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Node { source, .. }
            | Self::Bundle { source, .. }
            | Self::Exec { source, .. }
            | Self::Root { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                3
            }
            Self::Malformed { .. }
            | Self::Text(_)
            | Self::HookStage { .. }
            | Self::Annotation { .. }
            | Self::RequirementSyntax { .. }
            | Self::ImexChannel(_)
            | Self::Capability(_)
            | Self::Json { .. } => 2,
            Self::Config(error) => error.exit_code(),
            Self::Cdi(error) => error.exit_code(),
            Self::Generate { exit_code, .. } => *exit_code,
            Self::Requirement { .. }
            | Self::Node { .. }
            | Self::NodeKind { .. }
            | Self::NoRuntime(_)
            | Self::Prestart
            | Self::JustInTime { .. } => 5,
            Self::Bundle { .. } | Self::Exec { .. } | Self::State(_) | Self::Root { .. } => 1,
        }
    }
}
