//! A container's root and folders in it, by handle.
//!
//! The kernel resolves every path below the root's handle: links in the image lead nowhere else, neither absolute
//! ones nor `..`, nor through a `/proc` that holds magic links. What is then done is done to names in an open
//! folder, so a folder that is swapped for a link in between changes nothing.

use crate::Error;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicU32, Ordering};

/// How often the kernel is asked again when a rename elsewhere kept it from being sure (`EAGAIN`).
const RETRIES: usize = 128;

/// How many names for a temporary file are tried.
const TEMPORARY_NAMES: usize = 16;

/// The root of a container.
pub(crate) struct Root(OwnedFd);

/// A folder in a container, and the handle on it that everything in it is done by.
pub(crate) struct Folder(OwnedFd);

/// What became of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    /// It is new, or leads elsewhere now.
    Made,
    /// It was there already.
    Kept,
}

impl Root {
    /// Opens the root, which is a path of the host.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        opened.map(Self).map_err(|error| Error::Root {
            path: path.to_owned(),
            source: error.into(),
        })
    }

    /// Whether something is there, links followed inside the root.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.resolve(path, OFlags::PATH).is_ok()
    }

    /// Opens a regular file for reading, links followed inside the root.
    pub(crate) fn file(&self, path: &Path) -> Result<File, Errno> {
        let file = self.resolve(path, READ)?;
        is_regular(&file)?.then(|| File::from(file)).ok_or(Errno::INVAL)
    }

    /// The place of something that is there, links followed inside the root: for mounting over it.
    pub(crate) fn place(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::PATH)
    }

    /// Opens a folder, which must be there.
    pub(crate) fn folder(&self, path: &Path) -> Result<Folder, Errno> {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY).map(Folder)
    }

    /// Opens a folder and makes what is missing of it (0755). A link that leads nowhere is an error: nothing is made
    /// at its end.
    pub(crate) fn make_folder(&self, path: &Path) -> Result<Folder, Errno> {
        match self.folder(path) {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        let (Some(parent), Some(Component::Normal(name))) = (path.parent(), path.components().next_back()) else {
            return Err(Errno::NOENT);
        };
        self.make_folder(parent)?.make_folder(name)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_below(
            &self.0,
            path,
            flags,
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }
}

/// Reading without side effects: no waiting for a pipe's other end, no terminal taken.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl Folder {
    /// File system and inode, which say whether two handles are the same folder.
    pub(crate) fn id(&self) -> Result<(u64, u64), Errno> {
        let stat = rustix::fs::fstat(&self.0)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// The folder that it lies in, which may be outside of the container's root.
    pub(crate) fn parent(&self) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, "..", flags, Mode::empty()).map(Self)
    }

    fn make_folder(&self, name: &OsStr) -> Result<Self, Errno> {
        match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        open_below(
            &self.0,
            Path::new(name),
            flags,
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )
        .map(Self)
    }

    /// Whether the folder has something of that name; a link is not followed.
    pub(crate) fn has(&self, name: &OsStr) -> bool {
        rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The names of at most `max` things in the folder, those that are text.
    pub(crate) fn names(&self, max: usize) -> Result<Vec<String>, Errno> {
        let folder = open_below(
            &self.0,
            Path::new("."),
            OFlags::RDONLY | OFlags::DIRECTORY,
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )?;
        let entries = rustix::fs::Dir::read_from(folder)?.take(max);
        let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned));
        Ok(names.collect())
    }

    /// Reads a regular file of at most `max` bytes. A link is not followed: like absence, it gives `None`.
    pub(crate) fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, Errno> {
        let flags = READ | OFlags::NOFOLLOW;
        let file = match open_below(
            &self.0,
            Path::new(name),
            flags,
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        ) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !is_regular(&file)? {
            return Err(Errno::INVAL);
        }
        let mut bytes = Vec::new();
        let read = File::from(file).take(max + 1).read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if bytes.len() as u64 > max {
            Err(Errno::FBIG)
        } else {
            Ok(Some(bytes))
        }
    }

    /// Puts a file (0644) in the place of whatever has the name, except a folder.
    ///
    /// It is not synced: after a crash of the machine the container's next start writes it again.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |temporary: &OsStr| rustix::fs::openat(&self.0, temporary, flags, Mode::from_raw_mode(0o644));
        self.replace(OsStr::new(name), create, |file| {
            // Whatever the umask of the runtime is: everyone in the container reads these files.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
            File::from(file)
                .write_all(bytes)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }

    /// Makes a link as `ln -fs` does, but leaves a folder of that name alone (`EISDIR`).
    pub(crate) fn link(&self, name: &OsStr, target: &Path) -> Result<Linked, Errno> {
        match rustix::fs::symlinkat(target, &self.0, name) {
            Ok(()) => return Ok(Linked::Made),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        if self.leads_to(name, target) {
            return Ok(Linked::Kept);
        }
        self.replace(
            name,
            |temporary| rustix::fs::symlinkat(target, &self.0, temporary),
            |()| Ok(()),
        )?;
        Ok(Linked::Made)
    }

    fn leads_to(&self, name: &OsStr, target: &Path) -> bool {
        let found = rustix::fs::readlinkat(&self.0, name, Vec::new());
        found.is_ok_and(|found| found.as_bytes() == target.as_os_str().as_bytes())
    }

    /// Makes something under a temporary name and renames it to `name`.
    fn replace<T>(
        &self,
        name: &OsStr,
        create: impl Fn(&OsStr) -> Result<T, Errno>,
        fill: impl FnOnce(T) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let (temporary, made) = create_temporary(create)?;
        let done = fill(made).and_then(|()| rustix::fs::renameat(&self.0, &temporary, &self.0, name));
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&self.0, &temporary, AtFlags::empty());
        }
        done
    }
}

/// Calls `create` with names until one is not taken. Creating never follows or replaces, so an image that guesses the
/// names keeps nobody but itself from its files.
fn create_temporary<T>(create: impl Fn(&OsStr) -> Result<T, Errno>) -> Result<(String, T), Errno> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let process = rustix::process::getpid();
    for _ in 0..TEMPORARY_NAMES {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".nvbind-{}-{count}", process.as_raw_nonzero());
        match create(OsStr::new(&name)) {
            Err(Errno::EXIST) => {}
            done => return done.map(|made| (name, made)),
        }
    }
    Err(Errno::EXIST)
}

fn open_below(folder: &OwnedFd, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let open = || rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve);
    let mut opened = open();
    for _ in 0..RETRIES {
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
        opened = open();
    }
    opened
}

fn is_regular(file: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::RegularFile)
}
