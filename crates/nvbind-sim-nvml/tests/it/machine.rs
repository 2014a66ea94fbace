//! Simulated machines with the library that cargo built beside this test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nvbind_sim::SimRoot;
use nvbind_sim::root::ensure;
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use tempfile::TempDir;

/// A machine of its own for each test: tests change it.
pub(crate) struct Machine {
    root: SimRoot,
    _dir: TempDir,
}

impl Machine {
    /// A machine without any file of NVIDIA's.
    pub(crate) fn new(profile: &str) -> Self {
        Self::with_overlay(profile, None)
    }

    /// A machine with NVIDIA's own `nvidia-smi`.
    pub(crate) fn with_nvidia_smi(profile: &str) -> Self {
        Self::with_overlay(profile, Some(nvidia_smi()))
    }

    fn with_overlay(profile: &str, overlay: Option<&Path>) -> Self {
        let dir = nvbind_testkit::temp_dir("sim-nvml");
        let root = ensure(dir.path(), profile, &library(), overlay).unwrap();
        Self { root, _dir: dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Where the machine's loader finds the driver: on WSL2 in a folder of its own.
    pub(crate) fn libraries(&self) -> PathBuf {
        let wsl = self.path().join("usr/lib/wsl/lib");
        if wsl.is_dir() {
            wsl
        } else {
            self.path().join("usr/lib/x86_64-linux-gnu")
        }
    }

    pub(crate) fn try_nvml(&self) -> Result<Nvml, NvmlError> {
        let path = self.libraries().join("libnvidia-ml.so.1");
        Nvml::builder().lib_path(path.as_os_str()).init()
    }

    pub(crate) fn nvml(&self) -> Nvml {
        self.try_nvml().unwrap()
    }

    /// What the real `nvidia-smi` prints.
    pub(crate) fn smi<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        nvbind_testkit::check(&mut self.smi_command(arguments))
    }

    pub(crate) fn smi_command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(self.path().join("usr/bin/nvidia-smi"));
        command.args(arguments).env("LD_LIBRARY_PATH", self.libraries());
        command
    }
}

/// `<target>/debug/libnvbind_sim_nvml.so`, beside the folder of this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let file = "libnvbind_sim_nvml.so";
    let candidates = test.ancestors().skip(1).take(2).map(|folder| folder.join(file));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{file} is not beside {}", test.display()))
}

/// The unpacked package with `nvidia-smi`, fetched once per machine.
fn nvidia_smi() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = nvbind_testkit::cache_dir().join("smi");
        let script = nvbind_testkit::checkout().join("scripts/fetch-driver.sh");
        nvbind_testkit::check(Command::new(script).arg("--smi-only").arg(&folder));
        folder
    })
}
