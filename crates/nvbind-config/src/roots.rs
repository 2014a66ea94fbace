//! The folders under which the host's own files are looked for.

use std::path::{Path, PathBuf};

/// Where the driver, the device nodes and the kernel's views of them are found on this host.
///
/// On an ordinary host all four point at `/`. A driver container, a chroot or a simulated machine
/// moves them; the code that reads through them never knows which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Root of the driver's user-space files: a library at `<driver>/usr/lib/...` is mounted at `/usr/lib/...`.
    pub driver: PathBuf,
    /// Root that holds `dev/`: the node at `<dev>/dev/nvidia0` becomes `/dev/nvidia0`.
    pub dev: PathBuf,
    /// Mount point of procfs (`/proc`).
    pub proc: PathBuf,
    /// Mount point of sysfs (`/sys`).
    pub sys: PathBuf,
}

impl Roots {
    /// The host itself.
    pub fn host() -> Self {
        Self {
            driver: "/".into(),
            dev: "/".into(),
            proc: "/proc".into(),
            sys: "/sys".into(),
        }
    }

    /// A whole machine laid out under one folder: `<root>/usr`, `<root>/dev`, `<root>/proc`, `<root>/sys`.
    pub fn under(root: &Path) -> Self {
        Self {
            driver: root.into(),
            dev: root.into(),
            proc: root.join("proc"),
            sys: root.join("sys"),
        }
    }

    /// The host path of a driver file named by its path in a container (`/usr/lib/x` to `<driver>/usr/lib/x`).
    pub fn driver_path(&self, container_path: &Path) -> PathBuf {
        join_absolute(&self.driver, container_path)
    }

    /// The host path of a device node named by its path in a container (`/dev/nvidia0` to `<dev>/dev/nvidia0`).
    pub fn dev_path(&self, container_path: &Path) -> PathBuf {
        join_absolute(&self.dev, container_path)
    }

    /// The path in a container of a host driver file, when it lies below the driver root.
    pub fn container_path(&self, host_path: &Path) -> Option<PathBuf> {
        host_path
            .strip_prefix(&self.driver)
            .ok()
            .map(|rest| Path::new("/").join(rest))
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self::host()
    }
}

fn join_absolute(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
