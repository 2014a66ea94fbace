//! The store of images: one folder, content under its digest, every name there whole or not at all.
//!
//! ```text
//! images.json            which image has which name
//! blobs/sha256/<digest>  configurations; layers only until they are unpacked
//! layers/<chain>/        a layer, unpacked, under the name of it and all below it: diff/ (or whole/), size
//! incoming/              what is on its way
//! ```
//!
//! Who uses the store holds a shared lock on its folder, who removes from it the exclusive one. Work that two processes
//! could do at once is done under a lock on what is made. A container holds a lock on its image's configuration for as
//! long as it is there. All of these are let go by the kernel, however a process ends; what was on its way then is found in
//! `incoming` and is taken up, or removed.

use crate::image::blob::{Checked, Digest};
use crate::image::manifest;
use crate::image::{Error, Image};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fsync, open, openat, renameat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Images on this machine.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// A lock, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    fd: OwnedFd,
}

/// Keeps an image from being removed for as long as this lives.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    _lock: Lock,
}

impl Hold {
    /// Holds what another process holds meanwhile.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::store(path, "cannot be opened"))?;
        let lock = Lock::on(fd, FlockOperation::LockShared).map_err(Error::store(path, "cannot be locked"))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// What is held.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// The store in this folder, which is made when it is first needed.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.dir.join("layers")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(super) fn layer(&self, chain: &Digest) -> PathBuf {
        self.layers().join(chain.hex())
    }

    /// Makes the folders and takes the shared lock.
    pub(super) fn enter(&self) -> Result<Lock, Error> {
        use std::os::unix::fs::DirBuilderExt;
        for folder in [self.dir.clone(), self.incoming(), self.layers(), self.blobs()] {
            // Closed to others: images hold set-user-ID programs and device nodes.
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(Error::store(&folder, "cannot be made"))?;
        }
        Lock::take(&self.dir, FlockOperation::LockShared)
    }

    /// Takes the exclusive lock, if nobody uses the store and it is there.
    pub(super) fn try_alone(&self) -> Result<Option<Lock>, Error> {
        match self.dir.exists() {
            true => Lock::try_take(&self.dir),
            false => Ok(None),
        }
    }

    /// Takes the exclusive lock. `waiting` is told when others use the store.
    pub(super) fn alone(&self, waiting: &mut dyn FnMut()) -> Result<Lock, Error> {
        drop(self.enter()?);
        if let Some(lock) = self.try_alone()? {
            return Ok(lock);
        }
        waiting();
        Lock::take(&self.dir, FlockOperation::LockExclusive)
    }

    /// The lock under which names are changed.
    pub(super) fn lock_names(&self) -> Result<Lock, Error> {
        Lock::take(&self.blobs(), FlockOperation::LockExclusive)
    }

    /// The content of a small blob, checked; `None` when there is none.
    pub(super) fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let path = self.blob(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(Error::store(&path, "cannot be opened"))?,
        };
        let mut bytes = Vec::new();
        let read = file.take(manifest::DOCUMENT_LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(Error::store(&path, "cannot be read"))?;
        // What a failing disk made of it is as good as nothing: it is fetched again.
        let sound = Checked::new(bytes.as_slice()).verify("", digest, None).is_ok();
        Ok(sound.then_some(bytes))
    }

    /// Keeps a small document.
    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        if self.document(digest)?.is_some() {
            return Ok(());
        }
        write_whole(&self.blobs(), digest.hex(), bytes)
    }

    /// Keeps an image from being removed. Its configuration must be there and the store entered.
    pub(super) fn hold(&self, config: &Digest) -> Result<Hold, Error> {
        Hold::of(&self.blob(config))
    }

    /// Whether a container holds the image with this configuration.
    pub(super) fn is_held(&self, config: &Digest) -> bool {
        let opened = open(self.blob(config), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        opened.is_ok_and(|fd| flock(&fd, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK))
    }

    /// The folders of the layers with these names, topmost first, when all of them are there.
    pub(super) fn lowers(&self, chains: &[Digest]) -> Option<Vec<PathBuf>> {
        let whole = self.layer(chains.last()?).join("whole");
        if whole.exists() {
            return Some(vec![whole]);
        }
        let folders: Vec<PathBuf> = chains
            .iter()
            .rev()
            .map(|chain| self.layer(chain).join("diff"))
            .collect();
        folders.iter().all(|folder| folder.exists()).then_some(folders)
    }

    /// An image by its configuration, if all of it is there. The store must be entered.
    pub(super) fn image(&self, name: &str, config: &Digest) -> Result<Option<Image>, Error> {
        let Some(bytes) = self.document(config)? else {
            return Ok(None);
        };
        let (settings, chains) = manifest::stored(name, config, &bytes)?;
        let Some(lowers) = self.lowers(&chains) else {
            return Ok(None);
        };
        Ok(Some(Image {
            lowers,
            config: settings,
            hold: self.hold(config)?,
        }))
    }
}

impl Lock {
    fn on(fd: OwnedFd, operation: FlockOperation) -> Result<Self, Errno> {
        loop {
            match flock(&fd, operation) {
                Err(Errno::INTR) => {}
                taken => return taken.map(|()| Self { fd }),
            }
        }
    }

    /// Locks a folder.
    pub(super) fn take(folder: &Path, operation: FlockOperation) -> Result<Self, Error> {
        let locked = open_folder(folder).and_then(|fd| Self::on(fd, operation));
        locked.map_err(Error::store(folder, "cannot be locked"))
    }

    /// Locks a folder that nobody else has locked.
    pub(super) fn try_take(folder: &Path) -> Result<Option<Self>, Error> {
        let locked = open_folder(folder).and_then(|fd| Self::on(fd, FlockOperation::NonBlockingLockExclusive));
        match locked {
            Err(Errno::WOULDBLOCK) => Ok(None),
            locked => locked.map(Some).map_err(Error::store(folder, "cannot be locked")),
        }
    }

    /// Locks an open file that nobody else has locked; `None` when somebody has.
    pub(super) fn try_on(file: &File) -> Result<Option<()>, Errno> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            taken => taken.map(Some),
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open_folder(folder: &Path) -> Result<OwnedFd, Errno> {
    open(
        folder,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Writes a file so that its name is never there without its content.
pub(super) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = folder.join(name);
    let failed = || Error::store(&path, "cannot be written");
    let dir = open_folder(folder).map_err(|error| failed()(error.into()))?;
    // One process may have several writers; the name tells them apart.
    let new = format!(".{name}.{}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let write = || -> std::io::Result<()> {
        let mut file = File::from(openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        fsync(&file)?;
        Ok(renameat(&dir, &new, &dir, name)?)
    };
    let written = write();
    if written.is_err() {
        let _ = rustix::fs::unlinkat(&dir, &new, rustix::fs::AtFlags::empty());
    }
    written.map_err(failed())?;
    fsync(&dir).map_err(|error| failed()(error.into()))
}
