//! Kinds of work whose image and profile are known by a name: `--workload pytorch-training`.

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedWorkload {
    /// Its name.
    pub name: &'static str,
    /// Image, as its maker publishes it on Docker Hub or NGC; CUDA 12.8 where the tag tells it, which Blackwell GPUs need.
    pub image: &'static str,
    /// nvbind's profile.
    pub profile: &'static str,
    /// Driver capabilities, as `nvbind run --capabilities` takes them.
    pub capabilities: &'static str,
}

const fn named(
    name: &'static str,
    image: &'static str,
    profile: &'static str,
    capabilities: &'static str,
) -> NamedWorkload {
    NamedWorkload {
        name,
        image,
        profile,
        capabilities,
    }
}

const PYTORCH: &str = "pytorch/pytorch:2.7.1-cuda12.8-cudnn9-runtime";
const TENSORFLOW: &str = "tensorflow/tensorflow:2.19.0-gpu";
const CUDA: &str = "nvidia/cuda:12.8.1-base-ubuntu24.04";

/// Every one of them.
pub const NAMED_WORKLOADS: [NamedWorkload; 8] = [
    named("pytorch-training", PYTORCH, "training", "compute,utility"),
    named("pytorch-inference", PYTORCH, "inference", "compute,utility,video"),
    named("tensorflow-training", TENSORFLOW, "training", "compute,utility"),
    named("tensorflow-inference", TENSORFLOW, "inference", "compute,utility,video"),
    named(
        "vllm-serving",
        "vllm/vllm-openai:latest",
        "inference",
        "compute,utility",
    ),
    named(
        "triton-serving",
        "nvcr.io/nvidia/tritonserver:25.04-py3",
        "inference",
        "compute,utility,video",
    ),
    named("cuda", CUDA, "default", "compute,utility"),
    named(
        "cuda-development",
        "nvidia/cuda:12.8.1-devel-ubuntu24.04",
        "development",
        "all",
    ),
];

/// A name that is no kind of work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown workload '{asked}': did you mean {nearest}? (there are {})",
    NAMED_WORKLOADS.map(|known| known.name).join(", ")
)]
pub struct UnknownWorkload {
    /// What was asked for.
    pub asked: String,
    /// The name that comes nearest.
    pub nearest: &'static str,
}

impl UnknownWorkload {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        4
    }
}

/// The kind of work of that name.
pub fn find_workload(asked: &str) -> Result<&'static NamedWorkload, UnknownWorkload> {
    let found = NAMED_WORKLOADS.iter().find(|known| known.name == asked);
    found.ok_or_else(|| UnknownWorkload {
        asked: asked.to_owned(),
        nearest: crate::nearest(asked, NAMED_WORKLOADS.iter().map(|known| known.name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_or_the_nearest_is_told() {
        assert_eq!(
            find_workload("pytorch-training").map(|known| known.profile),
            Ok("training")
        );
        for (asked, nearest) in [
            ("pytorch-train", "pytorch-training"),
            ("tensorflow", "tensorflow-training"),
            ("vllm", "vllm-serving"),
        ] {
            assert_eq!(
                find_workload(asked).map_err(|error| error.nearest),
                Err(nearest),
                "{asked}"
            );
        }
    }

    #[test]
    fn names_are_names_of_deployments_too() {
        for known in NAMED_WORKLOADS {
            assert!(crate::is_name(known.name), "{}", known.name);
        }
    }
}
