//! musl's search path, `/etc/ld-musl-<machine>.path`, in images of Alpine and its like.

use super::Warnings;
use super::library::Library;
use super::root::Root;
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Largest path file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Where musl looks when the file is not there (`DYNLINK_PATH` in its `ldso/dynlink.c`).
const DEFAULT_PATH: &[u8] = b"/lib:/usr/local/lib:/usr/lib";

/// musl's name for a machine, and the flags of its libraries in glibc's cache.
const MACHINES: [(&str, i32); 3] = [("x86_64", 0x0303), ("aarch64", 0x0a03), ("i386", 0x0003)];

/// Adds the folders of the libraries for each machine that the image has musl for.
pub(crate) fn update(root: &Root, libraries: &[Library], warnings: &mut Warnings) {
    for (machine, flags) in MACHINES {
        let folders = folders(libraries, flags);
        if folders.is_empty() || !has_musl(root, machine) {
            continue;
        }
        if let Err(error) = add(root, machine, &folders) {
            warnings.add(format!(
                "/etc/ld-musl-{machine}.path not written: {error}; set LD_LIBRARY_PATH instead"
            ));
        }
    }
}

fn has_musl(root: &Root, machine: &str) -> bool {
    let alpine = machine == std::env::consts::ARCH && root.exists(Path::new("/etc/alpine-release"));
    alpine || root.exists(Path::new(&format!("/lib/ld-musl-{machine}.so.1")))
}

/// The folders of the libraries of a machine, in order, each once.
fn folders(libraries: &[Library], flags: i32) -> Vec<&[u8]> {
    let mut folders = Vec::new();
    for library in libraries.iter().filter(|library| library.flags == flags) {
        let Some(folder) = library.path.parent().map(|folder| folder.as_os_str().as_bytes()) else {
            continue;
        };
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

fn add(root: &Root, machine: &str, folders: &[&[u8]]) -> Result<(), Errno> {
    let name = format!("ld-musl-{machine}.path");
    let etc = root.make_folder(Path::new("/etc"))?;
    let mut text = etc.read(&name, MAX_BYTES)?.unwrap_or_else(|| DEFAULT_PATH.to_vec());
    let known = |text: &[u8], folder: &[u8]| text.split(|byte| matches!(byte, b':' | b'\n')).any(|old| old == folder);
    let missing: Vec<_> = folders.iter().filter(|folder| !known(&text, folder)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for folder in missing {
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(folder);
    }
    text.push(b'\n');
    etc.write(&name, &text)
}
