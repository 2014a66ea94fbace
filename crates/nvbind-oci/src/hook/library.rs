//! The libraries that the dynamic loader must find.

use super::Warnings;
use super::root::Root;
use nvbind_gpu::ldcache::flags_of_elf;
use rustix::io::Errno;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A library that is in the container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Library {
    /// Its path in the container, a SONAME at the end.
    pub(super) path: PathBuf,
    /// Its kind and machine, as `ld.so.cache` has them.
    pub(super) flags: i32,
}

/// Looks at the libraries. One that is not there (its mount was not asked for) is passed over.
pub(super) fn inspect(root: &Root, paths: &[PathBuf], warnings: &mut Warnings) -> Vec<Library> {
    let mut libraries = Vec::with_capacity(paths.len());
    for path in paths {
        match flags(root, path) {
            Ok(Some(flags)) => libraries.push(Library {
                path: path.clone(),
                flags,
            }),
            Ok(None) => warnings.add(format!("{} is no library of a known machine", path.display())),
            Err(Errno::NOENT) => {}
            Err(error) => warnings.add(format!("{} cannot be read: {error}", path.display())),
        }
    }
    libraries
}

fn flags(root: &Root, path: &Path) -> Result<Option<i32>, Errno> {
    let file = root.file(path)?;
    // Up to and with `e_machine`.
    let mut header = [0; 20];
    let read = file
        .read_at(&mut header, 0)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(flags_of_elf(&header[..read]))
}
