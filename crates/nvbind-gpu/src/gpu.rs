//! One physical GPU as found, and the MIG devices cut from it.

use serde::{Deserialize, Serialize};

/// One physical GPU as found on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// NVML index (enumeration order; not the minor number).
    pub index: u32,
    /// `GPU-<uuid>`; empty while the driver has not told it (a lost GPU, or one that was never opened).
    pub uuid: String,
    /// PCI bus id as sysfs spells it: `0000:07:00.0`.
    pub pci_bus_id: String,
    /// Minor number: the node is `/dev/nvidia<minor>`.
    pub minor: u32,
    /// Product name, as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Product line as `NVIDIA_REQUIRE_CUDA` names it (`tesla`, `geforcertx`); `None` where NVML could not be asked.
    pub brand: Option<String>,
    /// Chip family.
    pub architecture: Architecture,
    /// CUDA compute capability (major, minor); `None` where only procfs could be asked.
    pub compute_capability: Option<(u32, u32)>,
    /// Total memory in MiB; 0 where only procfs could be asked.
    pub memory_mib: u64,
    /// Enforced power limit in W.
    pub power_limit_w: Option<u32>,
    /// NUMA node of the PCI device; `None` when the platform does not say (-1 in sysfs).
    pub numa_node: Option<u32>,
    /// PCI device id (`0x2330`), the key of the RT-core exceptions.
    pub pci_device_id: u16,
    /// Ray-tracing core generation (1 Turing, 2 Ampere, 3 Ada, 4 Blackwell); `None` without RT cores.
    pub rt_core_generation: Option<u8>,
    /// Tensor core generation (1 Volta ... 5 Blackwell); `None` without Tensor cores.
    pub tensor_core_generation: Option<u8>,
    /// MIG mode and MIG devices.
    pub mig: MigState,
    /// Whether the GPU answers.
    pub health: Health,
}

/// MIG mode and the devices that exist in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MigState {
    /// MIG mode is on: the GPU can only be handed out as MIG devices.
    pub enabled: bool,
    /// The MIG devices in NVML order.
    pub devices: Vec<MigDevice>,
}

/// One MIG device: a compute instance in a GPU instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigDevice {
    /// Index among the MIG devices of its GPU, as NVML counts.
    pub index: u32,
    /// `MIG-<uuid>`.
    pub uuid: String,
    /// Profile, as `1g.10gb`.
    pub profile: String,
    /// GPU instance id.
    pub gpu_instance: u32,
    /// Compute instance id.
    pub compute_instance: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// Chip family (NVML `nvmlDeviceArchitecture_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Kepler.
    Kepler,
    /// Maxwell.
    Maxwell,
    /// Pascal.
    Pascal,
    /// Volta.
    Volta,
    /// Turing.
    Turing,
    /// Ampere.
    Ampere,
    /// Ada Lovelace.
    Ada,
    /// Hopper.
    Hopper,
    /// Blackwell.
    Blackwell,
    /// Not known to this version.
    Unknown,
}

/// Whether a GPU answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It answers.
    Ok,
    /// It fell off the bus or was lost (`NVML_ERROR_GPU_IS_LOST`).
    Lost,
    /// NVML could not be asked.
    Unknown,
}
