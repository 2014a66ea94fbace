//! Kinds of machines, and what each kind wants: its disk, its network card, what it counts against, what its price is made of.

use nvbind_cloud::provider::{ErrorClass, ProviderError};

/// A kind of machines.
#[derive(Debug, PartialEq)]
pub(crate) struct Kind {
    /// How the names of its machine types begin.
    pub(crate) prefix: &'static str,
    /// What GPU they bring, or may have attached, as Google names it; the start of the name where there are several.
    pub(crate) gpu: &'static str,
    /// Type of the boot disk. Newer kinds take Hyperdisk alone.
    pub(crate) disk: &'static str,
    /// Whether the network card has to be Google's own (gVNIC), as from the third generation on.
    pub(crate) has_gvnic: bool,
    /// The quota in `regions.get`; `PREEMPTIBLE_` before it is the one for spot.
    pub(crate) metric: Option<&'static str>,
    /// The GPU family in the Cloud Quotas API, for those that `regions.get` does not have.
    pub(crate) family: Option<&'static str>,
    /// Price list: names of the cores and the memory, the first that there is; empty where the GPU's price holds all.
    pub(crate) machine_names: &'static [&'static str],
    /// Price list: names of a GPU, the first that there is.
    pub(crate) gpu_names: &'static [&'static str],
    /// Local SSD that comes with each GPU and is paid apart, in GiB.
    pub(crate) ssd_gib_per_gpu: f64,
}

const fn n1(gpu: &'static str, metric: &'static str, gpu_names: &'static [&'static str]) -> Kind {
    Kind {
        prefix: "n1-",
        gpu,
        disk: "pd-balanced",
        has_gvnic: false,
        metric: Some(metric),
        family: None,
        machine_names: &["N1 Predefined Instance"],
        gpu_names,
        ssd_gib_per_gpu: 0.0,
    }
}

/// Every kind that has GPUs.
///
/// Sources: metrics are those of Google's discovery document, revision 20261106; names in the price list and local SSD from gpuhunt 0.1.34
/// and SkyPilot 0.14.1; disk types from the description of `AttachedDiskInitializeParams.diskType` there and from dstack 0.22.5.
pub(crate) const KINDS: &[Kind] = &[
    n1("nvidia-tesla-t4", "NVIDIA_T4_GPUS", &["Nvidia Tesla T4 GPU"]),
    n1("nvidia-tesla-v100", "NVIDIA_V100_GPUS", &["Nvidia Tesla V100 GPU"]),
    n1("nvidia-tesla-p100", "NVIDIA_P100_GPUS", &["Nvidia Tesla P100 GPU"]),
    n1("nvidia-tesla-p4", "NVIDIA_P4_GPUS", &["Nvidia Tesla P4 GPU"]),
    Kind {
        prefix: "g2-",
        gpu: "nvidia-l4",
        disk: "pd-balanced",
        has_gvnic: false,
        metric: Some("NVIDIA_L4_GPUS"),
        family: None,
        machine_names: &["G2 Instance"],
        gpu_names: &["Nvidia L4 GPU"],
        ssd_gib_per_gpu: 0.0,
    },
    Kind {
        prefix: "g4-",
        gpu: "nvidia-rtx-pro-6000",
        disk: "hyperdisk-balanced",
        has_gvnic: true,
        metric: None,
        family: Some("NVIDIA_RTX_PRO_6000"),
        machine_names: &["G4 Instance"],
        gpu_names: &[
            "RTX 6000 96GB",
            "RTX 6000 96GB GPU",
            "Nvidia RTX 6000 96GB",
            "Nvidia RTX 6000 96GB GPU",
        ],
        ssd_gib_per_gpu: 0.0,
    },
    Kind {
        prefix: "a2-ultragpu-",
        gpu: "nvidia-a100-80gb",
        disk: "pd-balanced",
        has_gvnic: false,
        metric: Some("NVIDIA_A100_80GB_GPUS"),
        family: None,
        machine_names: &["A2 Instance"],
        gpu_names: &["Nvidia Tesla A100 80GB GPU"],
        ssd_gib_per_gpu: 375.0,
    },
    Kind {
        prefix: "a2-",
        gpu: "nvidia-tesla-a100",
        disk: "pd-balanced",
        has_gvnic: false,
        metric: Some("NVIDIA_A100_GPUS"),
        family: None,
        machine_names: &["A2 Instance"],
        gpu_names: &["Nvidia Tesla A100 GPU"],
        ssd_gib_per_gpu: 0.0,
    },
    Kind {
        prefix: "a3-megagpu-",
        gpu: "nvidia-h100-mega-80gb",
        disk: "pd-balanced",
        has_gvnic: true,
        metric: None,
        family: Some("NVIDIA_H100_MEGA"),
        machine_names: &["A3Plus Instance", "A3 Instance"],
        gpu_names: &["Nvidia H100 80GB Mega GPU", "Nvidia H100 80GB Plus GPU"],
        ssd_gib_per_gpu: 750.0,
    },
    Kind {
        prefix: "a3-ultragpu-",
        gpu: "nvidia-h200-141gb",
        disk: "hyperdisk-balanced",
        has_gvnic: true,
        metric: None,
        family: Some("NVIDIA_H200"),
        machine_names: &["A3Ultra Instance", "A3 Instance"],
        gpu_names: &["Nvidia H200 141GB GPU", "H200 141GB GPU"],
        ssd_gib_per_gpu: 0.0,
    },
    // Those with one, two or four GPUs are priced without local SSD in the lists that this follows.
    Kind {
        prefix: "a3-highgpu-8g",
        gpu: "nvidia-h100-80gb",
        disk: "pd-balanced",
        has_gvnic: true,
        metric: None,
        family: Some("NVIDIA_H100"),
        machine_names: &["A3 Instance"],
        gpu_names: &["Nvidia H100 80GB GPU"],
        ssd_gib_per_gpu: 750.0,
    },
    Kind {
        prefix: "a3-highgpu-",
        gpu: "nvidia-h100-80gb",
        disk: "pd-balanced",
        has_gvnic: true,
        metric: None,
        family: Some("NVIDIA_H100"),
        machine_names: &["A3 Instance"],
        gpu_names: &["Nvidia H100 80GB GPU"],
        ssd_gib_per_gpu: 0.0,
    },
    Kind {
        prefix: "a4-highgpu-",
        gpu: "nvidia-b200",
        disk: "hyperdisk-balanced",
        has_gvnic: true,
        metric: None,
        family: Some("NVIDIA_B200"),
        machine_names: &[],
        gpu_names: &["Nvidia B200 (1 gpu slice)"],
        ssd_gib_per_gpu: 0.0,
    },
    Kind {
        prefix: "a4x-highgpu-",
        gpu: "nvidia-gb200",
        disk: "hyperdisk-balanced",
        has_gvnic: true,
        metric: None,
        family: Some("NVIDIA_GB200"),
        machine_names: &[],
        gpu_names: &["Nvidia GB200 (1 gpu slice)"],
        ssd_gib_per_gpu: 0.0,
    },
];

/// A machine type as the catalog names it, taken apart: `n1-highmem-8+1xnvidia-tesla-v100`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MachineType {
    /// Google's name: `n1-highmem-8`.
    pub(crate) name: String,
    /// GPUs that are attached to it, beside those that it brings: how many of what.
    pub(crate) attached: Option<(u32, String)>,
    /// Its kind.
    pub(crate) kind: &'static Kind,
}

impl MachineType {
    /// Takes a name of the catalog apart.
    pub(crate) fn parse(text: &str) -> Result<Self, ProviderError> {
        let unknown = || {
            let message = format!("'{text}' is no machine type with GPUs of Google Cloud");
            ProviderError::new(ErrorClass::NotOffered, "UnknownMachineType", message)
        };
        let (name, attached) = match text.split_once('+') {
            Some((name, attached)) => (name, Some(parse_attached(attached).ok_or_else(unknown)?)),
            None => (text, None),
        };
        let fits = |kind: &&Kind| {
            let gpu = attached.as_ref().map(|(_, gpu)| gpu.as_str());
            name.starts_with(kind.prefix) && (kind.prefix == "n1-") == gpu.is_some_and(|gpu| gpu == kind.gpu)
        };
        let kind = KINDS.iter().find(fits).ok_or_else(unknown)?;
        Ok(Self {
            name: name.to_owned(),
            attached,
            kind,
        })
    }

    /// The catalog's name for a machine of this type with these GPUs: those of an N1 are attached, all others bring theirs.
    pub(crate) fn catalog_name(name: &str, gpus: Option<(u32, &str)>) -> String {
        match gpus {
            Some((count, gpu)) if name.starts_with("n1-") => format!("{name}+{count}x{gpu}"),
            _ => name.to_owned(),
        }
    }
}

fn parse_attached(text: &str) -> Option<(u32, String)> {
    let (count, gpu) = text.split_once('x')?;
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some((count, gpu.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_cloud::catalog::{Catalog, ProviderName};

    #[test]
    fn every_machine_of_the_catalog_has_a_kind() {
        let catalog = Catalog::embedded().unwrap();
        let ours = catalog
            .instances()
            .iter()
            .filter(|instance| instance.provider == ProviderName::Gcp);
        for instance in ours {
            let parsed = MachineType::parse(&instance.instance_type).unwrap();
            assert_eq!(parsed.name, instance.machine_type);
            let gpus = parsed.attached.as_ref().map(|(count, gpu)| (*count, gpu.as_str()));
            assert_eq!(MachineType::catalog_name(&parsed.name, gpus), instance.instance_type);
        }
    }

    #[test]
    fn an_n1_has_gpus_attached_and_no_other_has() {
        let v100 = MachineType::parse("n1-highmem-8+1xnvidia-tesla-v100").unwrap();
        assert_eq!(v100.attached, Some((1, "nvidia-tesla-v100".to_owned())));
        assert_eq!(MachineType::parse("a3-highgpu-8g").unwrap().kind.ssd_gib_per_gpu, 750.0);
        assert_eq!(
            MachineType::parse("a2-ultragpu-1g").unwrap().kind.metric,
            Some("NVIDIA_A100_80GB_GPUS")
        );
        for bad in [
            "n1-highmem-8",
            "a2-highgpu-1g+1xnvidia-tesla-a100",
            "n1-highmem-8+0xnvidia-tesla-v100",
            "n1-highmem-8+nvidia-tesla-v100",
            "n1-highmem-8+1xnvidia-tesla-k80",
            "e2-small",
            "",
        ] {
            assert!(
                MachineType::parse(bad).is_err_and(|error| error.class == ErrorClass::NotOffered),
                "{bad}"
            );
        }
        assert_eq!(
            MachineType::catalog_name("a2-highgpu-1g", Some((1, "nvidia-tesla-a100"))),
            "a2-highgpu-1g"
        );
    }
}
