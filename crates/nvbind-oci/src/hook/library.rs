//! The libraries that the dynamic loader must find.

use super::Warnings;
use super::root::{Folder, Root};
use nvbind_gpu::ldcache::flags_of_elf;
use rustix::io::Errno;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The part of an ELF header up to and with `e_machine`.
const HEADER_BYTES: usize = 20;

/// A library that is in the container.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Library {
    /// Its path in the container, a SONAME at the end.
    pub(crate) path: PathBuf,
    /// Its kind and machine, as `ld.so.cache` has them.
    pub(crate) flags: i32,
}

/// Looks at the libraries. One that is not there (its mount was not asked for) is passed over.
///
/// A folder holds libraries of one kind, so the first of each folder is read and of the others only the names are
/// looked up: with a hundred libraries this is most of what the hook would do.
pub(crate) fn inspect(root: &Root, paths: &[PathBuf], warnings: &mut Warnings) -> Vec<Library> {
    let mut libraries = Vec::with_capacity(paths.len());
    let mut known: Option<(&Path, Folder, i32)> = None;
    for path in paths {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        if let Some((folder, handle, flags)) = &known
            && *folder == parent
        {
            if handle.has(name) {
                libraries.push(Library {
                    path: path.clone(),
                    flags: *flags,
                });
            }
            continue;
        }
        match flags(root, path) {
            Ok(Some(flags)) => {
                known = root.folder(parent).ok().map(|handle| (parent, handle, flags));
                libraries.push(Library {
                    path: path.clone(),
                    flags,
                });
            }
            Ok(None) => warnings.add(format!("{} is no library of a known machine", path.display())),
            Err(Errno::NOENT) => {}
            Err(error) => warnings.add(format!("{} cannot be read: {error}", path.display())),
        }
    }
    libraries
}

/// The flags of a host's file, if it is a library of a known machine.
pub(crate) fn flags_of_host_file(path: &Path) -> Option<i32> {
    let file = std::fs::File::open(path).ok()?;
    let mut header = [0; HEADER_BYTES];
    let read = file.read_at(&mut header, 0).ok()?;
    flags_of_elf(&header[..read])
}

fn flags(root: &Root, path: &Path) -> Result<Option<i32>, Errno> {
    let file = root.file(path)?;
    let mut header = [0; HEADER_BYTES];
    let read = file
        .read_at(&mut header, 0)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(flags_of_elf(&header[..read]))
}
