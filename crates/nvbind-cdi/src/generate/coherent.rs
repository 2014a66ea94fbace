//! GPUs that share one address space with the CPU (Grace Hopper), and those that do not.

use super::{ALL, merged};
use crate::Spec;

/// Annotation of a device, `true` or `false`, by the name that `nvidia-ctk` has for it.
pub(super) const ANNOTATION: &str = "gpu.nvidia.com/coherent";

/// What is added to the class of a kind and to the name of a file, by the annotation's value.
const PARTS: [(&str, &str); 2] = [("true", "coherent"), ("false", "noncoherent")];

impl Spec {
    /// The specs of the coherent devices alone and of the others alone, where there are any, each with the word that
    /// tells it from the whole in its class (`gpu.coherent`) and in the name of its file (`nvidia.coherent.yaml`).
    pub fn by_coherence(&self) -> Vec<(&'static str, Spec)> {
        let part = |(value, word): &(&str, &'static str)| {
            let mut spec = self.clone();
            let is_one = |annotation: Option<&String>| annotation.is_some_and(|found| found == value);
            spec.devices
                .retain(|device| device.name != ALL && is_one(device.annotations.get(ANNOTATION)));
            if self.devices.iter().any(|device| device.name == ALL) && !spec.devices.is_empty() {
                spec.devices.push(merged(&spec.devices));
            }
            spec.kind = format!("{}.{word}", self.kind);
            spec.cdi_version = spec.required_version().to_owned();
            (!spec.devices.is_empty()).then_some((*word, spec))
        };
        PARTS.iter().filter_map(part).collect()
    }
}
