//! One layer of an image onto the layers below it (OCI image specification, "Image Layer Filesystem Changeset").
//!
//! Runs in a thread whose root is the target folder, so names are used as they are.

use crate::image::overlay::in_user_namespace;
use crate::image::tree;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Entry, EntryType};

/// What the name of a file that takes another away begins with.
const WHITEOUT: &str = ".wh.";
/// The file that takes everything in its folder away that lower layers put there.
const OPAQUE: &str = ".wh..wh..opq";
/// Other names of aufs that mean nothing here.
const AUFS: &str = ".wh..wh.";
/// What a PAX record of an extended attribute begins with.
const XATTR: &str = "SCHILY.xattr.";
/// Extended attributes that are taken over: the others would change how the host, or overlayfs, treats a file.
const XATTRS: [&str; 2] = ["security.capability", "user."];

/// What overlayfs of an ordinary user keeps to itself among them.
const OVERLAY: &str = "user.overlay.";

/// Unpacks the tar of a layer below `/`.
pub(super) fn unpack_layer(tar: impl Read) -> io::Result<()> {
    let mut layer = LayerState::default();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = clean(&entry.path_bytes())?;
        layer
            .apply(&mut entry, &path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    layer.finish()
}

/// `/` and the parts of a member's name. A name that climbs is no mistake of a tool.
fn clean(bytes: &[u8]) -> io::Result<PathBuf> {
    let mut path = PathBuf::from("/");
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let name = String::from_utf8_lossy(bytes);
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("'{name}' climbs out of its folder"),
                ));
            }
        }
    }
    Ok(path)
}

/// What of a layer must be remembered until its end.
#[derive(Default)]
struct LayerState {
    /// What this layer made: an opaque folder spares it.
    made: HashSet<PathBuf>,
    /// Folders and their times, which change while files are put into them.
    folder_times: Vec<(PathBuf, Timestamps)>,
}

impl LayerState {
    fn apply<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let parent = path.parent().unwrap_or(Path::new("/"));
        if name == OPAQUE.as_bytes() {
            return tree::remove_children(parent, &self.made);
        }
        if name.starts_with(AUFS.as_bytes()) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT.as_bytes()) {
            return hide(parent, hidden);
        }
        tree::make_parents(parent)?;
        if !self.make(entry, path)? {
            return Ok(());
        }
        set_metadata(entry, path)?;
        let times = times(entry);
        if entry.header().entry_type().is_dir() {
            self.folder_times.push((path.to_owned(), times));
        } else {
            rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        self.made.insert(path.to_owned());
        Ok(())
    }

    /// Makes the file itself; `false` when there is nothing to give owner and mode to.
    fn make<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &Path) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            if !tree::is_folder(path) {
                tree::remove(path)?;
                std::fs::create_dir(path)?;
            }
            return Ok(true);
        }
        if path == Path::new("/") {
            return Ok(false);
        }
        if kind.is_hard_link() {
            let target = clean(&entry.link_name_bytes().unwrap_or_default())?;
            if target != path {
                tree::remove(path)?;
                rustix::fs::linkat(CWD, &target, CWD, path, AtFlags::empty())?;
            }
            self.made.insert(path.to_owned());
            return Ok(false);
        }
        if kind.is_symlink() {
            tree::remove(path)?;
            let target = entry.link_name_bytes().unwrap_or_default();
            std::os::unix::fs::symlink(OsStr::from_bytes(&target), path)?;
            return Ok(true);
        }
        if let Some(node) = node_type(kind) {
            tree::remove(path)?;
            let number = |part: io::Result<Option<u32>>| part.map(Option::unwrap_or_default);
            let header = entry.header();
            let device = rustix::fs::makedev(number(header.device_major())?, number(header.device_minor())?);
            return match rustix::fs::mknodat(CWD, path, node, Mode::empty(), device) {
                // No container of an ordinary user could open it.
                Err(Errno::PERM) if in_user_namespace() => Ok(false),
                made => Ok(made.map(|()| true)?),
            };
        }
        if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
            tree::remove(path)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(entry, &mut file)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn finish(self) -> io::Result<()> {
        for (path, times) in self.folder_times.iter().rev() {
            // A later member may have put something else there.
            if tree::is_folder(path) {
                rustix::fs::utimensat(CWD, path, times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }
}

fn hide(parent: &Path, hidden: &[u8]) -> io::Result<()> {
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it hides no file"));
    }
    tree::remove(&parent.join(OsStr::from_bytes(hidden)))
}

fn node_type(kind: EntryType) -> Option<FileType> {
    match kind {
        EntryType::Char => Some(FileType::CharacterDevice),
        EntryType::Block => Some(FileType::BlockDevice),
        EntryType::Fifo => Some(FileType::Fifo),
        _ => None,
    }
}

/// Owner first: changing it takes set-user-ID bits and file capabilities away.
fn set_metadata<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> io::Result<()> {
    let id = |number: io::Result<u64>| u32::try_from(number?).map_err(io::Error::other);
    let (uid, gid) = (id(entry.header().uid())?, id(entry.header().gid())?);
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    match rustix::fs::chownat(CWD, path, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW) {
        // Where one id is mapped, everything belongs to it.
        Err(Errno::INVAL) if in_user_namespace() => {}
        changed => changed?,
    }
    if !entry.header().entry_type().is_symlink() {
        rustix::fs::chmodat(
            CWD,
            path,
            Mode::from_raw_mode(entry.header().mode()? & 0o7777),
            AtFlags::empty(),
        )?;
    }
    set_xattrs(entry, path)
}

fn set_xattrs<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> io::Result<()> {
    let Some(records) = entry.pax_extensions()? else {
        return Ok(());
    };
    for record in records {
        let record = record?;
        let Some(name) = record.key().ok().and_then(|key| key.strip_prefix(XATTR)) else {
            continue;
        };
        if name.starts_with(OVERLAY) || !XATTRS.iter().any(|known| name.starts_with(known)) {
            continue;
        }
        match rustix::fs::lsetxattr(path, name, record.value_bytes(), XattrFlags::empty()) {
            // The store's file system has no such attributes: the file works without.
            Err(rustix::io::Errno::OPNOTSUPP) => {}
            set => set?,
        }
    }
    Ok(())
}

fn times<R: Read>(entry: &Entry<'_, R>) -> Timestamps {
    let seconds = entry
        .header()
        .mtime()
        .ok()
        .and_then(|time| i64::try_from(time).ok())
        .unwrap_or_default();
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
