//! Hosts for the tests of the checks: a folder with what a check looks at.

use super::{Finding, Level, Site};
use nvbind_config::{Config, Roots};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use tempfile::TempDir;

/// A host in a temporary folder.
pub(super) struct Fake {
    dir: TempDir,
}

impl Fake {
    /// A host without a driver.
    pub(super) fn empty() -> Self {
        let fake = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fake.folder("dev");
        fake
    }

    /// A host with a driver of that version and one GPU, whose nodes are all missing and whose NVML is no library.
    pub(super) fn with_driver(version: &str) -> Self {
        let fake = Self::empty();
        fake.file(
            "proc/driver/nvidia/version",
            &format!("NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  x\n"),
        );
        fake.file(
            "proc/devices",
            "Character devices:\n195 nvidia\n195 nvidia-modeset\n509 nvidia-caps\n510 nvidia-uvm\n",
        );
        fake.file(
            "proc/driver/nvidia/gpus/0000:07:00.0/information",
            "Model: \t NVIDIA X\nGPU UUID: \t GPU-1\nDevice Minor: \t 3\n",
        );
        fake.libraries(version);
        fake
    }

    pub(super) fn libraries(&self, version: &str) {
        self.library(&format!("usr/lib64/libcuda.so.{version}"), 2);
        self.library(&format!("usr/lib64/libnvidia-ml.so.{version}"), 2);
    }

    /// A file that looks like a library of that ELF class: 1 for 32 bits, 2 for 64.
    pub(super) fn library(&self, path: &str, class: u8) {
        self.file(path, "");
        fs::write(self.path(path), [0x7f, b'E', b'L', b'F', class, 1, 1]).unwrap();
    }

    /// A capability of the kernel's with that minor.
    pub(super) fn capability(&self, minor: u32) {
        self.file(
            "proc/driver/nvidia/capabilities/gpu3/mig/gi1/access",
            &format!("DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n"),
        );
    }

    /// An NVIDIA GPU on the PCI bus, bound to that driver.
    pub(super) fn pci(&self, bus: &str, driver: Option<&str>) {
        let folder = format!("sys/bus/pci/devices/{bus}");
        for (name, text) in [("vendor", "0x10de"), ("class", "0x030200"), ("device", "0x2330")] {
            self.file(&format!("{folder}/{name}"), text);
        }
        if let Some(driver) = driver {
            symlink(
                format!("../../drivers/{driver}"),
                self.path(&format!("{folder}/driver")),
            )
            .unwrap();
        }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(super) fn folder(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub(super) fn file(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub(super) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Removes a file or a folder with all that is in it.
    pub(super) fn remove(&self, path: &str) {
        let path = self.path(path);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    pub(super) fn config(&self) -> Config {
        Config::default()
    }

    pub(super) fn site(&self) -> Site {
        Site::gather(&self.config(), Roots::under(self.dir.path()), self.dir.path()).unwrap()
    }
}

/// The levels of a check's findings.
pub(super) fn levels(findings: &[Finding], check: &str) -> Vec<Level> {
    let of_check = findings.iter().filter(|finding| finding.check == check);
    of_check.map(|finding| finding.level).collect()
}

/// The one finding of a check.
pub(super) fn only(findings: Vec<Finding>, check: &str) -> Finding {
    let all = format!("{findings:#?}");
    let mut of_check = findings.into_iter().filter(|finding| finding.check == check);
    let found = of_check.next().unwrap_or_else(|| panic!("no {check} in {all}"));
    assert!(of_check.next().is_none(), "more than one {check} in {all}");
    found
}
