//! The live state of a simulated machine, kept where the simulated driver library finds it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::identity;
use crate::mig::GpuInstance;
use crate::profile::{MigProfile, Model, Profile};
use crate::store::Store;

/// Folder of the 64-bit driver libraries below a driver root.
pub const LIBRARY_FOLDER: &str = "usr/lib/x86_64-linux-gnu";

/// Everything about a simulated machine, what it is made of and what it is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The machine. `driver_version` is the one in use, which an overlay may have set.
    pub profile: Profile,
    /// The GPUs in PCI order.
    pub gpus: Vec<GpuState>,
    /// Number of Xid errors so far on the whole machine; the number of the last one.
    pub xid_count: u64,
}

/// One simulated GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuState {
    /// `GPU-<uuid>`.
    pub uuid: String,
    /// Board serial number.
    pub serial: String,
    /// N of `/dev/nvidiaN`.
    pub minor: u32,
    /// PCI address.
    pub bus: String,
    /// NUMA node, -1 where not known.
    pub numa: i32,
    /// PCIe switch, -1 for a root port of its own.
    pub switch: i32,
    /// It fell off the bus.
    pub lost: bool,
    /// Time in which kernels ran, in percent.
    pub utilization: u32,
    /// Time in which memory was read or written, in percent.
    pub memory_utilization: u32,
    /// Encoder utilization in percent.
    pub encoder_utilization: u32,
    /// Decoder utilization in percent.
    pub decoder_utilization: u32,
    /// Memory in use besides that of `processes`, in MiB.
    pub memory_used_mib: u64,
    /// Temperature in degrees Celsius.
    pub temperature: u32,
    /// Power draw in mW.
    pub power_mw: u32,
    /// Power limit in W.
    pub power_limit_w: u32,
    /// Fan speed in percent.
    pub fan: u32,
    /// Graphics and SM clock in MHz.
    pub graphics_clock: u32,
    /// Memory clock in MHz.
    pub memory_clock: u32,
    /// Video clock in MHz.
    pub video_clock: u32,
    /// Performance state, 0 to 15.
    pub pstate: u32,
    /// Persistence mode.
    pub persistence: bool,
    /// Who may make CUDA contexts.
    pub compute_mode: ComputeMode,
    /// PCIe traffic to the GPU in KB/s.
    pub pcie_rx_kbps: u32,
    /// PCIe traffic from the GPU in KB/s.
    pub pcie_tx_kbps: u32,
    /// Corrected ECC errors since the driver was loaded.
    pub ecc_corrected: u64,
    /// Uncorrected ECC errors since the driver was loaded.
    pub ecc_uncorrected: u64,
    /// Programs that use the GPU.
    pub processes: Vec<Process>,
    /// The last Xid errors, oldest first.
    pub xids: Vec<Xid>,
    /// MIG mode is on.
    pub mig_enabled: bool,
    /// MIG mode that was asked for last: a busy GPU keeps its mode.
    pub mig_pending: bool,
    /// GPU instances, by id.
    pub mig: Vec<GpuInstance>,
}

/// Who may make CUDA contexts, with NVML's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u32)]
pub enum ComputeMode {
    /// Everyone.
    Default = 0,
    /// No one.
    Prohibited = 2,
    /// One process.
    ExclusiveProcess = 3,
}

/// What a process does on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessKind {
    /// CUDA or OpenCL.
    Compute,
    /// OpenGL or Vulkan.
    Graphics,
}

/// A program that uses a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Executable.
    pub name: String,
    /// Memory in use in MiB.
    pub memory_mib: u64,
    /// What it does.
    pub kind: ProcessKind,
    /// GPU instance that it runs on, in MIG mode.
    #[serde(default)]
    pub gpu_instance: Option<u32>,
    /// Compute instance that it runs on, in MIG mode.
    #[serde(default)]
    pub compute_instance: Option<u32>,
}

impl Process {
    /// Whether it runs on this MIG device.
    pub fn runs_on(&self, gpu_instance: u32, compute_instance: u32) -> bool {
        self.gpu_instance == Some(gpu_instance) && self.compute_instance.unwrap_or(0) == compute_instance
    }
}

/// An Xid error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xid {
    /// Number on the machine, from 1; watchers remember the last one that they saw.
    pub number: u64,
    /// Xid code.
    pub code: u64,
}

impl State {
    /// The machine as it is after boot.
    pub fn new(profile: &Profile) -> Self {
        let gpus = (0..profile.slots.len())
            .map(|index| GpuState::new(profile, index))
            .collect();
        Self {
            profile: profile.clone(),
            gpus,
            xid_count: 0,
        }
    }

    /// The MIG profile with this name.
    pub fn mig_profile(&self, name: &str) -> Option<&MigProfile> {
        self.profile.model.mig.iter().find(|profile| profile.name == name)
    }
}

/// GDDR memory is clocked down at rest; HBM is not, and its boards stay in P0.
fn idle_pstate(model: &Model) -> u32 {
    if model.clocks.memory_idle < model.clocks.memory_max {
        8
    } else {
        0
    }
}

impl GpuState {
    fn new(profile: &Profile, index: usize) -> Self {
        let (model, slot) = (&profile.model, &profile.slots[index]);
        Self {
            uuid: format!("GPU-{}", identity::uuid(&[&profile.name, &index.to_string()])),
            serial: identity::serial(&[&profile.name, &index.to_string()]),
            minor: slot.minor.unwrap_or(u32::try_from(index).unwrap_or(u32::MAX)),
            bus: slot.bus.clone(),
            numa: slot.numa,
            switch: slot.switch,
            lost: false,
            utilization: 0,
            memory_utilization: 0,
            encoder_utilization: 0,
            decoder_utilization: 0,
            memory_used_mib: 0,
            temperature: model.temperature.idle,
            power_mw: model.power.idle * 1000,
            power_limit_w: model.power.default,
            fan: if model.fans > 0 { 30 } else { 0 },
            graphics_clock: model.clocks.graphics_idle,
            memory_clock: model.clocks.memory_idle,
            video_clock: model.clocks.video_idle,
            pstate: idle_pstate(model),
            persistence: !model.display,
            compute_mode: ComputeMode::Default,
            pcie_rx_kbps: 0,
            pcie_tx_kbps: 0,
            ecc_corrected: 0,
            ecc_uncorrected: 0,
            processes: Vec::new(),
            xids: Vec::new(),
            mig_enabled: false,
            mig_pending: false,
            mig: Vec::new(),
        }
    }

    /// Memory in use in MiB, by processes and otherwise.
    pub fn memory_used(&self) -> u64 {
        self.memory_used_mib + self.processes.iter().map(|process| process.memory_mib).sum::<u64>()
    }
}

/// The state file of the simulated machine whose driver root is `root`.
pub fn path(root: &Path) -> Result<PathBuf, Error> {
    let folder = root.join(LIBRARY_FOLDER);
    let entries = std::fs::read_dir(&folder).map_err(Error::io("read", &folder))?;
    let mut found = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(FILE_PREFIX));
    let none = || Error::NoState {
        root: root.to_owned(),
        reason: format!("no {FILE_PREFIX}* in {LIBRARY_FOLDER}"),
    };
    found.next().map(|entry| entry.path()).ok_or_else(none)
}

/// Start of the state file's name; the driver version follows, as in every driver library's name, so that whatever
/// carries a driver into a container carries this file too.
pub const FILE_PREFIX: &str = "libnvidia-sim.so.";

/// The state now.
pub fn read(root: &Path) -> Result<State, Error> {
    let store = Store::open(&path(root)?, false)?;
    store.read()
}

/// Changes the state. Changes follow one another; nobody sees one half done.
pub fn change<T>(root: &Path, edit: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
    let store = Store::open(&path(root)?, true)?;
    store.lock()?;
    let mut state = store.read()?;
    let result = edit(&mut state)?;
    store.write(&state)?;
    Ok(result)
}
