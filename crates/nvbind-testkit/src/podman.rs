//! Podman with a store and a configuration of the test's own.

use crate::{make_dir, temp_dir, write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What podman needs on a machine without systemd, without CAP_SYS_RESOURCE and with cgroup v1 or a hybrid layout:
/// runc (crun refuses hybrid), limits that need not be raised, no network set-up.
const CONTAINERS_CONF: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"#;

/// A podman with a store of its own; containers that are left are removed when dropped.
#[derive(Debug)]
pub struct PodmanEnv {
    dir: TempDir,
}

impl PodmanEnv {
    /// A new, empty store.
    pub fn new() -> Self {
        let dir = temp_dir("podman");
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
            dir.path().display()
        );
        make_dir(&dir.path().join("tmp"));
        let events = format!("events_logfile_path = \"{}/events.log\"\n", dir.path().display());
        let tmp = format!("tmp_dir = \"{}/tmp\"\n", dir.path().display());
        write(
            &dir.path().join("containers.conf"),
            &format!("{CONTAINERS_CONF}{events}{tmp}"),
        );
        write(&dir.path().join("storage.conf"), &storage);
        Self { dir }
    }

    /// The folder that everything of this podman lies in, and that goes with it.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The variables that make podman use it.
    pub fn vars(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("CONTAINERS_CONF", self.dir.path().join("containers.conf")),
            ("CONTAINERS_STORAGE_CONF", self.dir.path().join("storage.conf")),
        ]
    }

    /// Podman itself on this store.
    pub fn podman(&self) -> Command {
        let mut podman = Command::new("podman");
        podman.envs(self.vars());
        podman
    }

    /// Makes an image of a root file system.
    pub fn import(&self, rootfs: &Path, image: &str) {
        let mut tar = crate::tar_of(rootfs);
        let stream = tar
            .stdout
            .take()
            .map_or_else(std::process::Stdio::null, std::process::Stdio::from);
        crate::check(self.podman().args(["import", "--quiet", "-", image]).stdin(stream));
        assert!(
            tar.wait().is_ok_and(|status| status.success()),
            "tar of {} failed",
            rootfs.display()
        );
    }
}

impl Default for PodmanEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PodmanEnv {
    fn drop(&mut self) {
        let _ = self.podman().args(["rm", "--all", "--force", "--time", "0"]).output();
        // The store mounts its graph folder onto itself.
        let _ = Command::new("umount")
            .arg(self.dir.path().join("graph/overlay"))
            .output();
    }
}
