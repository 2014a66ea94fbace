//! Is there a driver, does it answer, and is it of one piece?

use super::{Finding, Site};
use nvbind_gpu::{DriverKind, Source, ldcache};
use std::path::Path;

/// Libraries without which no program finds the driver.
const GUIDES: [&str; 2] = ["libcuda.so.1", "libnvidia-ml.so.1"];

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let driver = &site.host.driver;
    if !driver.kind.is_nvidia() {
        return vec![without_driver(site)];
    }
    let mut findings = vec![match (site.host.source, &driver.version) {
        (Source::Nvml, version) => {
            let version = version.as_deref().unwrap_or("of unknown version");
            Finding::ok("driver.nvml", format!("{} {version}, NVML answers", driver.kind))
        }
        (Source::Procfs, _) => silent_nvml(site),
    }];
    findings.extend(versions(site));
    findings.extend(modules(site));
    findings.extend(loader_cache(site));
    findings
}

/// No driver: 5 is the exit code, and the reason is the first thing to know.
fn without_driver(site: &Site) -> Finding {
    let hardware = site.kernel.warnings.first();
    match (site.host.driver.kind, hardware) {
        (DriverKind::Nouveau, _) => Finding::unable(
            "driver.nouveau",
            "nouveau holds the GPU: it has no CUDA, and NVIDIA's driver cannot be loaded beside it",
        )
        .command("echo 'blacklist nouveau' > /etc/modprobe.d/nouveau.conf; install NVIDIA's driver; reboot"),
        (_, Some(hardware)) => Finding::unable("driver.loaded", hardware.clone())
            .command("modprobe nvidia; if that fails, install NVIDIA's driver"),
        (_, None) if site.files.is_some() => Finding::unable(
            "driver.loaded",
            "the driver's files are installed and its kernel module is not loaded, and no NVIDIA GPU is on the PCI bus",
        )
        .command("lspci -d 10de: ; modprobe nvidia"),
        (_, None) => Finding::unable("driver.loaded", "no NVIDIA driver and no NVIDIA GPU on the PCI bus")
            .command("lspci -d 10de: ; nvbind --sim dgx-a100 info shows a simulated machine"),
    }
}

fn silent_nvml(site: &Site) -> Finding {
    let why = site
        .host
        .warnings
        .first()
        .map_or("NVML does not answer", String::as_str);
    let finding = Finding::trouble("driver.nvml", why);
    match mismatch(site) {
        Some(_) => finding.command("reboot: the kernel module and the libraries differ"),
        None => finding.command("nvidia-smi; dmesg | grep NVRM"),
    }
}

/// The kernel module's version and the libraries', when they differ.
fn mismatch(site: &Site) -> Option<(&str, &str)> {
    let module = site.kernel.driver.version.as_deref()?;
    let libraries = site.files.as_ref()?.version.as_str();
    // Without /proc the "kernel's" version was taken from the libraries.
    (site.kernel.driver.kind.is_nvidia() && module != libraries).then_some((module, libraries))
}

fn versions(site: &Site) -> Vec<Finding> {
    if site.is_wsl() {
        // The kernel's half is Windows' own, and no file tells its version.
        return Vec::new();
    }
    let finding = match (mismatch(site), &site.files) {
        (Some((module, libraries)), _) => Finding::trouble(
            "driver.versions",
            format!("the kernel module is {module}, the newest libraries are {libraries}: the driver was updated and the old module is still loaded; programs fail with 'driver/library version mismatch'"),
        )
        .command("reboot; or stop all GPU work, then: modprobe -r nvidia_uvm nvidia_drm nvidia_modeset nvidia && modprobe nvidia"),
        (None, Some(files)) => Finding::ok(
            "driver.versions",
            format!("kernel module and {} libraries are {}", files.libraries.len(), files.version),
        ),
        (None, None) => Finding::trouble(
            "driver.versions",
            format!("no user-space driver below '{}'", site.roots.driver.display()),
        )
        .command("install the driver's user space, or name its folder: --driver-root, host.driver_root in /etc/nvbind/config.toml"),
    };
    vec![finding]
}

fn modules(site: &Site) -> Vec<Finding> {
    if site.is_wsl() {
        return Vec::new();
    }
    let finding = |module: &&str| match *module {
        "nvidia-uvm" => Finding::trouble(
            "driver.modules",
            "module nvidia-uvm is not loaded: nvidia-smi works, but every CUDA program fails with error 999",
        ),
        other => Finding::advice(
            "driver.modules",
            format!("module {other} is not loaded: Vulkan, EGL and displays do without the GPU"),
        ),
    };
    let missing = nvbind_gpu::missing_modules(&site.roots);
    let findings = missing
        .iter()
        .map(|module| finding(module).command(format!("modprobe {module}")));
    findings.collect()
}

/// Programs of the host itself find the driver by the loader's cache; containers do not need it.
fn loader_cache(site: &Site) -> Option<Finding> {
    let path = Path::new("/etc/ld.so.cache");
    let bytes = std::fs::read(site.roots.driver_path(path)).ok()?;
    let is_known = |name: &str| ldcache::lookup(&bytes, name.as_bytes()).is_ok_and(|found| !found.is_empty());
    let missing: Vec<&str> = GUIDES.into_iter().filter(|name| !is_known(name)).collect();
    if missing.is_empty() || site.files.is_none() {
        return None;
    }
    let message = format!(
        "{} is not in the loader's cache of the host: programs outside containers may not find the driver",
        missing.join(", ")
    );
    Some(Finding::advice("driver.ldcache", message).command("ldconfig"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::{Fake, levels, only};
    use super::*;

    #[test]
    fn no_driver_is_what_this_system_cannot_do() {
        let fake = Fake::empty();
        let finding = only(check(&fake.site()), "driver.loaded");
        assert_eq!(finding.level, Level::Unable);
        fake.pci("0000:07:00.0", None);
        assert!(
            only(check(&fake.site()), "driver.loaded")
                .message
                .contains("0000:07:00.0")
        );
    }

    #[test]
    fn nouveau_is_named() {
        let fake = Fake::empty();
        fake.pci("0000:07:00.0", Some("nouveau"));
        let finding = only(check(&fake.site()), "driver.nouveau");
        assert!(finding.level == Level::Unable && finding.command.unwrap().contains("blacklist nouveau"));
    }

    #[test]
    fn libraries_of_another_version_are_seen() {
        let fake = Fake::with_driver("535.1.1");
        assert_eq!(only(check(&fake.site()), "driver.versions").level, Level::Ok);
        fake.libraries("550.2.2");
        let finding = only(check(&fake.site()), "driver.versions");
        assert_eq!(finding.level, Level::Trouble);
        assert!(
            finding.message.contains("535.1.1") && finding.message.contains("550.2.2"),
            "{finding:?}"
        );
    }

    #[test]
    fn a_driver_without_libraries_and_an_nvml_that_is_silent() {
        let fake = Fake::with_driver("535.1.1");
        assert_eq!(only(check(&fake.site()), "driver.nvml").level, Level::Trouble);
        fake.remove("usr");
        let finding = only(check(&fake.site()), "driver.versions");
        assert!(finding.level == Level::Trouble && finding.message.contains("no user-space driver"));
    }

    #[test]
    fn modules_that_are_not_loaded() {
        let fake = Fake::with_driver("535.1.1");
        assert!(levels(&check(&fake.site()), "driver.modules").is_empty());
        fake.file("proc/devices", "Character devices:\n195 nvidia\n");
        assert_eq!(
            levels(&check(&fake.site()), "driver.modules"),
            [Level::Trouble, Level::Advice]
        );
    }

    #[test]
    fn a_loader_cache_without_the_driver() {
        let fake = Fake::with_driver("535.1.1");
        assert!(levels(&check(&fake.site()), "driver.ldcache").is_empty());
        fake.file("etc/ld.so.cache", "no cache at all");
        assert_eq!(only(check(&fake.site()), "driver.ldcache").level, Level::Advice);
    }
}
