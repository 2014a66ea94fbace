//! What can go wrong when the host is searched.

use std::io;
use std::path::PathBuf;

/// Why the host could not be searched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No NVIDIA driver where one is needed.
    #[error("no NVIDIA driver files found in '{}': install the NVIDIA driver, or set host.driver_root to where it is", .0.display())]
    NoDriver(PathBuf),
    /// The kernel's driver and the libraries differ.
    #[error("no driver libraries of version {version} in '{}', only of {found}: the kernel module and the libraries differ; reboot or reinstall the driver", root.display())]
    OtherDriver {
        /// The driver root.
        root: PathBuf,
        /// Version that was asked for, usually the kernel module's.
        version: String,
        /// Version that is there.
        found: String,
    },
    /// The driver root is not there or cannot be listed.
    #[error("cannot read driver root '{}': {source}: check host.driver_root", path.display())]
    DriverRoot {
        /// The driver root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the host cannot be read.
    #[error("cannot read '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The driver of a WSL2 machine cannot be found.
    #[error("no NVIDIA driver for WSL2: {0}: install NVIDIA's driver on Windows and run wsl --update there")]
    Wsl(String),
    /// NVML cannot be asked.
    #[error("cannot ask NVML: {0}")]
    Nvml(String),
    /// A device node or the link to it cannot be made.
    #[error("cannot make '{}': {source}: run this as root on the host", path.display())]
    Node {
        /// The node or link.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not list the capability node of a MIG device.
    #[error("MIG device {uuid} has no capability node: no '{entry}' in '{}': load the nvidia-caps device or make the MIG device anew", file.display())]
    MigNode {
        /// The MIG device.
        uuid: String,
        /// The entry that is missing, as `gpu0/gi1/access`.
        entry: String,
        /// The table that was read.
        file: PathBuf,
    },
}

impl Error {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoDriver(_) | Self::OtherDriver { .. } | Self::Wsl(_) | Self::Nvml(_) => 5,
            Self::DriverRoot { source, .. } | Self::Read { source, .. } | Self::Node { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                3
            }
            // A root that is not there is a setting that is wrong.
            Self::DriverRoot { .. } => 2,
            Self::Read { .. } | Self::Node { .. } | Self::MigNode { .. } => 1,
        }
    }
}
