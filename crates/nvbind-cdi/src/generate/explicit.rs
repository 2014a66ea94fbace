//! Libraries that programs link against without a driver version (`enable-explicit-driver-libraries`).

use crate::link::resolve;
use nvbind_config::Roots;
use nvbind_gpu::{DriverFiles, ElfClass, Library, Link, capabilities_of};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The libraries that the flag of `nvidia-ctk` stands for.
const NAMES: [&str; 11] = [
    "libEGL.so",
    "libGL.so",
    "libGLESv1_CM.so",
    "libGLESv2.so",
    "libGLX.so",
    "libGLdispatch.so",
    "libOpenCL.so",
    "libOpenGL.so",
    "libnvidia-api.so",
    "libnvidia-egl-xcb.so",
    "libnvidia-egl-xlib.so",
];

/// Most links between a name and its file, the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Those of the libraries that lie in the folders of the driver's own.
pub(super) fn libraries(roots: &Roots, files: &DriverFiles) -> Vec<Library> {
    let folders: BTreeSet<(&Path, bool)> = files
        .libraries
        .iter()
        .filter_map(|library| Some((library.container.parent()?, library.class == ElfClass::Elf32)))
        .collect();
    let paths = folders
        .iter()
        .flat_map(|(folder, is_32)| NAMES.map(|name| (folder.join(name), *is_32)));
    paths
        .filter_map(|(path, is_32)| library(roots, path, if is_32 { ElfClass::Elf32 } else { ElfClass::Elf64 }))
        .collect()
}

/// Follows the links of a name below the driver root to the file.
fn library(roots: &Roots, name: PathBuf, class: ElfClass) -> Option<Library> {
    let mut links = Vec::new();
    let mut path = name;
    while let Ok(target) = std::fs::read_link(roots.driver_path(&path)) {
        let next = resolve(&path, &target);
        links.push(Link { link: path, target });
        path = next;
        if links.len() > MAX_LINKS {
            return None;
        }
    }
    let host = roots.driver_path(&path);
    let capabilities = capabilities_of(&path);
    host.is_file().then_some(Library {
        host,
        container: path,
        links,
        class,
        capabilities,
    })
}
