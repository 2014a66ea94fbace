//! Builds machines: a folder with `usr`, `dev`, `proc`, `sys`.

use nvbind_config::Roots;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A machine in a temporary folder.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// An empty machine.
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::under(self.dir.path())
    }

    /// The host path of a path in the machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A file that looks like a 64-bit library.
    pub(crate) fn library(&self, path: &str) -> &Self {
        self.file(path, b"\x7fELF\x02\x01\x01")
    }

    /// A file that looks like a 32-bit library.
    pub(crate) fn library32(&self, path: &str) -> &Self {
        self.file(path, b"\x7fELF\x01\x01\x01")
    }

    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    /// The kernel module's own word on its version.
    pub(crate) fn kernel_module(&self, open: bool, version: &str) -> &Self {
        let name = if open {
            "Open Kernel Module for x86_64"
        } else {
            "x86_64 Kernel Module"
        };
        self.file(
            "proc/driver/nvidia/version",
            format!("NVRM version: NVIDIA UNIX {name}  {version}  Tue Apr  8\n"),
        )
    }

    /// A GPU on the bus.
    pub(crate) fn pci(&self, bus_id: &str, device: u16, driver: Option<&str>, numa_node: i32) -> &Self {
        let folder = format!("sys/bus/pci/devices/{bus_id}");
        self.file(&format!("{folder}/vendor"), "0x10de\n");
        self.file(&format!("{folder}/class"), "0x030200\n");
        self.file(&format!("{folder}/device"), format!("{device:#06x}\n"));
        self.file(&format!("{folder}/numa_node"), format!("{numa_node}\n"));
        if let Some(driver) = driver {
            self.link(
                &format!("{folder}/driver"),
                &format!("../../../bus/pci/drivers/{driver}"),
            );
        }
        self
    }

    /// A GPU as NVIDIA's kernel module lists it.
    pub(crate) fn gpu(&self, bus_id: &str, minor: u32, uuid: &str, more: &str) -> &Self {
        let text = format!(
            "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 18\nGPU UUID: \t {uuid}\nBus Location: \t {bus_id}\n\
             Device Minor: \t {minor}\n{more}"
        );
        self.file(&format!("proc/driver/nvidia/gpus/{bus_id}/information"), text);
        self.pci(bus_id, 0x2330, Some("nvidia"), 1)
    }
}

/// Whether a path is somewhere below another, for assertions on lists of paths.
pub(crate) fn has(paths: &[PathBuf], path: &str) -> bool {
    paths.iter().any(|found| found == Path::new(path))
}
