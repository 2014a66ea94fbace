//! The host as the checks see it: gathered once, looked at by all.

use super::engine::Engine;
use nvbind_cdi::Registry;
use nvbind_config::{Config, Roots};
use nvbind_gpu::{Condition, DriverFiles, Host, KernelLog, KernelNode, SearchOptions, Xid};
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that the checks look at.
pub(crate) struct Site {
    /// The driver, its nodes and what the kernel shows of them.
    pub(crate) roots: Roots,
    /// Folder under which the host's own `/etc`, `/run` and `/proc` lie: `/`, or where a container has them mounted.
    pub(crate) host_root: PathBuf,
    /// The driver and the GPUs, by NVML where it answers.
    pub(crate) host: Host,
    /// The driver as the kernel alone tells it.
    pub(crate) kernel: Host,
    /// The driver's files, of whatever version they are.
    pub(crate) files: Option<DriverFiles>,
    /// The nodes that the loaded modules answer on.
    pub(crate) nodes: Vec<KernelNode>,
    pub(crate) conditions: Vec<Condition>,
    /// Xid errors in the kernel's log; `None` when it cannot be read.
    pub(crate) xids: Option<Vec<Xid>>,
    /// Folders of specs, as they are found from here.
    pub(crate) spec_dirs: Vec<PathBuf>,
    pub(crate) registry: Registry,
    pub(crate) engines: Vec<Engine>,
}

impl Site {
    /// Looks at everything once.
    pub(crate) fn gather(config: &Config, roots: Roots, host_root: &Path) -> Result<Self, nvbind_gpu::Error> {
        let spec_dirs: Vec<PathBuf> = config.cdi.spec_dirs.iter().map(|dir| below(host_root, dir)).collect();
        Ok(Self {
            host: nvbind_gpu::discover(&roots)?,
            kernel: nvbind_gpu::discover_procfs(&roots)?,
            files: nvbind_gpu::driver_files(&roots, None, &SearchOptions::default()).ok(),
            nodes: nvbind_gpu::kernel_nodes(&roots),
            conditions: nvbind_gpu::conditions(&roots)?,
            xids: KernelLog::open(&roots).ok().map(|mut log| log.xids()),
            registry: Registry::load(&spec_dirs),
            spec_dirs,
            engines: Engine::installed(host_root),
            host_root: host_root.to_owned(),
            roots,
        })
    }

    /// Where a path of the host is found from here.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        below(&self.host_root, Path::new(path))
    }

    /// A text file of the host, when it can be read.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// Whether systemd manages this host.
    pub(crate) fn has_systemd(&self) -> bool {
        self.path("/run/systemd/system").is_dir()
    }

    /// Whether a driver of NVIDIA's is loaded.
    pub(crate) fn has_driver(&self) -> bool {
        self.host.driver.kind.is_nvidia()
    }

    /// Whether the driver is the one that Windows gives to Linux guests.
    pub(crate) fn is_wsl(&self) -> bool {
        self.roots.dev_path(Path::new("/dev/dxg")).exists()
    }
}

/// A path of another root, as it is found from here.
pub(crate) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
