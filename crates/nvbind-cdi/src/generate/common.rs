//! What every container with a GPU needs: the driver's files and control nodes, and the hook.

use super::device::{add_node, sort, sort_by_depth};
use super::{GenerateOptions, explicit, hook};
use crate::mount_options::{self, MountOption};
use crate::{Edits, Error, Mount, annotation};
use nvbind_config::Roots;
use nvbind_gpu::{DriverFile, DriverFiles, ElfClass, FileKind, Host, Library, Link, Platform};
use std::path::Path;

/// Tells a runtime shim further down the line that the devices are there already.
const VOID: &str = "NVIDIA_VISIBLE_DEVICES=void";

/// Names the folders of `libcuda`.
const LIBCUDA_DIR: &str = "NVIDIA_CTK_LIBCUDA_DIR";

/// The edits common to all devices; `device_links` are the links to nodes of single devices.
pub(super) fn edits(
    roots: &Roots,
    files: &DriverFiles,
    device_links: &[Link],
    host: &Host,
    options: &GenerateOptions,
) -> Result<Edits, Error> {
    let mut edits = Edits {
        env: vec![VOID.to_owned()],
        ..Edits::default()
    };
    for node in &files.nodes {
        // A control node that is not there belongs to a module that is not loaded.
        add_node(&mut edits, &node.container, &node.host, options);
    }
    sort(&mut edits);
    let explicit = if options.explicit_driver_libraries {
        explicit::libraries(roots, files)
    } else {
        Vec::new()
    };
    let libraries: Vec<&Library> = files.libraries.iter().chain(&explicit).collect();
    edits.env.extend(cuda_folders(&libraries, files.platform));
    edits.mounts = mounts(&libraries, files, options);
    let links = libraries.iter().flat_map(|library| &library.links).chain(&files.links);
    let links: Vec<&Link> = links.collect();
    let mut steps = options.hooks;
    // WSL2 has no kernel module with parameters of that kind.
    steps.disable_device_node_modification &= files.platform == Platform::Linux;
    let hook = hook::of(&libraries, &links, device_links, steps, &options.hook_path)?;
    edits.hooks.extend(hook);
    if steps.enable_cuda_compat {
        annotation::tell_hook(&mut edits, host);
    }
    Ok(edits)
}

/// Tells programs which folders have `libcuda`, as `nvidia-ctk` does.
fn cuda_folders(libraries: &[&Library], platform: Platform) -> Option<String> {
    let is_cuda = |library: &&&Library| library.class == ElfClass::Elf64 && library.stem() == Some("libcuda");
    let folders = libraries
        .iter()
        .filter(is_cuda)
        .filter_map(|library| library.container.parent());
    let mut folders: Vec<&str> = folders.filter_map(Path::to_str).collect();
    folders.dedup();
    let is_told = platform == Platform::Linux && !folders.is_empty();
    is_told.then(|| format!("{LIBCUDA_DIR}={}", folders.join(":")))
}

fn mounts(libraries: &[&Library], files: &DriverFiles, options: &GenerateOptions) -> Vec<Mount> {
    let of_libraries = libraries
        .iter()
        .map(|library| mount(&library.host, &library.container, mount_options::FILE));
    let is_wanted = |file: &&DriverFile| options.ipc_sockets || file.kind != FileKind::Socket;
    let of_files = files
        .files
        .iter()
        .filter(is_wanted)
        .map(|file| mount(&file.host, &file.container, options_of(file.kind)));
    let mut mounts: Vec<Mount> = of_libraries.chain(of_files).collect();
    sort_by_depth(&mut mounts, |mount| &mount.container_path);
    mounts.dedup_by(|a, b| a.container_path.as_os_str() == b.container_path.as_os_str());
    mounts
}

fn options_of(kind: FileKind) -> &'static [MountOption] {
    match kind {
        FileKind::Socket => mount_options::SOCKET,
        FileKind::Binary | FileKind::Config | FileKind::Firmware => mount_options::FILE,
    }
}

pub(super) fn mount(host: &Path, container: &Path, options: &'static [MountOption]) -> Mount {
    Mount {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        options: options.into(),
        kind: None,
    }
}
