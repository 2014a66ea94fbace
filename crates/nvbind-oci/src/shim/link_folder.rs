//! Folders of symbolic links, kept on the host to be mounted into containers: `/dev/dri/by-path`.
//!
//! A container's `/dev` is made by the low-level runtime, which knows no links. What a folder holds is in its name, so
//! containers with the same GPUs share one and none is ever changed.

use crate::hook::arguments::Link;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::hash::Hasher;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The folder with these links, made when it is not there yet.
///
/// # Errors
///
/// When it cannot be made, or what is there holds something else.
pub(super) fn ensure(store: &Path, links: &[Link]) -> Result<PathBuf, Errno> {
    let name = format!("{:016x}", digest(links));
    let path = store.join(&name);
    if !holds(&path, links) {
        make(store, &name, links)?;
    }
    holds(&path, links).then_some(path).ok_or(Errno::EXIST)
}

fn digest(links: &[Link]) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    for link in links {
        for part in [link.path.as_os_str(), link.target.as_os_str()] {
            hasher.write(part.as_bytes());
            hasher.write(&[0]);
        }
    }
    hasher.finish()
}

/// FNV-1a, 64 bits: the same on every host and in every version. Two lists with one digest would be told apart by
/// [`holds`].
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Whether the folder is the caller's or root's, no one else can write it, and the links are in it.
fn holds(path: &Path, links: &[Link]) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else {
        return false;
    };
    is_own(&folder) && links.iter().all(|link| has(&folder, link))
}

fn is_own(folder: &OwnedFd) -> bool {
    let caller = rustix::process::geteuid().as_raw();
    rustix::fs::fstat(folder).is_ok_and(|stat| (stat.st_uid == 0 || stat.st_uid == caller) && stat.st_mode & 0o022 == 0)
}

fn has(folder: &OwnedFd, link: &Link) -> bool {
    let target = link
        .path
        .file_name()
        .map(|name| rustix::fs::readlinkat(folder, name, Vec::new()));
    target.is_some_and(|target| target.is_ok_and(|target| target.as_bytes() == link.target.as_os_str().as_bytes()))
}

/// Makes the folder under another name first: others see it whole or not at all.
fn make(store: &Path, name: &str, links: &[Link]) -> Result<(), Errno> {
    let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    std::fs::create_dir_all(store).map_err(failed)?;
    let temporary = store.join(format!(".{name}-{}", rustix::process::getpid().as_raw_nonzero()));
    // Left by a process of the same number that was killed.
    let _ = std::fs::remove_dir_all(&temporary);
    let made = fill(&temporary, links).and_then(|()| match rustix::fs::rename(&temporary, store.join(name)) {
        // Another process was faster.
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(()),
        renamed => renamed,
    });
    let _ = std::fs::remove_dir_all(&temporary);
    made
}

fn fill(folder: &Path, links: &[Link]) -> Result<(), Errno> {
    rustix::fs::mkdir(folder, Mode::from_raw_mode(0o755))?;
    for link in links {
        let name = link.path.file_name().map(OsStr::to_owned).ok_or(Errno::INVAL)?;
        rustix::fs::symlink(&link.target, folder.join(name))?;
    }
    // Whatever the umask is: the container's users look into it.
    rustix::fs::chmod(folder, Mode::from_raw_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(targets: &[&str]) -> Vec<Link> {
        let link = |(at, target): (usize, &&str)| Link {
            target: target.into(),
            path: format!("/dev/dri/by-path/pci-{at}").into(),
        };
        targets.iter().enumerate().map(link).collect()
    }

    #[test]
    fn a_folder_is_made_once_and_shared() {
        let store = tempfile::tempdir().unwrap();
        let store = store.path().join("links");
        let first = ensure(&store, &links(&["../card0", "../card1"])).unwrap();
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
        let made = inode(&first);
        assert_eq!(ensure(&store, &links(&["../card0", "../card1"])).unwrap(), first);
        assert_eq!(inode(&first), made);
        assert_eq!(std::fs::read_link(first.join("pci-1")).unwrap(), Path::new("../card1"));
        assert_ne!(ensure(&store, &links(&["../card1", "../card0"])).unwrap(), first);
        assert_eq!(std::fs::read_dir(&store).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_holds_something_else_is_not_used() {
        let store = tempfile::tempdir().unwrap();
        let links = links(&["../card0"]);
        let folder = ensure(store.path(), &links).unwrap();
        std::fs::remove_file(folder.join("pci-0")).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", folder.join("pci-0")).unwrap();
        assert_eq!(ensure(store.path(), &links), Err(Errno::EXIST));
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let store = tempfile::tempdir().unwrap();
        let links = links(&["../card0"]);
        let folder = ensure(store.path(), &links).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(ensure(store.path(), &links), Err(Errno::EXIST));
    }
}
