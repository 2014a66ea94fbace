//! A copy of a tree, for where no overlay can be had: owners, modes, links, nodes, attributes and times as they are.

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, lstat};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Copies what is in `from` into the folder `to`; returns the bytes of its files. Nothing else may change `from` meanwhile.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<u64> {
    let mut copy = Copy::default();
    copy.folder(from, to)?;
    Ok(copy.bytes)
}

#[derive(Default)]
struct Copy {
    /// Files with several names: device and inode, and where the first name was copied to.
    linked: HashMap<(u64, u64), PathBuf>,
    bytes: u64,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let name = entry?.file_name();
            self.entry(&from.join(&name), &to.join(&name))?;
        }
        dress(&lstat(from)?, from, to)
    }

    fn entry(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let stat = lstat(from)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return self.folder(from, to);
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.linked.get(&key) {
            return std::fs::hard_link(first, to);
        }
        match kind {
            FileType::RegularFile => self.bytes += std::fs::copy(from, to)?,
            FileType::Symlink => std::os::unix::fs::symlink(std::fs::read_link(from)?, to)?,
            // Nobody listens at a socket that was copied.
            FileType::Socket => return Ok(()),
            kind => rustix::fs::mknodat(CWD, to, kind, Mode::empty(), stat.st_rdev)?,
        }
        if stat.st_nlink > 1 {
            self.linked.insert(key, to.to_owned());
        }
        dress(&stat, from, to)
    }
}

/// Owner first: changing it takes set-user-ID bits and file capabilities away.
fn dress(stat: &Stat, from: &Path, to: &Path) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(CWD, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(CWD, to, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    attributes(from, to)?;
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as i64),
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match rustix::fs::llistxattr(from, &mut names) {
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    let mut value = vec![0u8; 64 << 10];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let size = rustix::fs::lgetxattr(from, name, &mut value)?;
        match rustix::fs::lsetxattr(to, name, &value[..size], XattrFlags::empty()) {
            // A label of the host's security module, or a file system without attributes: the copy works without.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => {}
            set => set?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_copy_is_what_it_was_copied_from() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::write(from.join("a/file"), "text").unwrap();
        std::fs::set_permissions(from.join("a/file"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::os::unix::fs::chown(from.join("a/b"), Some(7), Some(8)).unwrap();
        std::fs::hard_link(from.join("a/file"), from.join("a/b/same")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        rustix::fs::mknodat(
            CWD,
            from.join("null"),
            FileType::CharacterDevice,
            Mode::RUSR,
            rustix::fs::makedev(1, 3),
        )
        .unwrap();
        assert_eq!(copy_tree(&from, &to).unwrap(), 4);
        let meta = |path: &str| std::fs::symlink_metadata(to.join(path)).unwrap();
        assert_eq!(meta("a/file").mode() & 0o7777, 0o4755);
        assert_eq!((meta("a/b").uid(), meta("a/b").gid()), (7, 8));
        assert_eq!(meta("a/file").ino(), meta("a/b/same").ino());
        assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(meta("null").rdev(), rustix::fs::makedev(1, 3));
        let before = std::fs::metadata(from.join("a")).unwrap().modified().unwrap();
        assert_eq!(meta("a").modified().unwrap(), before);
    }
}
