//! What a container in the background prints: one file, and the one before it.

use crate::native::lifecycle::{own, remove_folder};
use crate::native::{Dirs, Error};
use nvbind_alloc::{Ledger, Status, boot_id};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILE: &str = "log";
const OLDER_FILE: &str = "log.1";
/// Size in bytes at which a log becomes the older one: a container keeps twice this at most.
const LIMIT: u64 = 16 << 20;
/// How often a log that is followed is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Writes down what a container prints.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    file: File,
    length: u64,
}

impl Log {
    /// Starts the log of a container in its folder, which is made.
    pub(super) fn create(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::io("make folder", folder))?;
        let file = open(folder).map_err(Error::io("write", &folder.join(FILE)))?;
        Ok(Self {
            folder: folder.to_owned(),
            file,
            length: 0,
        })
    }

    /// Writes some output down. A full disk loses output; it does not stop the container.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.length > 0 && self.length + bytes.len() as u64 > LIMIT {
            self.rotate();
        }
        if self.file.write_all(bytes).is_ok() {
            self.length += bytes.len() as u64;
        }
    }

    fn rotate(&mut self) {
        let renamed = std::fs::rename(self.folder.join(FILE), self.folder.join(OLDER_FILE));
        if let Ok(file) = renamed.and_then(|()| open(&self.folder)) {
            self.file = file;
            self.length = 0;
        }
    }
}

fn open(folder: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(folder.join(FILE))
}

/// Copies a container's log to `out`; with `follow` until the container has ended, or who wrote it is gone.
pub fn logs(ledger: &Ledger, dirs: &Dirs, key: &str, follow: bool, out: &mut dyn Write) -> Result<(), Error> {
    let binding = own(ledger.find(key)?)?;
    let folder = dirs.container(&binding.id);
    let path = folder.join(FILE);
    let failed = || Error::io("copy", &path);
    if let Ok(mut older) = File::open(folder.join(OLDER_FILE)) {
        copy_and_flush(&mut older, out).map_err(failed())?;
    }
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed())?,
    };
    let boot = boot_id().map_err(nvbind_alloc::Error::Proc)?;
    loop {
        // Asked before the copy: what is written before the end is in it.
        let running = is_written(ledger, &binding.id, &boot)?;
        let read = copy_and_flush(&mut file, out).map_err(failed())?;
        if !read || !follow || !running {
            return Ok(());
        }
        std::thread::sleep(TICK);
        if let Some(newer) = rotated(&file, &path) {
            copy_and_flush(&mut file, out).map_err(failed())?;
            file = newer;
        }
    }
}

/// Whether more may come: the container has not ended, and the process that writes its log lives.
fn is_written(ledger: &Ledger, id: &str, boot: &str) -> Result<bool, Error> {
    match ledger.find(id) {
        Err(nvbind_alloc::Error::NotFound { .. }) => Ok(false),
        Ok(binding) => Ok(binding.status != Status::Exited && binding.owner.is_alive(boot)),
        Err(error) => Err(error.into()),
    }
}

/// Copies what is there; whether somebody still reads it.
fn copy_and_flush(file: &mut impl Read, out: &mut dyn Write) -> io::Result<bool> {
    match io::copy(file, out).and_then(|_| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}

/// The file that has taken the place of an open one.
fn rotated(file: &File, path: &Path) -> Option<File> {
    let newer = File::open(path).ok()?;
    let inode = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
    (inode(&newer) != inode(file)).then_some(newer)
}

/// Removes everything else of a container, and its folder when it has no log.
pub(super) fn remove_all_but_logs(folder: &Path) -> Result<(), Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("read", folder))?,
    };
    let mut keep = false;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name == FILE || name == OLDER_FILE {
            keep = true;
        } else {
            remove_folder(&entry.path())?;
        }
    }
    if keep { Ok(()) } else { remove_folder(folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_what_is_not_a_log_goes() {
        let dir = tempfile::Builder::new().prefix("nvbind-engine-").tempdir().unwrap();
        let folder = dir.path().join("c");
        let mut log = Log::create(&folder).unwrap();
        let block = vec![b'x'; 1 << 20];
        (0..40).for_each(|_| log.write(&block));
        let size = |name| std::fs::metadata(folder.join(name)).unwrap().len();
        assert_eq!((size(FILE), size(OLDER_FILE)), (8 << 20, LIMIT));
        std::fs::create_dir_all(folder.join("upper/a")).unwrap();
        remove_all_but_logs(&folder).unwrap();
        assert!(!folder.join("upper").exists() && folder.join(FILE).exists());
        std::fs::remove_file(folder.join(FILE)).unwrap();
        std::fs::remove_file(folder.join(OLDER_FILE)).unwrap();
        remove_all_but_logs(&folder).unwrap();
        assert!(!folder.exists());
    }
}
