//! The driver's files that are not libraries: programs, configs, firmware, sockets, control nodes.

use crate::capability::capabilities_of;
use crate::rootfs::{RootFs, join};
use crate::{DriverFile, FileKind, Library, Node};
use nvbind_config::Roots;
use std::path::{Path, PathBuf};

/// Folders of programs; the last is where Debian keeps them when its alternatives are not set up.
const PROGRAM_FOLDERS: [&str; 7] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/lib/nvidia/current",
];

const PROGRAMS: [&str; 10] = [
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
    "nvidia-imex",
    "nvidia-imex-ctl",
    "nvidia-xconfig",
    "nvidia-settings",
    "nvidia-ngx-updater",
];

/// Folders of configs: `/etc` and the default of `XDG_DATA_DIRS`.
const CONFIG_FOLDERS: [&str; 3] = ["/etc", "/usr/local/share", "/usr/share"];

/// Configs by the folder that they go to in a container, wherever the host has them; `{v}` is the driver version.
const CONFIGS: [(&str, &str); 20] = [
    ("/usr/share", "glvnd/egl_vendor.d/10_nvidia.json"),
    ("/usr/share", "egl/egl_external_platform.d/15_nvidia_gbm.json"),
    ("/usr/share", "egl/egl_external_platform.d/10_nvidia_wayland.json"),
    ("/usr/share", "egl/egl_external_platform.d/09_nvidia_wayland2.json"),
    ("/usr/share", "egl/egl_external_platform.d/20_nvidia_xcb.json"),
    ("/usr/share", "egl/egl_external_platform.d/20_nvidia_xlib.json"),
    ("/usr/share", "nvidia/nvoptix.bin"),
    ("/usr/share", "nvidia/nvidia-application-profiles-{v}-rc"),
    ("/usr/share", "nvidia/nvidia-application-profiles-{v}-key-documentation"),
    ("/usr/share", "nvidia/nvidia-ngx-conf.json"),
    ("/usr/share", "X11/xorg.conf.d/10-nvidia.conf"),
    ("/usr/share", "X11/xorg.conf.d/nvidia-drm-outputclass.conf"),
    ("/etc", "OpenCL/vendors/nvidia.icd"),
    ("/etc", "vulkan/icd.d/nvidia_icd.json"),
    ("/etc", "vulkan/icd.d/nvidia_icd.x86_64.json"),
    ("/etc", "vulkan/icd.d/nvidia_icd.aarch64.json"),
    ("/etc", "vulkan/icd.d/nvidia_icd.i686.json"),
    ("/etc", "vulkan/icd.d/nvidia_layers.json"),
    ("/etc", "vulkan/implicit_layer.d/nvidia_layers.json"),
    ("/etc", "vulkansc/icd.d/nvidia_icd_vksc.json"),
];

/// Files that lie beside a library: the library's name, the file from its folder.
const BESIDE_LIBRARIES: [(&str, &str); 1] = [("libnvoptix", "nvoptix.bin")];
/// The folder of DLLs for Wine and Proton (DLSS), from the folder of `libGLX_nvidia`.
const WINE_FOLDER: &str = "nvidia/wine";

/// Sockets of the driver's daemons: places on a host in order of preference. `/var/run` is `/run` in most images.
const SOCKETS: [&[&str]; 3] = [
    &["/run/nvidia-persistenced/socket", "/var/run/nvidia-persistenced/socket"],
    &[
        "/run/nvidia-fabricmanager/socket",
        "/var/run/nvidia-fabricmanager/socket",
    ],
    &["/tmp/nvidia-mps"],
];

const CONTROL_NODES: [&str; 4] = [
    "/dev/nvidia-modeset",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-uvm",
    "/dev/nvidiactl",
];

/// Every file for that driver version.
pub(crate) fn files(
    root: &RootFs,
    roots: &Roots,
    version: &str,
    config_paths: &[PathBuf],
    libraries: &[Library],
) -> Vec<DriverFile> {
    let mut files = programs(root);
    files.extend(configs(root, version, config_paths));
    files.extend(beside_libraries(root, libraries, &files));
    files.extend(firmware(root, roots, version));
    files.extend(sockets(root));
    files
}

/// The control nodes that exist.
pub(crate) fn control_nodes(roots: &Roots) -> Vec<Node> {
    let nodes = CONTROL_NODES.map(|path| {
        let container = PathBuf::from(path);
        Node {
            host: roots.dev_path(&container),
            capabilities: capabilities_of(&container),
            container,
        }
    });
    nodes.into_iter().filter(|node| node.host.exists()).collect()
}

fn file(root: &RootFs, real: &Path, container: PathBuf, kind: FileKind) -> DriverFile {
    DriverFile {
        host: root.host(real),
        capabilities: capabilities_of(&container),
        container,
        kind,
    }
}

fn programs(root: &RootFs) -> Vec<DriverFile> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in PROGRAM_FOLDERS
        .iter()
        .filter_map(|folder| root.resolve(Path::new(folder)))
    {
        // `/bin` is `/usr/bin` on most hosts.
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let program = |name: &str| {
        let real = folders
            .iter()
            .find_map(|folder| root.resolve(&join(folder, name.as_ref())))?;
        Some(file(
            root,
            &real,
            join(Path::new("/usr/bin"), name.as_ref()),
            FileKind::Binary,
        ))
    };
    PROGRAMS.iter().filter_map(|name| program(name)).collect()
}

fn configs(root: &RootFs, version: &str, extra: &[PathBuf]) -> Vec<DriverFile> {
    let config = |(target, name): &(&str, &str)| {
        let name = name.replace("{v}", version);
        let mut folders = extra
            .iter()
            .map(PathBuf::as_path)
            .chain(CONFIG_FOLDERS.iter().map(Path::new));
        let real = folders.find_map(|folder| root.resolve(&join(folder, name.as_ref())))?;
        Some(file(
            root,
            &real,
            join(Path::new(target), name.as_ref()),
            FileKind::Config,
        ))
    };
    CONFIGS.iter().filter_map(config).collect()
}

/// Data that a library looks for in its own folder, unless it was found in the usual place (`nvoptix.bin`).
fn beside_libraries(root: &RootFs, libraries: &[Library], found: &[DriverFile]) -> Vec<DriverFile> {
    let mut files = Vec::new();
    for library in libraries {
        let (Some(folder), Some(stem)) = (library.container.parent(), library.stem()) else {
            continue;
        };
        for (_, name) in BESIDE_LIBRARIES.iter().filter(|(of, _)| *of == stem) {
            let elsewhere = found.iter().any(|file| file.container.ends_with(name));
            let real = root.resolve(&folder.join(name)).filter(|_| !elsewhere);
            files.extend(real.map(|real| file(root, &real, folder.join(name), FileKind::Config)));
        }
        if stem == "libGLX_nvidia" {
            files.extend(wine(root, &folder.join(WINE_FOLDER)));
        }
    }
    files
}

fn wine(root: &RootFs, folder: &Path) -> Vec<DriverFile> {
    let mut dlls: Vec<PathBuf> = root
        .names(folder)
        .into_iter()
        .map(|name| folder.join(name.name))
        .collect();
    dlls.retain(|path| path.extension().is_some_and(|extension| extension == "dll"));
    dlls.sort();
    dlls.into_iter()
        .filter_map(|dll| Some(file(root, &root.resolve(&dll)?, dll, FileKind::Config)))
        .collect()
}

/// `gsp*.bin` in the kernel's firmware search order: the first folder that has the version's firmware counts.
fn firmware(root: &RootFs, roots: &Roots, version: &str) -> Vec<DriverFile> {
    let read = |path: PathBuf| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let custom = read(roots.sys.join("module/firmware_class/parameters/path"));
    let kernel = read(roots.proc.join("sys/kernel/osrelease"));
    let search = [
        custom,
        format!("/lib/firmware/updates/{kernel}"),
        "/lib/firmware/updates".to_owned(),
        format!("/lib/firmware/{kernel}"),
        "/lib/firmware".to_owned(),
    ];
    let folders = search
        .iter()
        .filter(|path| path.starts_with('/'))
        .map(|path| Path::new(path).join("nvidia").join(version));
    for folder in folders {
        let Some(real) = root.resolve(&folder) else {
            continue;
        };
        let mut names: Vec<PathBuf> = root.names(&real).into_iter().map(|name| name.name.into()).collect();
        names.retain(|name| {
            name.to_str()
                .is_some_and(|name| name.starts_with("gsp") && name.ends_with(".bin"))
        });
        names.sort();
        if !names.is_empty() {
            let found = names
                .iter()
                .filter_map(|name| root.resolve(&real.join(name)).map(|real| (real, name)));
            return found
                .map(|(real, name)| file(root, &real, folder.join(name), FileKind::Firmware))
                .collect();
        }
    }
    Vec::new()
}

fn sockets(root: &RootFs) -> Vec<DriverFile> {
    let socket = |places: &&[&str]| {
        let (place, real) = places
            .iter()
            .find_map(|place| Some((place, root.resolve(Path::new(place))?)))?;
        Some(file(root, &real, place.into(), FileKind::Socket))
    };
    SOCKETS.iter().filter_map(socket).collect()
}
