//! The driver's files on a host, each with its place in a container.

use crate::rootfs::RootFs;
use crate::{Capabilities, Error, datafiles, libraries, wsl};
use nvbind_config::Roots;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The user-space driver as found: what containers may need of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverFiles {
    /// Driver version that the libraries carry in their names.
    pub version: String,
    /// The kind of host that they are of.
    pub platform: Platform,
    /// The libraries, sorted by container path.
    pub libraries: Vec<Library>,
    /// Binaries, configs, firmware and sockets.
    pub files: Vec<DriverFile>,
    /// Links that lead to no library.
    pub links: Vec<Link>,
    /// Control nodes that exist, as `/dev/nvidiactl`.
    pub nodes: Vec<Node>,
}

/// How a host has its driver and its GPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Platform {
    /// Linux with NVIDIA's kernel modules: a node for each GPU.
    #[default]
    Linux,
    /// WSL2: one node for all GPUs, the driver in a store of the Windows host.
    Wsl,
}

/// One shared library of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The real file on the host.
    pub host: PathBuf,
    /// Where it goes in a container.
    pub container: PathBuf,
    /// The links that lead to it (SONAME, development name, aliases).
    pub links: Vec<Link>,
    /// 64-bit or 32-bit.
    pub class: ElfClass,
    /// The capabilities that need it.
    pub capabilities: Capabilities,
}

/// A symbolic link to make in a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Path of the link in the container.
    pub link: PathBuf,
    /// What it points at, as `ln -s` would write it.
    pub target: PathBuf,
}

/// Word size of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfClass {
    /// 64-bit.
    Elf64,
    /// 32-bit.
    Elf32,
}

/// A file of the driver that is not a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverFile {
    /// The real file (or socket, or folder) on the host.
    pub host: PathBuf,
    /// Where it goes in a container.
    pub container: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// The capabilities that need it.
    pub capabilities: Capabilities,
}

/// What a driver file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A program.
    Binary,
    /// A configuration or data file.
    Config,
    /// Firmware that the driver's user space reads.
    Firmware,
    /// A socket (or folder of sockets) of a driver daemon: mounted without `ro`.
    Socket,
}

/// A control node of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node on the host.
    pub host: PathBuf,
    /// Its path in a container.
    pub container: PathBuf,
    /// The capabilities that need it.
    pub capabilities: Capabilities,
}

/// Where else to look for driver files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchOptions {
    /// The kind of host; found out when not said.
    pub platform: Option<Platform>,
    /// More library folders, as paths in a container (below the driver root), searched first.
    pub library_paths: Vec<PathBuf>,
    /// More folders for configs, as paths in a container (below the driver root), searched first.
    pub config_paths: Vec<PathBuf>,
}

impl Library {
    /// The name before `.so`, as `libnvidia-ml`.
    pub fn stem(&self) -> Option<&str> {
        let name = self.container.file_name()?.to_str()?;
        name.split_once(".so").map(|(stem, _)| stem)
    }

    /// The paths by which the dynamic loader is to know the library (`ld.so.cache` entries): its links with a version
    /// (`libcuda.so.1`), or the file itself when no such link leads to it.
    pub fn loader_paths(&self) -> Vec<&Path> {
        let versioned = |path: &&Path| {
            path.file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|name| name.contains(".so."))
        };
        let links: Vec<&Path> = self
            .links
            .iter()
            .map(|link| link.link.as_path())
            .filter(versioned)
            .collect();
        if links.is_empty() { vec![&self.container] } else { links }
    }
}

/// The order of paths by their parts, as `Path` has it, for absolute paths without `.` and `..`; much faster.
pub fn path_order(a: &Path, b: &Path) -> Ordering {
    // A part ends before everything that could follow in a longer one.
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    let (a, b) = (a.as_os_str().as_bytes(), b.as_os_str().as_bytes());
    // Paths of one folder have much in common: that is passed over in steps of a machine word.
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    let same = 8 * words.take_while(|(a, b)| a == b).count();
    let differing = a[same..].iter().zip(&b[same..]).find(|(a, b)| a != b);
    differing.map_or_else(|| a.len().cmp(&b.len()), |(a, b)| rank(*a).cmp(&rank(*b)))
}

/// The folders on the host in which driver libraries are looked for, of those that exist: a driver that is installed,
/// replaced or removed changes one of them.
pub fn driver_folders(roots: &Roots, options: &SearchOptions) -> Result<Vec<PathBuf>, Error> {
    let root = crate::discover::open_driver_root(roots)?;
    let folders = libraries::folders(&root, &options.library_paths);
    Ok(folders.iter().map(|folder| root.host(folder.path())).collect())
}

/// Finds the driver's files below the driver root: those of that version, or without one those of the newest there.
pub fn driver_files(roots: &Roots, version: Option<&str>, options: &SearchOptions) -> Result<DriverFiles, Error> {
    let root = crate::discover::open_driver_root(roots)?;
    match options.platform.unwrap_or_else(|| wsl::platform_of(&root, roots)) {
        Platform::Wsl => wsl::driver_files(&root, version),
        Platform::Linux => files_of_linux(&root, roots, version, options),
    }
}

fn files_of_linux(
    root: &RootFs,
    roots: &Roots,
    version: Option<&str>,
    options: &SearchOptions,
) -> Result<DriverFiles, Error> {
    let folders = libraries::folders(root, &options.library_paths);
    let missing = || Error::NoDriver(roots.driver.clone());
    let version = version
        .map(str::to_owned)
        .or_else(|| libraries::version(&folders))
        .ok_or_else(missing)?;
    let libraries = libraries::libraries(root, &folders, &version);
    let ours = |library: &Library| library.container.to_string_lossy().ends_with(&version);
    if !libraries.iter().any(ours) {
        let found = libraries::version(&folders);
        return Err(found.map_or_else(missing, |found| Error::OtherDriver {
            root: roots.driver.clone(),
            version,
            found,
        }));
    }
    let files = datafiles::files(root, roots, &version, &options.config_paths, &libraries);
    Ok(DriverFiles {
        version,
        platform: Platform::Linux,
        libraries,
        files,
        links: Vec::new(),
        nodes: datafiles::control_nodes(roots),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ordered_as_the_standard_library_does() {
        let paths = [
            "/usr/lib",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
            "/usr/lib/x86_64-linux-gnu/libcuda.so",
            "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.1",
            "/usr/lib/x86_64-linux-gnu/nvidia-535/libcuda.so.1",
            "/usr/lib/x86_64-linux-gnu/nvidia.d/libcuda.so.1",
            "/usr/lib64/libcuda.so.1",
            "/",
        ];
        for a in paths.map(Path::new) {
            for b in paths.map(Path::new) {
                assert_eq!(path_order(a, b), a.cmp(b), "{} {}", a.display(), b.display());
            }
        }
    }
}
