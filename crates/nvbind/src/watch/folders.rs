//! The folders whose changes the kernel tells of: those of the driver's libraries and of device nodes.

use nvbind_config::Roots;
use nvbind_gpu::SearchOptions;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

/// Folders of device nodes.
const NODE_FOLDERS: [&str; 4] = ["/dev", "/dev/nvidia-caps", "/dev/nvidia-caps-imex-channels", "/dev/dri"];
/// How the names in `/dev` begin that matter: terminals come and go there all the time.
const NODE_NAMES: [&str; 5] = ["nvidia", "dri", "dxg", "gdrdrv", "infiniband"];
/// Bytes of events that are read at once.
const BUFFER: usize = 16 << 10;

/// Folders that are followed.
pub(super) struct Folders {
    inotify: OwnedFd,
    /// Watches by descriptor; `true` for `/dev`, where only some names matter.
    watches: HashMap<i32, (PathBuf, bool)>,
}

impl Folders {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            watches: HashMap::new(),
        })
    }

    /// Follows the folders that are there now. One that cannot be followed is looked at from time to time all the same.
    pub(super) fn follow(&mut self, roots: &Roots, search: &SearchOptions) {
        let of_nodes = NODE_FOLDERS.map(|folder| (roots.dev_path(Path::new(folder)), folder == NODE_FOLDERS[0]));
        let of_libraries = nvbind_gpu::driver_folders(roots, search).unwrap_or_default();
        let all = of_nodes
            .into_iter()
            .chain(of_libraries.into_iter().map(|path| (path, false)));
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        // Adding a folder again gives the watch that it has, unless another folder stands in its place now.
        let mut watches = HashMap::new();
        for (path, is_filtered) in all {
            if let Ok(watch) = inotify::add_watch(&self.inotify, &path, flags) {
                watches.insert(watch, (path, is_filtered));
            }
        }
        for gone in self.watches.keys().filter(|watch| !watches.contains_key(watch)) {
            // A folder that was deleted took its watch along.
            let _ = inotify::remove_watch(&self.inotify, *gone);
        }
        self.watches = watches;
    }

    /// Whether something has happened that matters.
    pub(super) fn changed(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        let mut has_changed = false;
        loop {
            match events.next() {
                Ok(event) => has_changed |= self.matters(event.wd(), event.events(), event.file_name()),
                Err(Errno::WOULDBLOCK) => return Ok(has_changed),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn matters(&self, watch: i32, events: ReadFlags, name: Option<&CStr>) -> bool {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        match (self.watches.get(&watch), name) {
            // A watch that was taken away says farewell.
            (None, _) => false,
            (Some((_, true)), Some(name)) => {
                let name = name.to_bytes();
                NODE_NAMES.iter().any(|start| name.starts_with(start.as_bytes()))
            }
            _ => true,
        }
    }
}

impl AsFd for Folders {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nodes_and_libraries_are_followed_and_terminals_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |path: &str| dir.path().join(path);
        for folder in ["dev/nvidia-caps", "usr/lib64"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        let (roots, search) = (Roots::under(dir.path()), SearchOptions::default());
        let mut folders = Folders::new().unwrap();
        folders.follow(&roots, &search);
        let touch = |file: &str| fs::write(path(file), "").unwrap();
        assert!(!folders.changed().unwrap());
        touch("dev/tty7");
        assert!(!folders.changed().unwrap());
        for file in ["dev/nvidia0", "dev/nvidia-caps/nvidia-cap3", "usr/lib64/libcuda.so.1.2"] {
            touch(file);
            assert!(folders.changed().unwrap(), "{file}");
            assert!(!folders.changed().unwrap(), "{file}");
        }
        fs::remove_file(path("dev/nvidia0")).unwrap();
        assert!(folders.changed().unwrap());
    }

    #[test]
    fn a_folder_that_comes_anew_is_followed_again() {
        let dir = tempfile::tempdir().unwrap();
        let libraries = dir.path().join("usr/lib64");
        fs::create_dir_all(&libraries).unwrap();
        let (roots, search) = (Roots::under(dir.path()), SearchOptions::default());
        let mut folders = Folders::new().unwrap();
        folders.follow(&roots, &search);
        fs::rename(&libraries, dir.path().join("old")).unwrap();
        fs::create_dir(&libraries).unwrap();
        assert!(folders.changed().unwrap());
        folders.follow(&roots, &search);
        assert!(!folders.changed().unwrap());
        fs::write(dir.path().join("old/libcuda.so.1.2"), "").unwrap();
        assert!(!folders.changed().unwrap(), "the old folder is no concern any more");
        fs::write(libraries.join("libcuda.so.1.2"), "").unwrap();
        assert!(folders.changed().unwrap());
    }
}
