//! Files of an engine, read whole and replaced in one step.

use super::Error;
use rustix::fs::{Gid, Mode, Uid};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Mode of a file that was not there: engines' configuration is for everyone to read.
const NEW_MODE: u32 = 0o644;

/// The text of a file; `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Replaces a file, or the file that a link leads to: a temporary one beside it, with its mode and owner, synced, then a
/// rename. Missing folders are made; their paths are returned, the outermost first.
pub(super) fn write(path: &Path, text: &str) -> Result<Vec<PathBuf>, Error> {
    let path = &target(path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made = make_folders(folder)?;
    remove_litter(path);
    let temporary = folder.join(format!("{}{}", temporary_prefix(path), std::process::id()));
    let done = write_temporary(&temporary, path, text).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = done {
        let _ = fs::remove_file(&temporary);
        return Err(failed("write", path, error));
    }
    sync(folder).map_err(|error| failed("write", path, error))?;
    Ok(made)
}

/// Removes a file, and those of the folders that are empty then.
pub(super) fn remove(path: &Path, folders: &[PathBuf]) -> Result<(), Error> {
    remove_litter(path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path, error)),
        _ => {}
    }
    for folder in folders.iter().rev() {
        // Others may have put something there.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// What a link leads to, so that the link stays one.
fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn make_folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|folder| !folder.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    fs::create_dir_all(folder).map_err(|error| failed("make", folder, error))?;
    Ok(missing)
}

fn temporary_prefix(path: &Path) -> String {
    format!(".{}.nvbind-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes what a killed process left of a file: the records' lock says that no living one is at it.
fn remove_litter(path: &Path) {
    let prefix = temporary_prefix(path);
    let entries = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // What cannot be removed harms no one.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn write_temporary(temporary: &Path, old: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    file.write_all(text.as_bytes())?;
    let mode = match fs::metadata(old) {
        Ok(old) => {
            rustix::fs::fchown(&file, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())))?;
            old.mode() & 0o7777
        }
        Err(_) => NEW_MODE,
    };
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The error of a file operation.
pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
