//! The catalog's model of a GPU that NVML names.

use crate::catalog::{Gpu, find_gpu};

/// Words of NVML's names that the catalog's have not.
const SURPLUS: [&str; 4] = ["Blackwell", "Server", "Workstation", "Edition"];
const MIB_PER_GIB: f64 = 1024.0;

/// The catalog's model of a GPU that NVML calls `name`, of so many MiB; `None` where it has no such one.
pub fn model_of(name: &str, memory_mib: u64) -> Option<Gpu> {
    let words: Vec<&str> = name.split_whitespace().filter(|word| !SURPLUS.contains(word)).collect();
    let found = find_gpu(&words.join(" ")).ok()?;
    let gib = memory_mib as f64 / MIB_PER_GIB;
    // Of a family whose members differ in memory: NVML tells a little less than the name.
    let distance = |gpu: &Gpu| size(gpu.name()).map_or(f64::MAX, |size| (size - gib).abs());
    found.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// GiB that the name of a model tells; the H100 NVL has 94 (NVIDIA's data sheet).
fn size(name: &str) -> Option<f64> {
    match name {
        "H100-NVL" => Some(94.0),
        name => name.rsplit_once('-')?.1.strip_suffix("GB")?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nvml_are_models_of_the_catalog() {
        for (name, mib, model) in [
            ("NVIDIA H100 80GB HBM3", 81559, "H100-80GB"),
            ("NVIDIA H100 PCIe", 81559, "H100-80GB"),
            ("NVIDIA H100 NVL", 95830, "H100-NVL"),
            ("NVIDIA A100-SXM4-40GB", 40960, "A100-40GB"),
            ("NVIDIA A100 80GB PCIe", 81920, "A100-80GB"),
            ("Tesla V100-SXM2-16GB", 16384, "V100-16GB"),
            ("Tesla T4", 15360, "T4"),
            ("NVIDIA L40S", 46068, "L40S"),
            ("NVIDIA A10G", 23028, "A10G"),
            ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97887, "RTX-PRO-6000"),
            ("NVIDIA B200", 183359, "B200"),
        ] {
            assert_eq!(model_of(name, mib).map(Gpu::name), Some(model), "{name}");
        }
        for unknown in ["NVIDIA GeForce RTX 4090", "NVIDIA GPU", ""] {
            assert_eq!(model_of(unknown, 24564), None, "{unknown}");
        }
    }
}
