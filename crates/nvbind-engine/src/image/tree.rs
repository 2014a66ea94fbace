//! Files and folders below the root of the calling thread.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

/// Whether a folder, not a link to one, is there.
pub(super) fn is_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Makes the folders on the way to a file where no layer did.
pub(super) fn make_parents(parent: &Path) -> io::Result<()> {
    if parent.is_dir() {
        Ok(())
    } else {
        std::fs::create_dir_all(parent)
    }
}

/// Removes whatever is there; nothing there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = if is_folder(path) {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(error),
        _ => Ok(()),
    }
}

/// Removes what is in a folder but what `spared` names, and the folders that it lies in.
pub(super) fn remove_children(folder: &Path, spared: &HashSet<PathBuf>) -> io::Result<()> {
    if !is_folder(folder) {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if !spared.iter().any(|made| made.starts_with(&path)) {
            remove(&path)?;
        } else if !spared.contains(&path) || is_folder(&path) {
            remove_children(&path, spared)?;
        }
    }
    Ok(())
}
