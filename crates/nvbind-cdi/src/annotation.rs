//! What a spec says about its host, for `NVIDIA_REQUIRE_*` to be checked without asking the driver.

use crate::generate::hook;
use crate::{Device, Edits, Spec};
use nvbind_gpu::{Gpu, Host};
use std::collections::BTreeMap;

/// On a spec: version of the driver, as `535.183.01`.
pub const DRIVER_VERSION: &str = "nvbind/driver-version";
/// On a spec: the newest CUDA version that the driver supports, as `12.2`.
pub const CUDA_VERSION: &str = "nvbind/cuda-version";
/// On a device: CUDA compute capability, as `9.0`.
pub const COMPUTE_CAPABILITY: &str = "nvbind/compute-capability";
/// On a device: product line, as `tesla`.
pub const BRAND: &str = "nvbind/brand";

/// What is known of a host.
pub(crate) fn of_host(host: &Host) -> BTreeMap<String, String> {
    let cuda = host
        .driver
        .cuda_version
        .map(|(major, minor)| format!("{major}.{minor}"));
    let known = [(DRIVER_VERSION, host.driver.version.clone()), (CUDA_VERSION, cuda)];
    entries(known)
}

/// What is known of a GPU.
pub(crate) fn of_gpu(gpu: &Gpu) -> BTreeMap<String, String> {
    let capability = gpu.compute_capability.map(|(major, minor)| format!("{major}.{minor}"));
    entries([(COMPUTE_CAPABILITY, capability), (BRAND, gpu.brand.clone())])
}

fn entries(known: [(&str, Option<String>); 2]) -> BTreeMap<String, String> {
    known
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// Tells our hook the host's versions, by which it decides about CUDA compatibility libraries of the image.
pub(crate) fn tell_hook(edits: &mut Edits, host: &Host) {
    let facts = of_host(host);
    let known = [
        (hook::HOST_DRIVER_VERSION, DRIVER_VERSION),
        (hook::HOST_CUDA_VERSION, CUDA_VERSION),
    ];
    for hook in edits.hooks.iter_mut().filter(|hook| hook::is_ours(hook)) {
        let args = known
            .iter()
            .filter_map(|(flag, key)| Some(format!("{flag}{}", facts.get(*key)?)));
        hook.args.extend(args);
    }
}

impl Edits {
    /// Takes the host's versions from our hook again: it then leaves CUDA compatibility libraries of the image alone.
    pub fn forget_host_versions(&mut self) {
        for hook in self.hooks.iter_mut().filter(|hook| hook::is_ours(hook)) {
            hook.args.retain(|argument| !hook::is_host_version(argument));
        }
    }
}

impl Spec {
    /// The devices that a name means: those of every GPU for the one that stands for all.
    pub fn devices_meant(&self, name: &str) -> Vec<&Device> {
        let is_all = name == "all";
        self.devices
            .iter()
            .filter(|device| is_all || device.name == name)
            .collect()
    }
}
