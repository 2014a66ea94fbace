//! Will containers draw? Vulkan and EGL find the driver by files, 32-bit games need 32-bit libraries.

use super::{Finding, Site};
use nvbind_gpu::{DriverFiles, ElfClass};

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let Some(files) = site.files.as_ref().filter(|files| has_library(files, "libGLX_nvidia")) else {
        // A compute-only driver: nothing is missing.
        return Vec::new();
    };
    let mut findings = Vec::new();
    if !has_file(files, "nvidia_icd") {
        findings.push(
            Finding::advice("graphics.vulkan", "no Vulkan ICD file (nvidia_icd.json): Vulkan in containers does not find the GPU")
                .command("apt install nvidia-vulkan-icd, or reinstall the driver; elsewhere: nvbind cdi generate --config-search-path DIR"),
        );
    }
    if !has_file(files, "10_nvidia.json") {
        findings.push(
            Finding::advice(
                "graphics.egl",
                "no EGL vendor file (10_nvidia.json): EGL in containers does not find the GPU",
            )
            .command("apt install nvidia-egl-icd, or reinstall the driver"),
        );
    }
    if !files.libraries.iter().any(|library| library.class == ElfClass::Elf32) {
        findings.push(
            Finding::advice(
                "graphics.compat32",
                "no 32-bit driver libraries: 32-bit games (Steam, Proton) do not start in containers",
            )
            .command("dpkg --add-architecture i386; apt update; apt install nvidia-driver-libs:i386"),
        );
    }
    findings
}

fn has_library(files: &DriverFiles, stem: &str) -> bool {
    files.libraries.iter().any(|library| library.stem() == Some(stem))
}

fn has_file(files: &DriverFiles, start: &str) -> bool {
    let is_it = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(start);
    files
        .files
        .iter()
        .any(|file| file.container.file_name().is_some_and(is_it))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::Fake;
    use super::*;

    #[test]
    fn what_is_missing_for_graphics_is_advised() {
        let fake = Fake::with_driver("535.1.1");
        assert!(check(&fake.site()).is_empty(), "a compute-only driver");
        fake.library("usr/lib64/libGLX_nvidia.so.535.1.1", 2);
        let checks = || {
            check(&fake.site())
                .iter()
                .map(|f| (f.check, f.level))
                .collect::<Vec<_>>()
        };
        let advice = |check| (check, Level::Advice);
        assert_eq!(
            checks(),
            ["graphics.vulkan", "graphics.egl", "graphics.compat32"].map(advice)
        );
        fake.file("etc/vulkan/icd.d/nvidia_icd.json", "{}");
        fake.file("usr/share/glvnd/egl_vendor.d/10_nvidia.json", "{}");
        assert_eq!(checks(), [advice("graphics.compat32")]);
        fake.library("usr/lib/i386-linux-gnu/libGLX_nvidia.so.535.1.1", 1);
        assert!(checks().is_empty());
    }
}
