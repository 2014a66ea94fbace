//! Which way a daemon gives GPUs to a container.

use super::Error;
use crate::GpuAccess;
use bollard::models::SystemInfo;
use nvbind_cdi::Registry;
use std::path::{Path, PathBuf};

/// Name under which `nvbind-runtime` is to be registered with docker.
const RUNTIME_NAME: &str = "nvbind";
/// File name of the shim: a runtime of another name that is this program will do as well.
const SHIM_NAME: &str = "nvbind-runtime";
/// CDI vendor and class of the devices.
const KIND: &str = "nvidia.com/gpu";

/// How a container gets its GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Injection {
    /// It gets none.
    None,
    /// The daemon reads CDI specs itself (docker 25 and newer): qualified device names.
    Cdi(Vec<String>),
    /// The runtime of this name does it.
    Runtime(String),
}

/// Chooses the way. `has_device` says whether the CDI specs in the given folders have a device, for daemons that do
/// not list what they found (before docker 28.2).
pub(super) fn choose(
    info: &SystemInfo,
    gpu: &GpuAccess,
    has_device: impl Fn(&[String], &str) -> bool,
) -> Result<Injection, Error> {
    if gpu.devices.is_empty() {
        return Ok(Injection::None);
    }
    let names: Vec<String> = gpu.devices.iter().map(|uuid| format!("{KIND}={uuid}")).collect();
    let dirs = info.cdi_spec_dirs.as_deref().unwrap_or_default();
    let found = |name: &&String| is_discovered(info, name).unwrap_or_else(|| has_device(dirs, name));
    let missing = names.iter().find(|name| !found(name)).cloned();
    match (dirs.first(), missing, runtime(info)) {
        (Some(_), None, _) => Ok(Injection::Cdi(names)),
        (_, _, Some(runtime)) => Ok(Injection::Runtime(runtime)),
        (Some(dir), Some(device), None) => Err(Error::NoCdiDevice {
            device,
            dir: dir.clone(),
        }),
        (None, _, None) => Err(Error::NoGpus {
            version: info.server_version.clone().unwrap_or_default(),
        }),
    }
}

/// Whether the CDI specs in `dirs` have a device.
pub(super) fn in_specs(dirs: &[String], name: &str) -> bool {
    let dirs: Vec<PathBuf> = dirs.iter().map(PathBuf::from).collect();
    Registry::load(&dirs).device(name).is_some()
}

/// Whether the daemon found the device; `None` when it does not say what it found.
fn is_discovered(info: &SystemInfo, name: &str) -> Option<bool> {
    let devices = info.discovered_devices.as_ref()?;
    Some(devices.iter().any(|device| device.id.as_deref() == Some(name)))
}

/// The registered runtime that is nvbind's shim.
fn runtime(info: &SystemInfo) -> Option<String> {
    let runtimes = info.runtimes.as_ref()?;
    if runtimes.contains_key(RUNTIME_NAME) {
        return Some(RUNTIME_NAME.to_owned());
    }
    let is_shim = |path: &Option<String>| {
        path.as_deref()
            .and_then(|path| Path::new(path).file_name())
            .is_some_and(|name| name == SHIM_NAME)
    };
    let mut others: Vec<&String> = runtimes
        .iter()
        .filter(|(_, runtime)| is_shim(&runtime.path))
        .map(|(name, _)| name)
        .collect();
    others.sort();
    others.first().map(|name| (*name).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_gpu::Capabilities;
    use serde_json::json;

    fn gpu() -> GpuAccess {
        GpuAccess {
            devices: vec!["GPU-a".into(), "GPU-b".into()],
            capabilities: Capabilities::DEFAULT,
        }
    }

    fn info(value: serde_json::Value) -> SystemInfo {
        serde_json::from_value(value).unwrap()
    }

    fn choice(value: serde_json::Value, in_specs: &[&str]) -> Result<Injection, String> {
        let has_device = |_: &[String], name: &str| in_specs.contains(&name);
        choose(&info(value), &gpu(), has_device).map_err(|error| error.to_string())
    }

    fn cdi() -> Injection {
        Injection::Cdi(vec!["nvidia.com/gpu=GPU-a".into(), "nvidia.com/gpu=GPU-b".into()])
    }

    const BOTH: [&str; 2] = ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-b"];

    #[test]
    fn no_gpu_needs_nothing_of_the_daemon() {
        assert_eq!(
            choose(&info(json!({})), &GpuAccess::none(), |_, _| false).unwrap(),
            Injection::None
        );
    }

    #[test]
    fn a_daemon_that_lists_the_devices_gets_their_names() {
        let devices = BOTH.map(|id| json!({ "Source": "cdi", "ID": id }));
        assert_eq!(
            choice(
                json!({ "CDISpecDirs": ["/etc/cdi"], "DiscoveredDevices": devices }),
                &[]
            ),
            Ok(cdi())
        );
    }

    #[test]
    fn a_daemon_that_only_names_its_folders_is_believed_when_they_have_the_devices() {
        assert_eq!(
            choice(json!({ "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"] }), &BOTH),
            Ok(cdi())
        );
    }

    #[test]
    fn a_missing_device_falls_back_to_the_runtime() {
        let runtimes = json!({ "runc": { "path": "runc" }, "nvbind": { "path": "/usr/bin/nvbind-runtime" } });
        let value = json!({ "CDISpecDirs": ["/etc/cdi"], "DiscoveredDevices": [], "Runtimes": runtimes });
        assert_eq!(choice(value, &[]), Ok(Injection::Runtime("nvbind".into())));
    }

    #[test]
    fn a_runtime_of_another_name_will_do() {
        let value =
            json!({ "Runtimes": { "runc": { "path": "runc" }, "nvidia": { "path": "/usr/bin/nvbind-runtime" } } });
        assert_eq!(choice(value, &[]), Ok(Injection::Runtime("nvidia".into())));
    }

    #[test]
    fn a_daemon_without_either_way_is_told_what_to_configure() {
        assert_eq!(
            choice(json!({ "ServerVersion": "20.10.24", "Runtimes": { "runc": { "path": "runc" } } }), &[]),
            Err("docker 20.10.24 cannot give a container GPUs yet: run 'nvbind runtime configure --runtime docker', then \
                 'systemctl restart docker'"
                .into())
        );
    }

    #[test]
    fn a_daemon_with_cdi_and_no_spec_is_told_to_generate_one() {
        assert_eq!(
            choice(json!({ "CDISpecDirs": ["/etc/cdi"] }), &BOTH[..1]),
            Err("docker finds no CDI device 'nvidia.com/gpu=GPU-b': run 'nvbind cdi generate --output /etc/cdi/nvidia.yaml'".into())
        );
    }
}
