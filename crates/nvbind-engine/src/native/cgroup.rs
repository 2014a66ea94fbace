//! A container's cgroup after `libcontainer` made it: kill what is in it, take it away.

use crate::native::Error;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the hierarchies are mounted: one (v2), or a folder of one per controller (v1 and hybrid).
pub(super) const ROOT: &str = "/sys/fs/cgroup";
/// What the name of each of our cgroups begins with; nothing else is ever killed or removed.
const PREFIX: &str = "/nvbind-";
/// How long a killed process may take to leave.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cgroup path of a container, below each hierarchy's root.
pub(super) fn path(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// Whether the host has the unified hierarchy only.
pub(super) fn unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Kills every process in the cgroup and waits until it is empty.
pub(super) fn kill(cgroup: &str, name: &str) -> Result<(), Error> {
    let folders = folders(cgroup);
    let start = Instant::now();
    loop {
        let pids: Vec<Pid> = folders.iter().flat_map(|folder| members(folder)).collect();
        if pids.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(Error::Stuck { name: name.to_owned() });
        }
        kill_once(&folders, &pids);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One blow at everything in the cgroup. On v1 it is frozen meanwhile, so that nothing forks away from the list.
fn kill_once(folders: &[PathBuf], pids: &[Pid]) {
    if folders
        .iter()
        .any(|folder| std::fs::write(folder.join("cgroup.kill"), "1").is_ok())
    {
        return;
    }
    set_freezer(folders, "FROZEN");
    for pid in folders
        .iter()
        .flat_map(|folder| members(folder))
        .chain(pids.iter().copied())
    {
        let _ = kill_process(pid, Signal::KILL);
    }
    set_freezer(folders, "THAWED");
}

fn set_freezer(folders: &[PathBuf], state: &str) {
    for file in folders
        .iter()
        .map(|folder| folder.join("freezer.state"))
        .filter(|file| file.exists())
    {
        let _ = std::fs::write(file, state);
    }
}

/// Whether a process is in the cgroup.
pub(super) fn holds(cgroup: &str, pid: Pid) -> bool {
    folders(cgroup).iter().any(|folder| members(folder).contains(&pid))
}

/// Removes the (empty) cgroup from every hierarchy.
pub(super) fn remove(cgroup: &str) -> Result<(), Error> {
    folders(cgroup).iter().try_for_each(|folder| remove_tree(folder))
}

/// A cgroup folder has no files of its own to unlink; the command may have made cgroups below it.
fn remove_tree(folder: &Path) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        match std::fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                if start.elapsed() > PATIENCE {
                    return Err(Error::io("remove cgroup", folder)(error));
                }
            }
            Err(error) => return Err(Error::io("remove cgroup", folder)(error)),
        }
        for child in child_folders(folder) {
            remove_tree(&child)?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The cgroup's folder in each hierarchy that may have it.
fn folders(cgroup: &str) -> Vec<PathBuf> {
    let Some(name) = cgroup
        .strip_prefix('/')
        .filter(|_| cgroup.starts_with(PREFIX) && !cgroup[1..].contains('/'))
    else {
        return Vec::new();
    };
    let root = Path::new(ROOT);
    if unified() {
        return vec![root.join(name)];
    }
    child_folders(root)
        .into_iter()
        .map(|hierarchy| hierarchy.join(name))
        .collect()
}

fn members(folder: &Path) -> Vec<Pid> {
    let listed = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let own = listed
        .lines()
        .filter_map(|line| Pid::from_raw(line.trim().parse().ok()?));
    own.chain(child_folders(folder).iter().flat_map(|child| members(child)))
        .collect()
}

fn child_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // Links such as cpuacct -> cpu,cpuacct name a hierarchy twice; file_type does not follow them.
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_cgroups_are_ever_touched() {
        for other in ["", "/", "/docker", "nvbind-a", "/nvbind-a/../docker", "/nvbind-a/b"] {
            assert!(folders(other).is_empty(), "{other}");
        }
        assert!(!folders(&path("a")).is_empty());
    }
}
