//! A simulated machine with its own state, and the root file systems that containers of the tests run on.

use nvbind_testkit::{cache_dir, check, debian_rootfs, small_rootfs, temp_dir};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// NVIDIA's own `nvidia-smi` from Debian's non-free components, unpacked.
pub(crate) fn nvidia_smi() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = cache_dir().join("smi");
        let script = nvbind_testkit::checkout().join("scripts/fetch-driver.sh");
        check(Command::new(script).arg("--smi-only").arg(&dir));
        dir
    })
}

/// The programs that stand beside `nvbind` once it is installed.
pub(crate) fn companions() -> (PathBuf, PathBuf) {
    static BUILT: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let build = || {
        let runtime = nvbind_testkit::program("nvbind-runtime");
        let hook = nvbind_testkit::program("nvbind-hook");
        nvbind_testkit::library("nvbind-sim-nvml");
        (runtime, hook)
    };
    BUILT.get_or_init(build).clone()
}

/// One simulated machine: a profile, and a state folder that goes away with it.
pub(crate) struct Machine {
    profile: &'static str,
    dir: TempDir,
    has_driver: bool,
}

impl Machine {
    pub(crate) fn new(profile: &'static str) -> Self {
        companions();
        nvidia_smi();
        Self {
            profile,
            dir: temp_dir("machine"),
            has_driver: true,
        }
    }

    /// A machine without any file of NVIDIA's: the same everywhere.
    pub(crate) fn without_driver(profile: &'static str) -> Self {
        let mut machine = Self::new(profile);
        machine.has_driver = false;
        machine
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The variables that put `nvbind` and its shim on this machine.
    pub(crate) fn vars(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("NVBIND_SIM".into(), self.profile.into()),
            (
                "NVBIND_SIM_DRIVER".into(),
                if self.has_driver {
                    text(nvidia_smi())
                } else {
                    String::new()
                },
            ),
            ("NVBIND_STATE_DIR".into(), text(&self.dir().join("state"))),
            ("NVBIND_CDI_SPEC_DIRS".into(), text(&self.dir().join("cdi"))),
        ]
    }

    pub(crate) fn nvbind(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
        command.envs(self.vars());
        command
    }

    /// Runs `nvbind` to its end; panics when it fails.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        check(self.nvbind().args(arguments))
    }

    /// Runs `nvbind` to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.nvbind().args(arguments).output().expect("start nvbind")
    }

    /// Runs NVIDIA's own `nvidia-smi` on the machine.
    pub(crate) fn smi(&self, arguments: &[&str]) -> Output {
        let root = self.ok(&["sim", "path"]);
        let root = root.trim();
        let mut command = Command::new(format!("{root}/usr/bin/nvidia-smi"));
        command.env("LD_LIBRARY_PATH", format!("{root}/usr/lib/x86_64-linux-gnu"));
        command.args(arguments).output().expect("nvidia-smi")
    }

    /// The UUIDs of the machine's GPUs, by index.
    pub(crate) fn uuids(&self) -> Vec<String> {
        let info: Value = serde_json::from_str(&self.ok(&["info", "--format", "json"])).expect("info prints JSON");
        let gpus = info["gpus"].as_array().expect("gpus");
        gpus.iter()
            .map(|gpu| gpu["uuid"].as_str().expect("uuid").to_owned())
            .collect()
    }

    /// The minor numbers of the machine's GPUs, by index; on some machines they differ from the indices.
    pub(crate) fn minors(&self) -> Vec<u64> {
        let info: Value = serde_json::from_str(&self.ok(&["info", "--format", "json"])).expect("info prints JSON");
        let gpus = info["gpus"].as_array().expect("gpus");
        gpus.iter().map(|gpu| gpu["minor"].as_u64().expect("minor")).collect()
    }

    /// Writes the machine's CDI spec where its shim looks.
    pub(crate) fn cdi_spec(&self) -> PathBuf {
        let spec = self.dir().join("cdi/nvidia.json");
        std::fs::create_dir_all(self.dir().join("cdi")).expect("cdi folder");
        self.ok(&["cdi", "generate", "--output", &spec.display().to_string()]);
        spec
    }

    /// A Debian root file system of the test's own.
    pub(crate) fn rootfs(&self) -> String {
        self.copy_of(&debian_rootfs(), "rootfs")
    }

    /// A root file system of the test's own with a shell and little more: quick to copy.
    pub(crate) fn small_rootfs(&self) -> String {
        self.copy_of(&small_rootfs(), "small-rootfs")
    }

    fn copy_of(&self, rootfs: &Path, name: &str) -> String {
        let copy = self.dir().join(name);
        if !copy.exists() {
            check(Command::new("cp").args(["-a", "--reflink=auto"]).arg(rootfs).arg(&copy));
        }
        copy.display().to_string()
    }
}

/// What a failed test left running goes with its machine.
impl Drop for Machine {
    fn drop(&mut self) {
        let Ok(listed) = self.nvbind().args(["ps", "--all", "--format", "json"]).output() else {
            return;
        };
        let rows: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        for id in rows
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| row["id"].as_str())
        {
            let _ = self.nvbind().args(["rm", "--force", id]).output();
        }
    }
}

/// The UUIDs in what `nvidia-smi -L` printed.
pub(crate) fn listed_uuids(listing: &str) -> Vec<String> {
    let uuid = |line: &str| {
        line.split("UUID: ")
            .nth(1)
            .map(|rest| rest.trim_end_matches(')').to_owned())
    };
    listing.lines().filter_map(uuid).collect()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
