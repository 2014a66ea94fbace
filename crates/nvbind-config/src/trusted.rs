//! Reading host files whose content is acted upon with the caller's rights: configuration and CDI specs.
//!
//! Whoever can write such a file can have any host file mounted into any container, so it must belong to root or to the
//! caller and be writable by no one else. The file that was checked is the one that is read: both go through one descriptor.

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file read, in bytes: the spec of a host with 16 GPUs cut into 7 MIG devices each stays below 1 MiB.
pub const MAX_BYTES: u64 = 16 << 20;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// It belongs to someone else.
    #[error("{} is refused: it belongs to uid {uid}, which is neither root nor the caller: chown it", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Others can write it.
    #[error("{0} is refused: others than its owner can write it (mode {mode:04o}): run chmod go-w {0}", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than [`MAX_BYTES`].
    #[error("{} is refused: it is larger than 16 MiB", .0.display())]
    TooLarge(PathBuf),
    /// It holds bytes that are not UTF-8.
    #[error("{} is not text: it holds bytes that are not UTF-8", .0.display())]
    NotText(PathBuf),
}

impl Error {
    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        // ENOTDIR: a parent is no folder, as with HOME=/dev/null.
        matches!(self, Self::Read { source, .. }
            if matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory))
    }

    /// Whether the kernel denied access.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
    }
}

/// Reads a text file that root or the caller owns and no one else can write.
pub fn read(path: &Path) -> Result<String, Error> {
    let failed = |source: std::io::Error| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = open(path).map_err(|errno| failed(errno.into()))?;
    let size = check(path, &file)?;
    let mut bytes = Vec::with_capacity(size);
    (&mut file)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| Error::NotText(path.to_owned()))
}

fn open(path: &Path) -> Result<File, Errno> {
    // NONBLOCK: a pipe put in the file's place must not hold up the caller.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from)
}

/// Checks kind, owner and mode; returns the number of bytes to make room for.
fn check(path: &Path, file: &File) -> Result<usize, Error> {
    let stat = rustix::fs::fstat(file).map_err(|errno| Error::Read {
        path: path.to_owned(),
        source: errno.into(),
    })?;
    let path = || path.to_owned();
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::NotAFile(path()));
    }
    if stat.st_uid != 0 && stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Error::Owner {
            path: path(),
            uid: stat.st_uid,
        });
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(Error::Writable {
            path: path(),
            mode: stat.st_mode & 0o7777,
        });
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > MAX_BYTES {
        return Err(Error::TooLarge(path()));
    }
    // One more byte than there are, so that the end is seen without another allocation.
    Ok(usize::try_from(size).unwrap_or(0) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(mode: u32, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn own_file_is_read() {
        let (_dir, path) = file(0o644, b"text");
        assert_eq!(read(&path).unwrap(), "text");
    }

    #[test]
    fn writable_files_are_refused() {
        for mode in [0o664, 0o646, 0o666] {
            let (_dir, path) = file(mode, b"");
            assert!(matches!(read(&path), Err(Error::Writable { mode: found, .. }) if found == mode));
        }
    }

    #[test]
    fn a_strangers_file_is_refused() {
        let (_dir, path) = file(0o644, b"");
        std::os::unix::fs::chown(&path, Some(65534), None).expect("this test needs root, to give a file away");
        assert!(matches!(read(&path), Err(Error::Owner { uid: 65534, .. })));
    }

    #[test]
    fn folders_pipes_and_bytes_are_refused() {
        let (dir, path) = file(0o644, b"\xff");
        assert!(matches!(read(&path), Err(Error::NotText(_))));
        assert!(matches!(read(dir.path()), Err(Error::NotAFile(_))));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        assert!(matches!(read(&pipe), Err(Error::NotAFile(_))));
    }

    #[test]
    fn absence_is_told_apart() {
        assert!(read(Path::new("/nonexistent/x")).unwrap_err().is_not_found());
        assert!(read(Path::new("/dev/null/x")).unwrap_err().is_not_found());
    }
}
