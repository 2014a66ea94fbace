//! glibc's `/etc/ld.so.cache`: the image's entries stay, the driver's are added.

use super::Warnings;
use super::library::Library;
use super::root::Root;
use nvbind_gpu::ldcache::{LdCache, MAX_BYTES, parse};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const FOLDER: &str = "/etc";
const NAME: &str = "ld.so.cache";

/// Puts the libraries into the cache, in images without one too.
pub(crate) fn update(root: &Root, libraries: &[Library], warnings: &mut Warnings) {
    if libraries.is_empty() {
        return;
    }
    if let Err(error) = try_update(root, libraries, warnings) {
        warnings.add(format!(
            "{FOLDER}/{NAME} not written: {error}; set LD_LIBRARY_PATH to the driver's folder"
        ));
    }
}

fn try_update(root: &Root, libraries: &[Library], warnings: &mut Warnings) -> Result<(), Errno> {
    let folder = root.make_folder(Path::new(FOLDER))?;
    let old = folder.read(NAME, MAX_BYTES as u64).unwrap_or_else(|error| {
        warnings.add(format!("the image's {FOLDER}/{NAME} is replaced: {error}"));
        None
    });
    let mut cache = old.as_deref().map(parse).transpose().unwrap_or_else(|error| {
        warnings.add(format!("the image's {FOLDER}/{NAME} is replaced: {error}"));
        None
    });
    let new = merge(cache.get_or_insert_default(), libraries);
    if old.is_some_and(|old| old == new) {
        return Ok(());
    }
    folder.write(NAME, &new)
}

/// Adds the libraries. What the cache says about the same files and about other files of the same names goes: a container that
/// was started before must not find the driver of that time, nor the image its own.
fn merge(cache: &mut LdCache, libraries: &[Library]) -> Vec<u8> {
    let named: Vec<(&[u8], &Library)> = libraries
        .iter()
        .filter_map(|library| Some((library.path.file_name()?.as_bytes(), library)))
        .collect();
    let paths: HashSet<&[u8]> = libraries
        .iter()
        .map(|library| library.path.as_os_str().as_bytes())
        .collect();
    let names: HashSet<(&[u8], i32)> = named.iter().map(|(name, library)| (*name, library.flags)).collect();
    cache.entries.retain(|entry| {
        !paths.contains(entry.value.as_slice()) && !names.contains(&(entry.key.as_slice(), entry.flags))
    });
    // The first of two with one name is the one that is found, as in a search path.
    for (name, library) in named.iter().rev() {
        cache.add(name, library.path.as_os_str().as_bytes(), library.flags);
    }
    cache.to_bytes()
}
