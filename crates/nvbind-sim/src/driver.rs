//! The files of a driver: what NVIDIA's installer would have put below `/usr`, `/etc` and `/lib`.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::Error;
use crate::elf::{self, Class};
use crate::kernel::{link, write};
use crate::overlay::Overlay;
use crate::state::{LIBRARY_FOLDER, State};

/// Folder of the 32-bit driver libraries.
const LIBRARY_FOLDER_32: &str = "usr/lib/i386-linux-gnu";

/// A driver library.
struct Library {
    /// File name up to `.so`, with a folder below the library folder where it has one.
    stem: &'static str,
    /// What follows `.so.` in the SONAME; empty where that is the driver version.
    soname: &'static str,
    /// What follows `.so.` in the file name; empty where that is the driver version.
    file: &'static str,
    /// Whether there is a link `<stem>.so` too.
    development_link: bool,
    /// Whether there is a 32-bit one.
    i386: bool,
    /// First driver branch that has it.
    since: u32,
}

/// A library named by the driver version whose SONAME is `<stem>.so.<soname>`.
const fn library(stem: &'static str, soname: &'static str, development_link: bool, i386: bool) -> Library {
    Library {
        stem,
        soname,
        file: "",
        development_link,
        i386,
        since: 0,
    }
}

/// The libraries of the 535 and 570 drivers (contents of NVIDIA's .run package and of Debian's packages).
const LIBRARIES: &[Library] = &[
    library("libcuda", "1", true, true),
    library("libcudadebugger", "1", false, false),
    library("libnvidia-cfg", "1", false, false),
    library("libnvidia-nvvm", "4", true, true),
    library("libnvidia-opencl", "1", false, true),
    library("libnvidia-ptxjitcompiler", "1", true, true),
    library("libnvidia-pkcs11", "", false, false),
    library("libnvidia-pkcs11-openssl3", "", false, false),
    library("libnvidia-allocator", "1", true, true),
    library("libEGL_nvidia", "0", false, true),
    library("libGLX_nvidia", "0", false, true),
    library("libGLESv1_CM_nvidia", "1", false, true),
    library("libGLESv2_nvidia", "2", false, true),
    library("libnvidia-eglcore", "", false, true),
    library("libnvidia-glcore", "", false, true),
    library("libnvidia-glsi", "", false, true),
    library("libnvidia-tls", "", false, true),
    library("libnvidia-glvkspirv", "", false, true),
    library("libnvidia-rtcore", "", false, false),
    library("libnvidia-vulkan-producer", "", true, false),
    library("libnvoptix", "1", false, false),
    library("libnvidia-ngx", "1", true, false),
    library("libnvidia-fbc", "1", true, true),
    library("libnvcuvid", "1", true, true),
    library("libnvidia-encode", "1", true, true),
    library("libnvidia-opticalflow", "1", true, true),
    library("vdpau/libvdpau_nvidia", "1", false, true),
    Library {
        stem: "libnvidia-api",
        soname: "1",
        file: "1",
        development_link: false,
        i386: false,
        since: 0,
    },
    Library {
        stem: "libnvidia-egl-gbm",
        soname: "1",
        file: "1.1.0",
        development_link: false,
        i386: false,
        since: 0,
    },
    Library {
        stem: "libnvidia-egl-wayland",
        soname: "1",
        file: "1.1.11",
        development_link: false,
        i386: false,
        since: 0,
    },
    Library {
        stem: "libnvidia-gpucomp",
        soname: "",
        file: "",
        development_link: false,
        i386: true,
        since: 545,
    },
    Library {
        stem: "libnvidia-sandboxutils",
        soname: "1",
        file: "",
        development_link: false,
        i386: false,
        since: 560,
    },
];

/// Links in the 64-bit library folder whose names follow no rule.
const LINKS: &[(&str, &str)] = &[
    ("libGLX_indirect.so.0", "libGLX_nvidia.so.0"),
    ("gbm/nvidia-drm_gbm.so", "../libnvidia-allocator.so.1"),
];

/// Programs. `nvidia-smi` is not among them: it comes with an overlay, or there is none.
const PROGRAMS: &[&str] = &[
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
    "nvidia-modprobe",
];

/// Configuration and data files; `{version}` stands for the driver version.
const FILES: &[(&str, &str)] = &[
    (
        "usr/share/glvnd/egl_vendor.d/10_nvidia.json",
        r#"{"file_format_version": "1.0.0", "ICD": {"library_path": "libEGL_nvidia.so.0"}}"#,
    ),
    (
        "usr/share/vulkan/icd.d/nvidia_icd.json",
        r#"{"file_format_version": "1.0.0", "ICD": {"library_path": "libGLX_nvidia.so.0", "api_version": "1.3.242"}}"#,
    ),
    (
        "usr/share/vulkan/implicit_layer.d/nvidia_layers.json",
        r#"{"file_format_version": "1.0.0", "layer": {"name": "VK_LAYER_NV_optimus", "type": "INSTANCE", "library_path": "libGLX_nvidia.so.0", "api_version": "1.3.242", "implementation_version": "1", "description": "NVIDIA Optimus layer", "functions": {"vkGetInstanceProcAddr": "vk_optimusGetInstanceProcAddr", "vkGetDeviceProcAddr": "vk_optimusGetDeviceProcAddr"}, "enable_environment": {"__NV_PRIME_RENDER_OFFLOAD": "1"}, "disable_environment": {"DISABLE_LAYER_NV_OPTIMUS_1": ""}}}"#,
    ),
    (
        "usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json",
        r#"{"file_format_version": "1.0.0", "ICD": {"library_path": "libnvidia-egl-gbm.so.1"}}"#,
    ),
    (
        "usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json",
        r#"{"file_format_version": "1.0.0", "ICD": {"library_path": "libnvidia-egl-wayland.so.1"}}"#,
    ),
    ("etc/OpenCL/vendors/nvidia.icd", "libnvidia-opencl.so.1\n"),
    (
        "usr/share/nvidia/nvidia-application-profiles-{version}-rc",
        "{\"rules\": [], \"profiles\": []}\n",
    ),
    (
        "usr/share/nvidia/nvidia-application-profiles-{version}-key-documentation",
        "{}\n",
    ),
    ("usr/share/nvidia/nvoptix.bin", PLACEHOLDER),
    ("usr/lib/x86_64-linux-gnu/nvidia/wine/nvngx.dll", PLACEHOLDER),
    ("usr/lib/x86_64-linux-gnu/nvidia/wine/_nvngx.dll", PLACEHOLDER),
    ("lib/firmware/nvidia/{version}/gsp_tu10x.bin", PLACEHOLDER),
    ("lib/firmware/nvidia/{version}/gsp_ga10x.bin", PLACEHOLDER),
];

/// Content of files that only hardware or NVIDIA's own code could read.
const PLACEHOLDER: &str = "a simulated machine's driver has nothing here\n";

/// Sockets of the driver's daemons.
const PERSISTENCED_SOCKET: &str = "run/nvidia-persistenced/socket";
const FABRICMANAGER_SOCKET: &str = "run/nvidia-fabricmanager/socket";

/// Makes the driver's files, each unless the overlay brings the real one.
pub(crate) fn make(root: &Path, state: &State, overlay: Option<&Overlay>) -> Result<(), Error> {
    let version = &state.profile.driver_version;
    let brings = |class, name: &str| overlay.is_some_and(|overlay| overlay.has_library(class, name));
    for (library, class) in libraries(version) {
        let soname = library.soname_file(version);
        if !brings(class, file_name(&soname)) {
            make_library(root, class, library, version)?;
        }
    }
    for (path, target) in LINKS.iter().filter(|(path, _)| !brings(Class::Elf64, file_name(path))) {
        link(root, &format!("{LIBRARY_FOLDER}/{path}"), target)?;
    }
    let missing = |path: &str| !overlay.is_some_and(|overlay| overlay.has_file(file_name(path)));
    for program in PROGRAMS.iter().filter(|program| missing(program)) {
        make_program(root, "usr/bin", program)?;
    }
    for (path, content) in FILES {
        let path = path.replace("{version}", version);
        if missing(&path) {
            write(&root.join(path), content)?;
        }
    }
    make_socket(root, PERSISTENCED_SOCKET)?;
    if state.profile.nvswitches > 0 {
        make_socket(root, FABRICMANAGER_SOCKET)?;
    }
    Ok(())
}

/// Every library of this driver version with the class to make it in.
fn libraries(version: &str) -> impl Iterator<Item = (&'static Library, Class)> {
    let branch: u32 = version
        .split('.')
        .next()
        .and_then(|branch| branch.parse().ok())
        .unwrap_or(0);
    let present = LIBRARIES.iter().filter(move |library| library.since <= branch);
    present.flat_map(|library| {
        let i386 = library.i386.then_some((library, Class::Elf32));
        std::iter::once((library, Class::Elf64)).chain(i386)
    })
}

impl Library {
    fn soname_file(&self, version: &str) -> String {
        format!(
            "{}.so.{}",
            self.stem,
            if self.soname.is_empty() { version } else { self.soname }
        )
    }

    fn file(&self, version: &str) -> String {
        format!(
            "{}.so.{}",
            self.stem,
            if self.file.is_empty() { version } else { self.file }
        )
    }
}

fn make_library(root: &Path, class: Class, library: &Library, version: &str) -> Result<(), Error> {
    let folder = match class {
        Class::Elf64 => LIBRARY_FOLDER,
        Class::Elf32 => LIBRARY_FOLDER_32,
    };
    let (file, soname) = (library.file(version), library.soname_file(version));
    let path = root.join(folder).join(&file);
    write(&path, stub(class, file_name(&soname), &path)?)?;
    if soname != file {
        link(root, &format!("{folder}/{soname}"), file_name(&file))?;
    }
    if library.development_link {
        link(root, &format!("{folder}/{}.so", library.stem), file_name(&soname))?;
    }
    Ok(())
}

/// A library stub; an ELF writer that refuses is told with the file that it was for.
pub(crate) fn stub(class: Class, soname: &str, path: &Path) -> Result<Vec<u8>, Error> {
    elf::library(class, soname).map_err(|error| Error::io("write", path)(std::io::Error::other(error)))
}

/// A program that only says what it is.
pub(crate) fn make_program(root: &Path, folder: &str, name: &str) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let path = root.join(folder).join(name);
    let message = format!("{name}: part of a simulated driver, it does nothing\n");
    let program = elf::program(&message).map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
    write(&path, program)?;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).map_err(Error::io("set the mode of", &path))
}

fn make_socket(root: &Path, path: &str) -> Result<(), Error> {
    let path = root.join(path);
    let folder = path.parent().unwrap_or(root);
    std::fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
    mknodat(CWD, &path, FileType::Socket, Mode::from_raw_mode(0o666), 0).map_err(Error::io("make the socket", &path))
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
