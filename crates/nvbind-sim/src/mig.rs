//! MIG: GPU instances, the compute instances in them, and how both are made and destroyed.
//!
//! A GPU in MIG mode is cut into GPU instances (memory and engines), each of those into compute instances
//! (multiprocessors). A MIG device is one compute instance in its GPU instance. What NVML, `nvidia-smi` and
//! `nvbind sim` do ends up in the functions of this module.

pub mod compute_instance;
pub mod gpu_instance;
mod layout;
mod minors;
mod mode;

pub use compute_instance::{ComputeInstance, ComputeProfile};
pub use gpu_instance::GpuInstance;
pub(crate) use layout::{add, clear, layout, remove, switch};
pub(crate) use minors::mig_minors;
pub use minors::{compute_instance_minor, gpu_instance_minor};
pub use mode::{Activation, set_mode};

use crate::Error;
use crate::profile::MigProfile;
use crate::state::{GpuState, State};

/// Why something about MIG is refused: NVML has an error code for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigRefusal {
    /// The GPU has no MIG, no such profile, or MIG mode is off.
    NotSupported,
    /// The profile cannot begin at that slice.
    BadPlacement,
    /// The slices are taken.
    NoRoom,
    /// Something uses what should go.
    InUse,
    /// There is no such instance.
    NotFound,
}

/// Makes the errors of one GPU.
fn refuse(gpu: usize, kind: MigRefusal, reason: impl Into<String>) -> Error {
    Error::Mig {
        gpu,
        kind,
        reason: reason.into(),
    }
}

/// A MIG device: one compute instance in its GPU instance.
#[derive(Debug, Clone, Copy)]
pub struct MigDevice<'state> {
    /// Memory and engines.
    pub gpu_instance: &'state GpuInstance,
    /// Multiprocessors.
    pub compute_instance: &'state ComputeInstance,
}

/// The MIG devices of a GPU in NVML's order: by GPU instance, then by compute instance.
pub fn devices(gpu: &GpuState) -> impl Iterator<Item = MigDevice<'_>> {
    gpu.mig.iter().flat_map(|gpu_instance| {
        let device = |compute_instance| MigDevice {
            gpu_instance,
            compute_instance,
        };
        gpu_instance.compute.iter().map(device)
    })
}

/// The profile with this name, if the GPU has it.
fn find_profile<'state>(state: &'state State, gpu: usize, name: &str) -> Result<&'state MigProfile, Error> {
    let model = &state.profile.model;
    if model.mig.is_empty() {
        return Err(refuse(
            gpu,
            MigRefusal::NotSupported,
            format!("{} has no MIG", model.name),
        ));
    }
    let unknown = || {
        let known: Vec<&str> = model.mig.iter().map(|profile| profile.name.as_str()).collect();
        let reason = format!("no profile '{name}': use {}", known.join(", "));
        refuse(gpu, MigRefusal::NotSupported, reason)
    };
    state.mig_profile(name).ok_or_else(unknown)
}

/// Nothing can be made or destroyed while MIG mode is off.
fn check_enabled(state: &State, gpu: usize) -> Result<(), Error> {
    if state.gpus[gpu].mig_enabled {
        Ok(())
    } else {
        Err(refuse(gpu, MigRefusal::NotSupported, "MIG mode is off"))
    }
}
