//! Overlay file systems: layers seen as one tree (kernel documentation, `filesystems/overlayfs.rst`).

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount as mount_file_system, mount_change};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where an overlay keeps what is written to it: two folders of one file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upper<'a> {
    /// What was changed.
    pub(crate) upper: &'a Path,
    /// The kernel's own.
    pub(crate) work: &'a Path,
}

/// Gives the calling thread a mount namespace of its own, which goes with it and all that it mounts.
pub(crate) fn own_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    Ok(())
}

/// Mounts layers, topmost first, on `target`; two at least where there is no upper folder.
pub(crate) fn mount(lowers: &[PathBuf], upper: Option<Upper<'_>>, target: &Path) -> io::Result<()> {
    // By descriptor: a hundred layers under their full names do not fit into the page that options have, and `:` and
    // `,` in paths need no thought.
    let layers = lowers
        .iter()
        .map(|lower| folder(lower))
        .collect::<io::Result<Vec<_>>>()?;
    let mut options = format!(
        "lowerdir={}",
        layers.iter().map(by_descriptor).collect::<Vec<_>>().join(":")
    );
    let folders = upper
        .map(|upper| Ok::<_, io::Error>((folder(upper.upper)?, folder(upper.work)?)))
        .transpose()?;
    if let Some((upper, work)) = &folders {
        options.push_str(&format!(
            ",upperdir={},workdir={}",
            by_descriptor(upper),
            by_descriptor(work)
        ));
        // What is written is thrown away, or forced to disk at once by who mounts it: not at every fsync.
        options.push_str(",volatile");
    }
    if in_user_namespace() {
        options.push_str(",userxattr");
    }
    match try_mount(target, &options) {
        // Before Linux 5.10.
        Err(Errno::INVAL) if folders.is_some() => try_mount(target, &options.replace(",volatile", "")),
        mounted => mounted,
    }
    .map_err(Into::into)
}

fn try_mount(target: &Path, options: &str) -> Result<(), Errno> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    mount_file_system("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())
}

fn folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn by_descriptor(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Whether root here is an ordinary user on the host: attributes named `trusted.` are then not to be had.
pub(crate) fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Whether overlays can be made of folders in `dir`: tried, in a thread and a folder of its own.
pub(super) fn works_in(dir: &Path) -> Result<(), io::Error> {
    let probe = dir.join(format!("probe-{}", std::process::id()));
    let (lower, upper, work, merged) = (
        probe.join("lower"),
        probe.join("upper"),
        probe.join("work"),
        probe.join("merged"),
    );
    let attempt = || -> io::Result<()> {
        for folder in [&lower, &upper, &work, &merged] {
            fs::create_dir_all(folder)?;
        }
        own_mounts()?;
        let upper = Upper {
            upper: &upper,
            work: &work,
        };
        mount(std::slice::from_ref(&lower), Some(upper), &merged)
    };
    let outcome = std::thread::scope(|scope| scope.spawn(attempt).join());
    let _ = fs::remove_dir_all(&probe);
    outcome.unwrap_or_else(|_| Err(io::Error::other("the attempt was cut off")))
}
