//! What can go wrong with containerd.

use std::io;

/// What can go wrong with containerd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// containerd's client is not there.
    #[error("containerd's ctr is not installed: 'apt-get install containerd' or use --runtime native")]
    NotInstalled,
    /// No daemon answers.
    #[error(
        "containerd does not answer on {socket}: {why}; start it with 'systemctl start containerd', or use --runtime native"
    )]
    NotReachable {
        /// Path of the socket.
        socket: String,
        /// Why.
        why: String,
    },
    /// The socket may not be opened.
    #[error("no permission to use containerd on {socket}: run as root, or use --runtime native")]
    Permission {
        /// Path of the socket.
        socket: String,
    },
    /// The OCI runtime shim is not there.
    #[error(
        "containerd needs nvbind-runtime to give a container GPUs, and it is neither beside nvbind nor on PATH: run 'make install'"
    )]
    NoShim,
    /// The workload has nothing that containerd can run.
    #[error(
        "containerd cannot run {what}: it takes the name of an image, or --rootfs; bring others with 'ctr image import'"
    )]
    Image {
        /// What the workload has instead.
        what: String,
    },
    /// The image's name is none.
    #[error(transparent)]
    Name(#[from] crate::image::Error),
    /// The image is not there and cannot be pulled.
    #[error(
        "image '{image}' not found by containerd: {why}; check the name, or bring it with 'ctr image pull' or 'ctr image import'"
    )]
    ImageNotFound {
        /// Name of the image.
        image: String,
        /// What ctr says.
        why: String,
    },
    /// ctr cannot do what is asked.
    #[error("containerd's ctr cannot give a container {what}: leave it out, or use --runtime native")]
    Unable {
        /// What is asked.
        what: &'static str,
    },
    /// There is no terminal to give.
    #[error("--tty: standard input is no terminal, and containerd's ctr gives a container no other; leave --tty out")]
    NoTerminal,
    /// A program or a file cannot be used.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// containerd refused.
    #[error("containerd could not {action} binding '{binding}': {why}")]
    Failed {
        /// What was asked for.
        action: &'static str,
        /// Id of the binding.
        binding: String,
        /// What it says.
        why: String,
    },
    /// No container belongs to that binding.
    #[error("containerd has no container of binding '{binding}'; 'nvbind ps' lists what runs")]
    NoContainer {
        /// Id of the binding.
        binding: String,
    },
    /// The container's output goes nowhere.
    #[error("containerd keeps no log of binding '{binding}': it ran in the foreground")]
    NoLog {
        /// Id of the binding.
        binding: String,
    },
}

impl Error {
    /// The exit code of `nvbind` for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Image { .. } | Self::NoTerminal => 2,
            Self::Name(error) => error.exit_code(),
            Self::Permission { .. } => 3,
            Self::ImageNotFound { .. } | Self::NoContainer { .. } | Self::NoLog { .. } => 4,
            Self::NotInstalled | Self::NotReachable { .. } | Self::NoShim | Self::Unable { .. } => 5,
            Self::Io { .. } | Self::Failed { .. } => 1,
        }
    }
}
