//! What is to run, with what around it.

use crate::word::words;
use crate::{ImageRef, Profile, Selector, Volume};
use nvbind_gpu::Capabilities;
use std::path::PathBuf;

/// What is to run, with what around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Name of the container, unique on this host.
    pub name: String,
    /// The image; may be absent when there is a `rootfs`.
    pub image: Option<ImageRef>,
    /// Whether a registry is asked for the image.
    pub pull: Pull,
    /// A root file system that lies ready; the image is then only a label.
    pub rootfs: Option<PathBuf>,
    /// The command and its arguments; empty means the image's own.
    pub command: Vec<String>,
    /// Environment, in order; a later entry of the same name wins.
    pub env: Vec<(String, String)>,
    /// Working directory in the container; `None` means the image's own or `/`.
    pub workdir: Option<PathBuf>,
    /// `user[:group]` as names or numbers; `None` means the image's own or root.
    pub user: Option<String>,
    /// Folders and files of the host to mount.
    pub volumes: Vec<Volume>,
    /// Give the command a terminal.
    pub tty: bool,
    /// Run in the background.
    pub detach: bool,
    /// Keep standard input open and passed through.
    pub stdin: bool,
    /// Network of the container.
    pub network: Network,
    /// Memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU limit in CPUs, as `1.5`.
    pub cpus: Option<f64>,
    /// The GPUs asked for.
    pub gpu: Selector,
    /// Driver capabilities that the container gets.
    pub capabilities: Capabilities,
    /// Kind of work to shape the container for.
    pub profile: Profile,
    /// The driver that the workload asks for.
    pub driver: DriverChoice,
    /// Whether the GPUs may be shared with other bindings.
    pub isolation: Isolation,
    /// Run without root on the host where the engine can.
    pub rootless: bool,
    /// Host name in the container; `None` means the name.
    pub hostname: Option<String>,
    /// Mount the root file system read-only.
    pub read_only: bool,
}

impl Workload {
    /// A workload of that name with nothing else asked for: no GPU, no network, default profile.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            image: None,
            pull: Pull::Missing,
            rootfs: None,
            command: Vec::new(),
            env: Vec::new(),
            workdir: None,
            user: None,
            volumes: Vec::new(),
            tty: false,
            detach: false,
            stdin: false,
            network: Network::None,
            memory_bytes: None,
            cpus: None,
            gpu: Selector::none(),
            capabilities: Capabilities::DEFAULT,
            profile: Profile::Default,
            driver: DriverChoice::Auto,
            isolation: Isolation::Shared,
            rootless: false,
            hostname: None,
            read_only: false,
        }
    }
}

/// Whether a registry is asked for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pull {
    /// When it is not here.
    #[default]
    Missing,
    /// Every time: the name may stand for another image by now.
    Always,
    /// Not at all.
    Never,
}

words!(Pull, "pull", { Missing = "missing", Always = "always", Never = "never" });

/// Network of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network {
    /// A network namespace with nothing but loopback.
    #[default]
    None,
    /// The host's network.
    Host,
}

words!(Network, "network", { None = "none", Host = "host" });

/// Whether the GPUs of a binding may be bound again while it lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Several bindings may hold the same GPU.
    #[default]
    Shared,
    /// One binding holds the GPU; others are refused.
    Exclusive,
}

words!(Isolation, "isolation", { Shared = "shared", Exclusive = "exclusive" });

/// The driver that a workload asks for; the values of Bolt's `--driver`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// Whatever is loaded.
    #[default]
    Auto,
    /// NVIDIA's driver with the proprietary kernel modules.
    NvidiaProprietary,
    /// NVIDIA's driver with the open kernel modules.
    NvidiaOpen,
    /// The kernel's own driver.
    Nouveau,
}

words!(DriverChoice, "driver", {
    Auto = "auto",
    NvidiaProprietary = "nvidia-proprietary",
    NvidiaOpen = "nvidia-open",
    Nouveau = "nouveau",
});
