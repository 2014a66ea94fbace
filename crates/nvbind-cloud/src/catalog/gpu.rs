//! The GPU models that can be rented, and the names people give them.

use serde::{Serialize, Serializer};

/// A GPU model.
#[derive(Debug, PartialEq)]
pub struct GpuModel {
    /// Name, with the memory where a family has several.
    pub name: &'static str,
    /// Name of the family: what people ask for when any memory will do.
    pub family: &'static str,
    /// Compute capability, as NVIDIA lists it (developer.nvidia.com/cuda-gpus), times ten.
    pub capability: u16,
    /// Dense 16-bit tensor throughput in TFLOPS by NVIDIA's data sheets (plain 16-bit for P100, 32-bit for P4); `None` where no sheet
    /// was at hand.
    pub tflops: Option<f32>,
}

const fn model(name: &'static str, family: &'static str, capability: u16, tflops: Option<f32>) -> GpuModel {
    GpuModel {
        name,
        family,
        capability,
        tflops,
    }
}

/// Every model of the catalog.
pub const MODELS: [GpuModel; 20] = [
    model("A10", "A10", 86, Some(125.0)),
    model("A100-40GB", "A100", 80, Some(312.0)),
    model("A100-80GB", "A100", 80, Some(312.0)),
    model("A10G", "A10G", 86, Some(70.0)),
    model("B200", "B200", 100, Some(2250.0)),
    model("B300", "B300", 103, Some(2250.0)),
    model("GB200", "GB200", 100, Some(2500.0)),
    model("H100-80GB", "H100", 90, Some(989.0)),
    model("H100-NVL", "H100", 90, Some(835.0)),
    model("H200", "H200", 90, Some(989.0)),
    model("L4", "L4", 89, Some(121.0)),
    model("L40S", "L40S", 89, Some(362.0)),
    model("P100", "P100", 60, Some(21.2)),
    model("P4", "P4", 61, Some(5.5)),
    model("RTX-PRO-4500", "RTX-PRO-4500", 120, None),
    model("RTX-PRO-6000", "RTX-PRO-6000", 120, None),
    model("T4", "T4", 75, Some(65.0)),
    model("T4G", "T4G", 75, Some(65.0)),
    model("V100-16GB", "V100", 70, Some(125.0)),
    model("V100-32GB", "V100", 70, Some(125.0)),
];

/// One of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gpu(pub(crate) u8);

impl Gpu {
    /// The model.
    pub fn model(self) -> &'static GpuModel {
        &MODELS[usize::from(self.0) % MODELS.len()]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.model().name
    }

    /// The model of exactly that name.
    pub fn named(name: &str) -> Option<Self> {
        let at = MODELS.iter().position(|model| model.name == name)?;
        u8::try_from(at).ok().map(Self)
    }
}

impl Serialize for Gpu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A name that is no GPU model of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown GPU type '{asked}': did you mean {nearest}? (nvbind cloud offers lists all)")]
pub struct UnknownGpu {
    /// What was asked for.
    pub asked: String,
    /// The name that comes nearest.
    pub nearest: &'static str,
}

impl UnknownGpu {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        4
    }
}

/// A name without what people add or leave out: `NVIDIA Tesla V100-SXM2-16GB` and `v100 16gb` are alike.
fn plain(name: &str) -> String {
    let mut name: String = name
        .to_ascii_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    for prefix in ["nvidia", "tesla"] {
        name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
    }
    for word in [
        "sxm2",
        "sxm3",
        "sxm4",
        "sxm5",
        "sxm",
        "pcie",
        "hbm3",
        "hbm2e",
        "tensorcore",
        "gpu",
        "server",
        "gib",
    ] {
        let with = if word == "gib" { "gb" } else { "" };
        name = name.replace(word, with);
    }
    name
}

/// The models that a name means: one, or all of a family.
pub fn find_gpu(asked: &str) -> Result<Vec<Gpu>, UnknownGpu> {
    let wanted = plain(asked);
    let models = || MODELS.iter().enumerate().map(|(at, model)| (Gpu(at as u8), model));
    let exact: Vec<Gpu> = models()
        .filter(|(_, model)| plain(model.name) == wanted)
        .map(|(gpu, _)| gpu)
        .collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    let family: Vec<Gpu> = models()
        .filter(|(_, model)| plain(model.family) == wanted)
        .map(|(gpu, _)| gpu)
        .collect();
    if !family.is_empty() {
        return Ok(family);
    }
    // Memory where the family has one size only: `L4-24GB`.
    let without_size = asked.rsplit_once(['-', ' ']).filter(|(_, size)| is_size(size));
    let only: Vec<Gpu> = without_size.map(|(name, _)| plain(name)).map_or_else(Vec::new, |name| {
        models()
            .filter(|(_, model)| plain(model.name) == name)
            .map(|(gpu, _)| gpu)
            .collect()
    });
    match only.is_empty() {
        false => Ok(only),
        true => Err(UnknownGpu {
            asked: asked.to_owned(),
            nearest: nearest(&wanted),
        }),
    }
}

/// `24GB`, `80g`.
fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    digits.len() < text.len() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn nearest(wanted: &str) -> &'static str {
    let near = |name: &str| strsim::jaro_winkler(wanted, &plain(name));
    let names = MODELS.iter().flat_map(|model| [model.family, model.name]);
    names.max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &str) -> Vec<&'static str> {
        find_gpu(asked)
            .unwrap_or_else(|error| panic!("{error}"))
            .into_iter()
            .map(Gpu::name)
            .collect()
    }

    #[test]
    fn every_name_people_use_is_known() {
        assert_eq!(names("a100"), ["A100-40GB", "A100-80GB"]);
        assert_eq!(names("A100-80GB"), ["A100-80GB"]);
        assert_eq!(names("NVIDIA A100-SXM4-40GB"), ["A100-40GB"]);
        assert_eq!(names("Tesla V100-SXM2-16GB"), ["V100-16GB"]);
        assert_eq!(names("H100"), ["H100-80GB", "H100-NVL"]);
        assert_eq!(names("l4-24GB"), ["L4"]);
        assert_eq!(names("T4g"), ["T4G"]);
        assert_eq!(names("RTX PRO 6000"), ["RTX-PRO-6000"]);
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        for (asked, nearest) in [("A1000", "A100"), ("H10", "H100"), ("L40", "L40S"), ("B20O", "B200")] {
            assert_eq!(find_gpu(asked).map_err(|error| error.nearest), Err(nearest), "{asked}");
        }
    }

    #[test]
    fn every_model_is_found_by_its_name_and_family() {
        for (at, model) in MODELS.iter().enumerate() {
            assert_eq!(find_gpu(model.name).unwrap(), [Gpu(at as u8)]);
            assert!(
                find_gpu(model.family).unwrap().contains(&Gpu(at as u8)),
                "{}",
                model.family
            );
        }
    }
}
