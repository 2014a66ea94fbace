//! A folder for simulated machines, with a file that stands for the NVML library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nvbind_sim::SimRoot;
use nvbind_sim::root::ensure;
use tempfile::TempDir;

/// Goes away with everything in it.
pub(crate) struct Base {
    dir: TempDir,
}

impl Base {
    pub(crate) fn new() -> Self {
        let dir = nvbind_testkit::temp_dir("sim");
        std::fs::write(dir.path().join("library.so"), "stands for the library").unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("sim")
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.dir.path().join("library.so")
    }

    pub(crate) fn ensure(&self, profile: &str) -> SimRoot {
        ensure(&self.path(), profile, &self.library(), None).unwrap()
    }

    /// An unpacked driver of version 999.9.9 in Debian's form: real files in a folder of their own, names linked to them.
    pub(crate) fn overlay(&self) -> PathBuf {
        let overlay = self.dir.path().join("driver");
        let write = |path: &str, text: &str| {
            let path = overlay.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let link = |path: &str, target: &str| {
            let path = overlay.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        };
        write("usr/lib/nvidia/current/nvidia-smi", "\x00599.9.9\x00");
        link("usr/bin/nvidia-smi", "/etc/alternatives/nvidia--nvidia-smi");
        link(
            "etc/alternatives/nvidia--nvidia-smi",
            "/usr/lib/nvidia/current/nvidia-smi",
        );
        write(
            "usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.599.9.9",
            "the real libcuda",
        );
        link(
            "usr/lib/x86_64-linux-gnu/libcuda.so.1",
            "nvidia/current/libcuda.so.599.9.9",
        );
        write(
            "usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.599.9.9",
            "the real NVML",
        );
        link(
            "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
            "nvidia/current/libnvidia-ml.so.599.9.9",
        );
        write("usr/share/doc/libcuda1/copyright", "not needed");
        overlay
    }
}

/// Every path below a folder with what it is.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let what = match std::fs::read_link(&path) {
            Ok(target) => target.display().to_string(),
            Err(_) if meta.is_dir() => "folder".to_owned(),
            Err(_) if meta.is_file() => format!("{} bytes", meta.len()),
            Err(_) => format!("{:?}", meta.file_type()),
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), what);
        if meta.is_dir() {
            walk(root, &path, found);
        }
    }
}
