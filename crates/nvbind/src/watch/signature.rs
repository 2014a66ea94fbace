//! The host in short: two that are equal need the same spec, as far as can be told without asking NVML.

use super::Watch;
use nvbind_config::Roots;
use nvbind_gpu::{DriverFiles, SearchOptions};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep `<proc>/driver/nvidia/capabilities` is.
const CAPABILITY_DEPTH: u32 = 5;
/// Folders of nodes, and how the names in them begin that belong to the driver.
const NODES: [(&str, &str); 3] = [("/dev", "nvidia"), ("/dev/nvidia-caps", "nvidia-cap"), ("/dev/dri", "")];

/// The host as it was at one time.
#[derive(Debug, Default)]
pub(super) struct Signature {
    kernel: Kernel,
    files: Files,
    output: Option<FileId>,
}

/// What the kernel shows in procfs, and which folders the roots are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kernel {
    version: Option<String>,
    gpus: Vec<PathBuf>,
    capabilities: Vec<PathBuf>,
    devices: Vec<String>,
    roots: [Option<(u64, u64)>; 2],
}

/// The driver's files and nodes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Files {
    driver: Option<DriverFiles>,
    nodes: Vec<Node>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    path: PathBuf,
    numbers: u64,
    mode: u32,
    owner: (u32, u32),
}

/// Tells one content of a file from another without reading it.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Signature {
    pub(super) fn of(watch: &Watch) -> Self {
        Self {
            kernel: Kernel::of(&watch.roots),
            files: Files::of(&watch.roots, &watch.search),
            output: FileId::of(&watch.output),
        }
    }

    /// Whether what is cheap to look at differs from what it was.
    pub(super) fn differs_in_kernel(&self, watch: &Watch) -> bool {
        self.output != FileId::of(&watch.output) || self.kernel != Kernel::of(&watch.roots)
    }

    /// Whether the driver's files or nodes differ from what they were.
    pub(super) fn differs_in_files(&self, watch: &Watch) -> bool {
        self.files != Files::of(&watch.roots, &watch.search)
    }

    /// Takes the spec as it is now for the one that is right.
    pub(super) fn note_output(&mut self, watch: &Watch) {
        self.output = FileId::of(&watch.output);
    }

    pub(super) fn has_driver(&self) -> bool {
        self.kernel.version.is_some()
    }
}

impl Kernel {
    fn of(roots: &Roots) -> Self {
        let driver = roots.proc.join("driver/nvidia");
        let mut capabilities = Vec::new();
        walk(&driver.join("capabilities"), CAPABILITY_DEPTH, &mut capabilities);
        let devices = fs::read_to_string(roots.proc.join("devices")).unwrap_or_default();
        let id = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        Self {
            version: fs::read_to_string(driver.join("version")).ok(),
            gpus: entries(&driver.join("gpus")),
            capabilities,
            devices: devices
                .lines()
                .filter(|line| line.contains("nvidia"))
                .map(str::to_owned)
                .collect(),
            roots: [id(&roots.driver), id(&roots.dev_path(Path::new("/dev")))],
        }
    }
}

impl Files {
    fn of(roots: &Roots, search: &SearchOptions) -> Self {
        let in_folder = |(folder, start): &(&str, &str)| {
            let mut paths = entries(&roots.dev_path(Path::new(folder)));
            paths.retain(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(start))
            });
            paths
        };
        let node = |path: PathBuf| fs::metadata(&path).ok().map(|found| Node::of(path, &found));
        Self {
            driver: nvbind_gpu::driver_files(roots, None, search).ok(),
            nodes: NODES.iter().flat_map(in_folder).filter_map(node).collect(),
        }
    }
}

impl Node {
    fn of(path: PathBuf, found: &Metadata) -> Self {
        Self {
            path,
            numbers: found.rdev(),
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
        }
    }
}

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }
}

/// What lies in a folder, sorted; nothing when it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn walk(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    for path in entries(folder) {
        if depth > 0 && path.is_dir() {
            walk(&path, depth - 1, found);
        }
        found.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(root: &Path) -> Watch {
        Watch {
            roots: Roots::under(root),
            search: SearchOptions::default(),
            output: root.join("nvidia.yaml"),
            pass: Vec::new(),
        }
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let watch = watch(dir.path());
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        fs::create_dir_all(dir.path().join("dev")).unwrap();
        write("proc/devices", "Character devices:\n195 nvidia\n");
        for (path, text) in [
            ("proc/driver/nvidia/version", "NVRM version: 535"),
            ("proc/driver/nvidia/version", "NVRM version: 550"),
            ("proc/driver/nvidia/gpus/0000:07:00.0/information", "x"),
            ("proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access", "x"),
            ("proc/devices", "Character devices:\n195 nvidia\n509 nvidia-caps\n"),
            ("nvidia.yaml", "cdiVersion: 0.5.0"),
        ] {
            let seen = Signature::of(&watch);
            assert!(!seen.differs_in_kernel(&watch));
            write(path, text);
            assert!(seen.differs_in_kernel(&watch), "{path}");
        }
        for path in [
            "dev/nvidia0",
            "dev/nvidia-caps/nvidia-cap3",
            "dev/dri/renderD128",
            "usr/lib64/libcuda.so.535.1.1",
        ] {
            let seen = Signature::of(&watch);
            assert!(!seen.differs_in_files(&watch));
            write(path, "\x7fELF\x02\x01\x01");
            assert!(seen.differs_in_files(&watch), "{path}");
        }
        let seen = Signature::of(&watch);
        write(
            "proc/devices",
            "Character devices:\n195 nvidia\n509 nvidia-caps\n254 ptp\n",
        );
        assert!(!seen.differs_in_kernel(&watch), "others' devices are no concern");
    }
}
