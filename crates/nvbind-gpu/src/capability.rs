//! Driver capabilities: the words of `NVIDIA_DRIVER_CAPABILITIES`, and which driver file belongs to which.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use Capability::{Compute, Display, Graphics, Ngx, Utility, Video};

/// One driver capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// CUDA and OpenCL.
    Compute,
    /// 32-bit libraries.
    Compat32,
    /// OpenGL, EGL, Vulkan, OptiX.
    Graphics,
    /// `nvidia-smi` and NVML.
    Utility,
    /// NVENC, NVDEC, VDPAU.
    Video,
    /// X11 and display output.
    Display,
    /// NGX (DLSS).
    Ngx,
}

/// Every capability with the word that `NVIDIA_DRIVER_CAPABILITIES` uses for it.
pub const WORDS: [(Capability, &str); 7] = [
    (Capability::Compute, "compute"),
    (Capability::Compat32, "compat32"),
    (Capability::Graphics, "graphics"),
    (Capability::Utility, "utility"),
    (Capability::Video, "video"),
    (Capability::Display, "display"),
    (Capability::Ngx, "ngx"),
];

/// A set of driver capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// Every capability (`all`).
    pub const ALL: Self = Self(0x7f);
    /// What the container toolkit gives when nothing is said: `utility,compute`.
    pub const DEFAULT: Self = Self(1 << Capability::Utility as u8 | 1 << Capability::Compute as u8);

    /// The set of one.
    pub const fn of(capability: Capability) -> Self {
        Self(1 << capability as u8)
    }

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether any capability is in both sets.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether `capability` is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }
}

/// A word in `NVIDIA_DRIVER_CAPABILITIES` that names no capability.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown driver capability '{0}': use all or some of compute, compat32, graphics, utility, video, display, ngx"
)]
pub struct UnknownCapability(pub String);

impl FromStr for Capabilities {
    type Err = UnknownCapability;

    /// Reads the value of `NVIDIA_DRIVER_CAPABILITIES`; empty means the default.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let mut set = Self::NONE;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word == "all" {
                return Ok(Self::ALL);
            }
            let found = WORDS.iter().find(|(_, known)| *known == word);
            let (capability, _) = found.ok_or_else(|| UnknownCapability(word.to_owned()))?;
            set = set.union(Self::of(*capability));
        }
        Ok(if set == Self::NONE { Self::DEFAULT } else { set })
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = WORDS
            .iter()
            .filter(|(c, _)| self.contains(*c))
            .map(|(_, word)| *word)
            .collect();
        f.write_str(&words.join(","))
    }
}

const fn any(set: &[Capability]) -> Capabilities {
    let mut sum = 0;
    let mut index = 0;
    while index < set.len() {
        sum |= 1 << set[index] as u8;
        index += 1;
    }
    Capabilities(sum)
}

/// Which capabilities need a file, by its name before `.so` or its whole name.
///
/// The classes are those of libnvidia-container's lists; a library that others of another class load at run time
/// (OptiX, ray tracing, NVENC and DLSS load `libcuda`) belongs to theirs too.
const FILES: [(&str, Capabilities); 66] = [
    ("libnvidia-ml", any(&[Utility])),
    ("libnvidia-cfg", any(&[Utility, Display])),
    ("libnvidia-nscq", any(&[Utility])),
    ("libnvidia-sandboxutils", any(&[Utility])),
    ("libcuda", any(&[Compute, Graphics, Video, Ngx])),
    ("libcudadebugger", any(&[Compute])),
    ("libnvidia-opencl", any(&[Compute])),
    ("libnvidia-gpucomp", any(&[Compute, Graphics, Display])),
    ("libnvidia-ptxjitcompiler", any(&[Compute, Graphics, Video, Ngx])),
    ("libnvidia-fatbinaryloader", any(&[Compute])),
    ("libnvidia-allocator", any(&[Compute, Graphics, Display])),
    ("libnvidia-compiler", any(&[Compute])),
    ("libnvidia-pkcs11", any(&[Compute])),
    ("libnvidia-pkcs11-openssl3", any(&[Compute])),
    ("libnvidia-nvvm", any(&[Compute, Graphics])),
    ("libnvidia-nvvm70", any(&[Compute, Graphics])),
    ("libnvidia-tileiras", any(&[Compute])),
    ("libvdpau_nvidia", any(&[Video])),
    ("libnvidia-encode", any(&[Video])),
    ("libnvidia-opticalflow", any(&[Video, Ngx])),
    ("libnvcuvid", any(&[Video])),
    ("libnvidia-eglcore", any(&[Graphics, Display])),
    ("libnvidia-glcore", any(&[Graphics, Display])),
    ("libnvidia-tls", any(&[Graphics, Display])),
    ("libnvidia-glsi", any(&[Graphics, Display])),
    ("libnvidia-fbc", any(&[Graphics, Display])),
    ("libnvidia-ifr", any(&[Graphics, Display])),
    ("libnvidia-rtcore", any(&[Graphics])),
    ("libnvoptix", any(&[Graphics])),
    ("libGLX_nvidia", any(&[Graphics, Display])),
    ("libEGL_nvidia", any(&[Graphics, Display])),
    ("libGLESv2_nvidia", any(&[Graphics, Display])),
    ("libGLESv1_CM_nvidia", any(&[Graphics, Display])),
    ("libnvidia-glvkspirv", any(&[Graphics])),
    ("libnvidia-cbl", any(&[Graphics])),
    ("libnvidia-vulkan-producer", any(&[Graphics])),
    ("libnvidia-egl-gbm", any(&[Graphics, Display])),
    ("libnvidia-egl-wayland", any(&[Graphics, Display])),
    ("libnvidia-egl-wayland2", any(&[Graphics, Display])),
    ("libnvidia-egl-xcb", any(&[Graphics, Display])),
    ("libnvidia-egl-xlib", any(&[Graphics, Display])),
    ("libnvidia-api", any(&[Graphics, Ngx])),
    ("libnvidia-ngx", any(&[Ngx])),
    ("libglxserver_nvidia", any(&[Display])),
    ("nvidia_drv", any(&[Display])),
    ("libnvidia-gtk2", any(&[Display])),
    ("libnvidia-gtk3", any(&[Display])),
    ("libnvidia-wayland-client", any(&[Display])),
    ("nvidia-smi", any(&[Utility])),
    ("nvidia-debugdump", any(&[Utility])),
    ("nvidia-persistenced", any(&[Utility])),
    ("nv-fabricmanager", any(&[Utility])),
    ("nvidia-cuda-mps-control", any(&[Compute])),
    ("nvidia-cuda-mps-server", any(&[Compute])),
    ("nvidia-imex", any(&[Compute])),
    ("nvidia-imex-ctl", any(&[Compute])),
    ("nvidia-xconfig", any(&[Display])),
    ("nvidia-settings", any(&[Display])),
    ("nvidia-ngx-updater", any(&[Ngx])),
    ("nvidia-ngx-conf.json", any(&[Ngx])),
    ("nvidia.icd", any(&[Compute])),
    ("nvoptix.bin", any(&[Graphics])),
    ("10-nvidia.conf", any(&[Display])),
    ("nvidia-drm-outputclass.conf", any(&[Display])),
    ("nvidia-modeset", any(&[Graphics, Display])),
    ("nvidia-mps", any(&[Compute])),
];

/// Kinds of files by a part of their path, asked after the names.
const FOLDERS: [(&str, Capabilities); 6] = [
    ("/vulkan/", any(&[Graphics])),
    ("/glvnd/egl_vendor.d/", any(&[Graphics, Display])),
    ("/egl_external_platform.d/", any(&[Graphics, Display])),
    ("/nvidia-application-profiles-", any(&[Graphics, Display])),
    ("/nvidia/wine/", any(&[Graphics, Ngx])),
    ("/nvidia-persistenced/", any(&[Utility, Compute])),
];

/// The capabilities that need a driver file, by its path. A file that no rule names belongs to all: a library of a
/// newer driver is then always there rather than missing.
pub fn capabilities_of(container_path: &Path) -> Capabilities {
    let path = container_path.to_string_lossy();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let stem = name.split_once(".so").map_or(name, |(stem, _)| stem);
    let by_name = FILES.iter().find(|(file, _)| *file == stem);
    let by_folder = || FOLDERS.iter().find(|(part, _)| path.contains(part));
    by_name
        .or_else(by_folder)
        .map_or(Capabilities::ALL, |(_, capabilities)| *capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_sets() {
        assert_eq!("compute, utility".parse(), Ok(Capabilities::DEFAULT));
        assert_eq!("".parse(), Ok(Capabilities::DEFAULT));
        assert_eq!("video,all".parse(), Ok(Capabilities::ALL));
        assert_eq!("gpu".parse::<Capabilities>(), Err(UnknownCapability("gpu".into())));
        assert_eq!(
            Capabilities::ALL.to_string(),
            "compute,compat32,graphics,utility,video,display,ngx"
        );
    }

    #[test]
    fn files_have_the_classes_of_the_container_library() {
        for (path, words) in [
            ("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.163.01", "utility"),
            ("/usr/lib64/libcuda.so.1", "compute,graphics,video,ngx"),
            ("/usr/lib64/vdpau/libvdpau_nvidia.so.1", "video"),
            ("/usr/bin/nvidia-smi", "utility"),
            ("/etc/vulkan/icd.d/nvidia_icd.json", "graphics"),
            ("/usr/lib64/nvidia/wine/nvngx.dll", "graphics,ngx"),
            ("/dev/nvidia-modeset", "graphics,display"),
        ] {
            assert_eq!(capabilities_of(Path::new(path)).to_string(), words, "{path}");
        }
        for path in [
            "/usr/lib64/libnvidia-brandnew.so.999.1",
            "/lib/firmware/nvidia/550/gsp_ga10x.bin",
            "/dev/nvidiactl",
        ] {
            assert_eq!(capabilities_of(Path::new(path)), Capabilities::ALL, "{path}");
        }
    }
}
