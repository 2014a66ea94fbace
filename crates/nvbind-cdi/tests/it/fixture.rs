//! A host that exists only in a temporary folder: GPUs as structs, device nodes and sysfs as files.

use nvbind_config::Roots;
use nvbind_gpu::{
    Architecture, Capabilities, Driver, DriverFile, DriverFiles, DriverKind, ElfClass, FileKind, Gpu, Health, Host,
    Library, Link, MigDevice, MigState, Node, Platform, Source,
};
use rustix::fs::{CWD, FileType, Gid, Mode, chmod, chown, makedev, mknodat, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Driver version of the fixture.
pub(crate) const VERSION: &str = "550.163.01";

/// Folder of the fixture's libraries, in a container.
pub(crate) const LIB: &str = "/usr/lib/x86_64-linux-gnu";

/// A host and the folder it lies in.
pub(crate) struct Machine {
    pub(crate) dir: TempDir,
    pub(crate) host: Host,
    pub(crate) files: DriverFiles,
}

impl Machine {
    /// A host of `count` GPUs with nodes and a small driver.
    pub(crate) fn new(count: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gpus = (0..count).map(gpu).collect();
        let kind = DriverKind::NvidiaOpen;
        let driver = Driver {
            kind,
            version: Some(VERSION.into()),
            cuda_version: Some((12, 4)),
        };
        let host = Host {
            driver,
            gpus,
            source: Source::Nvml,
            warnings: Vec::new(),
        };
        let mut machine = Self {
            dir,
            host,
            files: DriverFiles::default(),
        };
        for minor in 0..count {
            machine.node(&format!("/dev/nvidia{minor}"), 195, minor, 0o666, 0);
        }
        machine.files = machine.driver_files();
        machine
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::under(self.root())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Makes a character device.
    pub(crate) fn node(&self, path: &str, major: u32, minor: u32, mode: u32, group: u32) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = Mode::from_raw_mode(mode);
        let made = mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(major, minor));
        made.expect("these tests make device nodes: run them as root");
        chmod(&path, mode).unwrap();
        chown(&path, None, Some(Gid::from_raw(group))).unwrap();
    }

    /// Gives a GPU its DRM nodes, of the groups `video` (44) and `render` (105) as on Debian.
    pub(crate) fn drm(&self, index: usize) {
        let drm = self
            .path("/sys/bus/pci/devices")
            .join(&self.host.gpus[index].pci_bus_id)
            .join("drm");
        let number = u32::try_from(index).unwrap();
        for (name, minor, group) in [
            (format!("card{number}"), number, 44),
            (format!("renderD{}", 128 + number), 128 + number, 105),
        ] {
            std::fs::create_dir_all(drm.join(&name)).unwrap();
            self.node(&format!("/dev/dri/{name}"), 226, minor, 0o660, group);
        }
    }

    /// Cuts a GPU into MIG devices of these profiles, with capability nodes.
    pub(crate) fn mig(&mut self, index: usize, profiles: &[&str]) {
        let minor = self.host.gpus[index].minor;
        let mut table = String::from("config 1\nmonitor 2\n");
        for (number, profile) in profiles.iter().enumerate() {
            let instance = u32::try_from(number).unwrap() + 1;
            let capability = instance * 9;
            table += &format!("gpu{minor}/gi{instance}/access {capability}\n");
            table += &format!("gpu{minor}/gi{instance}/ci0/access {}\n", capability + 1);
            for capability in [capability, capability + 1] {
                self.node(
                    &format!("/dev/nvidia-caps/nvidia-cap{capability}"),
                    237,
                    capability,
                    0o444,
                    0,
                );
            }
            self.host.gpus[index].mig.devices.push(MigDevice {
                index: instance - 1,
                uuid: format!("MIG-0000000{index}-0000-0000-0000-00000000000{number}"),
                profile: (*profile).to_owned(),
                gpu_instance: instance,
                compute_instance: 0,
                memory_mib: 4864,
            });
        }
        self.host.gpus[index].mig.enabled = true;
        let file = self.path("/proc/driver/nvidia-caps/mig-minors");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, table).unwrap();
    }

    /// Writes a file of the driver root.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    }

    /// Makes a link in the driver root.
    pub(crate) fn link(&self, target: &str, path: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    fn driver_files(&self) -> DriverFiles {
        let node = |path: &str, minor| {
            self.node(path, 195, minor, 0o666, 0);
            Node {
                host: self.path(path),
                container: path.into(),
                capabilities: Capabilities::ALL,
            }
        };
        let file = |path: &str, kind| {
            let capabilities = nvbind_gpu::capabilities_of(Path::new(path));
            DriverFile {
                host: self.file(path),
                container: path.into(),
                kind,
                capabilities,
            }
        };
        DriverFiles {
            platform: Platform::Linux,
            links: Vec::new(),
            version: VERSION.into(),
            libraries: vec![
                self.library(
                    "libcuda",
                    &[
                        ("libcuda.so", "libcuda.so.1"),
                        ("libcuda.so.1", "libcuda.so.550.163.01"),
                    ],
                ),
                self.library("libnvidia-glcore", &[]),
                self.library(
                    "libnvidia-allocator",
                    &[
                        ("libnvidia-allocator.so.1", "libnvidia-allocator.so.550.163.01"),
                        ("gbm/nvidia-drm_gbm.so", "../libnvidia-allocator.so.1"),
                    ],
                ),
                self.library("libnvidia-ml", &[("libnvidia-ml.so.1", "libnvidia-ml.so.550.163.01")]),
            ],
            files: vec![
                file("/usr/bin/nvidia-smi", FileKind::Binary),
                file("/usr/share/glvnd/egl_vendor.d/10_nvidia.json", FileKind::Config),
                file("/lib/firmware/nvidia/550.163.01/gsp_tu10x.bin", FileKind::Firmware),
                file("/run/nvidia-persistenced/socket", FileKind::Socket),
            ],
            nodes: vec![
                node("/dev/nvidia-uvm", 0),
                node("/dev/nvidiactl", 255),
                node("/dev/nvidia-modeset", 254),
            ],
        }
    }

    fn library(&self, stem: &str, links: &[(&str, &str)]) -> Library {
        let container = format!("{LIB}/{stem}.so.{VERSION}");
        let link = |(link, target): &(&str, &str)| Link {
            link: format!("{LIB}/{link}").into(),
            target: target.into(),
        };
        Library {
            host: self.file(&container),
            capabilities: nvbind_gpu::capabilities_of(Path::new(&container)),
            container: container.into(),
            links: links.iter().map(link).collect(),
            class: ElfClass::Elf64,
        }
    }
}

/// An A100 of that index.
fn gpu(index: u32) -> Gpu {
    Gpu {
        index,
        uuid: format!("GPU-0000000{index}-1111-2222-3333-444444444444"),
        pci_bus_id: format!("0000:{:02x}:00.0", 7 + index),
        minor: index,
        name: "NVIDIA A100-SXM4-40GB".into(),
        brand: Some("nvidia".into()),
        architecture: Architecture::Ampere,
        compute_capability: Some((8, 0)),
        memory_mib: 40960,
        power_limit_w: Some(400),
        numa_node: Some(0),
        pci_device_id: 0x20b0,
        rt_core_generation: None,
        tensor_core_generation: Some(3),
        mig: MigState::default(),
        health: Health::Ok,
    }
}
