//! Device nodes that look like GPUs, with a CDI spec that names them.

use crate::{make_dir, temp_dir, write};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Major number of NVIDIA's character devices.
const NVIDIA_MAJOR: u32 = 195;

/// A folder with device nodes, a CDI spec of kind `nvidia.com/gpu` that names each by index and UUID, and an nvbind
/// configuration that points at the spec. There is no driver behind the nodes: opening one fails with ENXIO,
/// where a node that the device cgroup denies fails with EPERM.
#[derive(Debug)]
pub struct FakeGpus {
    dir: TempDir,
    count: u32,
}

impl FakeGpus {
    /// Makes that many. Needs root (`mknod`).
    pub fn new(count: u32) -> Self {
        let gpus = Self {
            dir: temp_dir("gpus"),
            count,
        };
        make_dir(&gpus.dir.path().join("dev"));
        make_dir(&gpus.spec_dir());
        (0..count).for_each(|index| make_node(&gpus.node(index), index));
        let spec = json!({
            "cdiVersion": "0.5.0",
            "kind": "nvidia.com/gpu",
            "devices": gpus.devices(),
        });
        write(&gpus.spec_dir().join("nvidia.json"), &spec.to_string());
        write(
            &gpus.config_file(),
            &format!("[cdi]\nspec_dirs = [\"{}\"]\n", gpus.spec_dir().display()),
        );
        gpus
    }

    /// UUID of a GPU.
    pub fn uuid(&self, index: u32) -> String {
        format!("GPU-00000000-0000-0000-0000-{index:012}")
    }

    /// Folder of the CDI spec.
    pub fn spec_dir(&self) -> PathBuf {
        self.dir.path().join("cdi")
    }

    /// An nvbind configuration (`NVBIND_CONFIG`) that points at the spec.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    /// A script that starts `runtime` (`nvbind-runtime`) with that configuration, for engines that clear the
    /// environment of the runtimes that they start, as podman does.
    pub fn runtime(&self, runtime: &Path) -> PathBuf {
        let script = self.dir.path().join("nvbind-runtime");
        let (config, runtime) = (self.config_file(), runtime.display());
        write(
            &script,
            &format!("#!/bin/sh\nNVBIND_CONFIG={} exec {runtime} \"$@\"\n", config.display()),
        );
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755))
            .unwrap_or_else(|error| panic!("cannot make {} executable: {error}", script.display()));
        script
    }

    fn node(&self, index: u32) -> PathBuf {
        self.dir.path().join(format!("dev/nvidia{index}"))
    }

    fn devices(&self) -> Vec<Value> {
        (0..self.count)
            .flat_map(|index| {
                [
                    self.device(index, &index.to_string()),
                    self.device(index, &self.uuid(index)),
                ]
            })
            .collect()
    }

    fn device(&self, index: u32, name: &str) -> Value {
        let node = json!({
            "path": format!("/dev/nvidia{index}"),
            "hostPath": self.node(index),
            "type": "c",
            "major": NVIDIA_MAJOR,
            "minor": index,
        });
        json!({ "name": name, "containerEdits": { "deviceNodes": [node] } })
    }
}

fn make_node(path: &Path, minor: u32) {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(NVIDIA_MAJOR, minor)).unwrap_or_else(|error| {
        panic!(
            "cannot make the device node {}: {error} (the tests need root)",
            path.display()
        )
    });
}
