//! WSL2: one node for all GPUs, and the user-space driver in a store that the Windows host shares.

mod dxcore;

use crate::capability::capabilities_of;
use crate::rootfs::{RootFs, join, split};
use crate::{DriverFile, DriverFiles, ElfClass, Error, FileKind, Library, Link, Platform, elf, libraries, path_order};
use nvbind_config::Roots;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The node of Microsoft's paravirtualized GPU driver (dxgkrnl).
pub const DXG_NODE: &str = "/dev/dxg";

/// Where WSL itself mounts its libraries: looked into first, for images and distributions do not know of it.
pub(crate) const WSL_LIBRARIES: &str = "/usr/lib/wsl/lib";
/// The library that knows the driver stores.
const DXCORE: &str = "libdxcore.so";
/// What a store must hold to be one of NVIDIA's.
const CUDA: &str = "libcuda.so.1.1";
const PROGRAM: &str = "nvidia-smi";
/// Where programs look for it.
const PROGRAM_LINK: &str = "/usr/bin/nvidia-smi";
/// Endings of files of the store besides libraries: GPU code, and what the libraries load.
const DATA: [&str; 2] = [".bin", ".dll"];

/// What the host is, as far as finding a driver goes.
pub fn platform(roots: &Roots) -> Result<Platform, Error> {
    Ok(platform_of(&crate::discover::open_driver_root(roots)?, roots))
}

pub(crate) fn platform_of(root: &RootFs, roots: &Roots) -> Platform {
    let is_wsl = roots.dev_path(Path::new(DXG_NODE)).exists() && dxcore(root).is_some();
    if is_wsl { Platform::Wsl } else { Platform::Linux }
}

fn dxcore(root: &RootFs) -> Option<PathBuf> {
    let usual = root.resolve(&Path::new(WSL_LIBRARIES).join(DXCORE));
    usual.or_else(|| libraries::find_in(root, DXCORE))
}

/// The driver's files, in a container where they are on the host: the libraries look for each other there.
pub(crate) fn driver_files(root: &RootFs, version: Option<&str>) -> Result<DriverFiles, Error> {
    let failed = |reason: String| Error::Wsl(reason);
    let dxcore = dxcore(root).ok_or_else(|| failed(format!("no {DXCORE} in {WSL_LIBRARIES} or a library folder")))?;
    let stores = dxcore::driver_stores(&root.host(&dxcore)).map_err(failed)?;
    let stores: Vec<PathBuf> = stores.iter().filter_map(|store| root.resolve(store)).collect();
    let ours: Vec<PathBuf> = stores
        .into_iter()
        .filter(|store| root.resolve(&store.join(CUDA)).is_some())
        .collect();
    if ours.is_empty() {
        return Err(failed(format!("no adapter has a driver store with {CUDA}")));
    }
    let mut files = DriverFiles {
        version: version.unwrap_or_default().to_owned(),
        platform: Platform::Wsl,
        ..DriverFiles::default()
    };
    files.libraries.extend(library(root, dxcore));
    for store in &ours {
        add_store(root, store, &mut files);
    }
    files.libraries.sort_by(|a, b| path_order(&a.container, &b.container));
    files.files.sort_by(|a, b| path_order(&a.container, &b.container));
    Ok(files)
}

fn add_store(root: &RootFs, store: &Path, files: &mut DriverFiles) {
    for name in root.names(store) {
        let bytes = name.name.as_bytes();
        let Some(path) = root.resolve(&join(store, &name.name)) else {
            continue;
        };
        let kind = if bytes == PROGRAM.as_bytes() {
            FileKind::Binary
        } else if DATA.iter().any(|end| bytes.ends_with(end.as_bytes())) {
            FileKind::Config
        } else {
            files
                .libraries
                .extend(libraries::stem(bytes).and_then(|_| library(root, path)));
            continue;
        };
        if kind == FileKind::Binary && files.links.is_empty() {
            files.links.push(Link {
                link: PROGRAM_LINK.into(),
                target: path.clone(),
            });
        }
        files.files.push(DriverFile {
            host: root.host(&path),
            capabilities: capabilities_of(&path),
            container: path,
            kind,
        });
    }
}

/// A library with the link that `ldconfig` would make; `None` for what is none.
fn library(root: &RootFs, path: PathBuf) -> Option<Library> {
    let host = root.host(&path);
    let class = elf::class(&host)?;
    Some(Library {
        links: soname_link(&host, &path).into_iter().collect(),
        capabilities: match class {
            ElfClass::Elf64 => capabilities_of(&path),
            ElfClass::Elf32 => crate::Capabilities::of(crate::Capability::Compat32),
        },
        host,
        container: path,
        class,
    })
}

/// `libcuda.so.1` for `libcuda.so.1.1`.
fn soname_link(host: &Path, path: &Path) -> Option<Link> {
    let (folder, name) = split(path)?;
    let soname = elf::soname(host)?;
    let is_alias =
        name != OsStr::new(&soname) && libraries::stem(name.as_bytes()) == libraries::stem(soname.as_bytes());
    is_alias.then(|| Link {
        link: folder.join(soname),
        target: name.into(),
    })
}
