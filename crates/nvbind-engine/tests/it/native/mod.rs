//! The native engine, by `examples/native.rs`.

mod background;
mod crash;
mod image;
mod life;

use crate::common::{Ended, finish};
use nvbind_testkit::{example, small_rootfs, temp_dir};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

static NATIVE: LazyLock<PathBuf> = LazyLock::new(|| example("native"));

/// A state folder of the test's own, and a root file system to run on.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: temp_dir("engine"),
        }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A copy of the small root file system: the engine makes mount points in it.
    fn rootfs(&self) -> PathBuf {
        let copy = self.dir.path().join("rootfs");
        if !copy.exists() {
            nvbind_testkit::check(
                Command::new("cp")
                    .args(["-a", "--reflink=auto"])
                    .arg(small_rootfs())
                    .arg(&copy),
            );
        }
        copy
    }

    /// The program with a verb.
    fn native(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&*NATIVE);
        command.arg(self.state()).args(verb);
        command
    }

    /// `run` on the root file system with options, `--`, and the command.
    fn run(&self, options: &[&str]) -> Command {
        let mut command = self.native(&["run"]);
        command.arg("--rootfs").arg(self.rootfs()).args(options);
        command
    }

    fn ended(&self, verb: &[&str]) -> Ended {
        finish(&mut self.native(verb), b"")
    }

    /// Panics when anything but the ledger, the images and the logs is left of containers.
    fn assert_nothing_is_left(&self, what: &str) {
        let listed = self.ended(&["ps"]);
        assert_eq!(
            (listed.code, listed.stdout.as_str()),
            (Some(0), ""),
            "{what}: {}",
            listed.stderr
        );
        for folder in ["run", "containers"].map(|name| self.state().join(name)) {
            let left: Vec<_> = std::fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            assert!(left.is_empty(), "{what}: {left:?}");
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(
            !mounts.contains(&*self.state().to_string_lossy()),
            "{what}: a mount is left"
        );
        let processes = processes_naming(&self.state());
        assert!(processes.is_empty(), "{what}: {processes:?}");
    }
}

/// Processes whose command line names a path: every process of nvbind's own, up to the moment when it becomes the command.
fn processes_naming(path: &Path) -> Vec<String> {
    let wanted = path.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&wanted)).collect()
}

/// Folders of a container's cgroup, in all hierarchies.
fn cgroups(id: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
    let all = hierarchies
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join(format!("nvbind-{id}")));
    all.filter(|folder| folder.exists()).collect()
}
