//! Changing a simulated machine while programs run on it: what `nvbind sim ...` does.

use std::path::Path;

use crate::Error;
use crate::kernel;
use crate::mig::{self, MigDevice};
use crate::profile::Architecture;
use crate::setting;
use crate::state::{self, GpuState, Process, ProcessKind, State, Xid};

/// Xid errors that a GPU remembers.
const XIDS_KEPT: usize = 64;
/// Xid code of "GPU has fallen off the bus".
pub const XID_FALLEN_OFF_THE_BUS: u64 = 79;
/// Xid code of an uncorrected memory error.
pub const XID_DOUBLE_BIT_ECC: u64 = 48;

/// Sets one thing about the GPUs: see [`setting::ALL`] for what there is.
pub fn set(root: &Path, gpu: &str, key: &str, value: &str) -> Result<(), Error> {
    let setting = setting::by_key(key)?;
    change_gpus(root, gpu, |state, index| {
        setting.apply(&state.profile.model.clone(), &mut state.gpus[index], value)
    })
}

/// Switches MIG mode on, or destroys every instance and switches it off.
pub fn mig_mode(root: &Path, gpu: &str, enabled: bool) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| {
        if !enabled {
            mig::clear(state, index)?;
        }
        mig::switch(state, index, enabled)
    })
}

/// Switches MIG mode on and makes these instances in place of those that there are: `3g.40gb`, at a memory slice
/// `3g.40gb:4`, with several compute instances `3g.40gb/1c/2c`, with none `3g.40gb/-`.
pub fn mig_layout(root: &Path, gpu: &str, profiles: &[&str]) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| mig::layout(state, index, profiles))
}

/// Makes instances beside those that there are; written as for [`mig_layout`].
pub fn mig_add(root: &Path, gpu: &str, profiles: &[&str]) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| mig::add(state, index, profiles))
}

/// Destroys instances: `2` is a GPU instance with what is in it, `2/0` one of its compute instances.
pub fn mig_remove(root: &Path, gpu: &str, instances: &[&str]) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| mig::remove(state, index, instances))
}

/// Changes one GPU's MIG mode or instances, as the driver does for NVML; what it gives is given back.
pub fn change_instances<T>(
    root: &Path,
    gpu: usize,
    edit: impl FnOnce(&mut State, usize) -> Result<T, Error>,
) -> Result<T, Error> {
    state::change(root, |state| {
        let given = edit(state, gpu)?;
        kernel::sync_mig(root, state)?;
        Ok(given)
    })
}

/// Reports an Xid error: watchers get an event. Code 79 takes the GPU off the bus, 48 counts an uncorrected ECC error.
pub fn xid(root: &Path, gpu: &str, code: u64) -> Result<(), Error> {
    change_gpus(root, gpu, |state, index| {
        push_xid(state, index, code);
        kernel::log_xid(root, state.xid_count, &state.gpus[index].bus, code)?;
        let gpu = &mut state.gpus[index];
        gpu.lost |= code == XID_FALLEN_OFF_THE_BUS;
        gpu.ecc_uncorrected += u64::from(code == XID_DOUBLE_BIT_ECC);
        Ok(())
    })
}

/// Takes the GPUs off the bus, with the Xid error that tells it.
pub fn lose(root: &Path, gpu: &str) -> Result<(), Error> {
    xid(root, gpu, XID_FALLEN_OFF_THE_BUS)
}

/// Brings the GPUs back as they are after a reboot. MIG instances are gone; MIG mode lasts on Ampere, which keeps it in
/// the InfoROM.
pub fn restore(root: &Path, gpu: &str) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| {
        let fresh = State::new(&state.profile);
        let keeps_mode = state.profile.model.architecture == Architecture::Ampere;
        let xids = std::mem::take(&mut state.gpus[index].xids);
        let mig_mode = keeps_mode && state.gpus[index].mig_pending;
        state.gpus[index] = GpuState {
            xids,
            mig_enabled: mig_mode,
            mig_pending: mig_mode,
            ..fresh.gpus[index].clone()
        };
        Ok(())
    })
}

/// Lets a process run on the GPUs; one with the same pid is replaced.
pub fn process_add(root: &Path, gpu: &str, process: &Process) -> Result<(), Error> {
    change_gpus(root, gpu, |state, index| {
        let memory = state.profile.model.memory_mib;
        let gpu = &mut state.gpus[index];
        check_instance(gpu, index, process)?;
        gpu.processes.retain(|other| other.pid != process.pid);
        let free = memory.saturating_sub(gpu.memory_used());
        if process.memory_mib > free {
            let reason = format!("GPU {index} has {free} MiB free");
            return Err(Error::BadValue {
                key: "memory".into(),
                value: process.memory_mib.to_string(),
                reason,
            });
        }
        gpu.processes.push(process.clone());
        Ok(())
    })
}

/// A process runs on a MIG device that is there, and in MIG mode on nothing else.
fn check_instance(gpu: &GpuState, index: usize, process: &Process) -> Result<(), Error> {
    let bad = |value: String, reason: &str| Error::BadValue {
        key: "gpu-instance".into(),
        value,
        reason: format!("GPU {index} {reason}"),
    };
    let Some(gi) = process.gpu_instance else {
        return match gpu.mig_enabled && process.kind == ProcessKind::Compute {
            true => Err(bad("none".into(), "is in MIG mode: name one of its instances")),
            false => Ok(()),
        };
    };
    let ci = process.compute_instance.unwrap_or(0);
    let is_it = |device: MigDevice<'_>| device.gpu_instance.id == gi && device.compute_instance.id == ci;
    match mig::devices(gpu).any(is_it) {
        true => Ok(()),
        false => Err(bad(format!("{gi}/{ci}"), "has no such MIG instance")),
    }
}

/// Ends a process on the GPUs.
pub fn process_remove(root: &Path, selector: &str, pid: u32) -> Result<(), Error> {
    let mut found = false;
    change_gpus(root, selector, |state, index| {
        let processes = &mut state.gpus[index].processes;
        found |= processes.iter().any(|process| process.pid == pid);
        processes.retain(|process| process.pid != pid);
        Ok(())
    })?;
    if found {
        Ok(())
    } else {
        Err(Error::NoSuchProcess {
            pid,
            selector: selector.to_owned(),
        })
    }
}

/// The indices of the GPUs that a selector names: an index, a UUID, a PCI bus id or `all`.
pub fn select(state: &State, selector: &str) -> Result<Vec<usize>, Error> {
    let wanted = selector.to_ascii_lowercase();
    let matches = |index: usize, gpu: &GpuState| {
        let uuid = gpu.uuid.to_ascii_lowercase();
        wanted == "all" || wanted == index.to_string() || wanted == uuid || wanted == gpu.bus
    };
    let found: Vec<usize> = state
        .gpus
        .iter()
        .enumerate()
        .filter(|(index, gpu)| matches(*index, gpu))
        .map(|(index, _)| index)
        .collect();
    if found.is_empty() {
        return Err(Error::NoSuchGpu {
            selector: selector.to_owned(),
            last: state.gpus.len().saturating_sub(1),
        });
    }
    Ok(found)
}

/// Changes every selected GPU, or none when one refuses.
fn change_gpus(
    root: &Path,
    selector: &str,
    mut edit: impl FnMut(&mut State, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    state::change(root, |state| {
        select(state, selector)?
            .into_iter()
            .try_for_each(|index| edit(state, index))
    })
}

/// Changes every selected GPU's MIG instances, and what the kernel shows of them while nobody else can change them.
fn change_mig(
    root: &Path,
    selector: &str,
    mut edit: impl FnMut(&mut State, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    state::change(root, |state| {
        select(state, selector)?
            .into_iter()
            .try_for_each(|index| edit(state, index))?;
        kernel::sync_mig(root, state)
    })
}

fn push_xid(state: &mut State, index: usize, code: u64) {
    state.xid_count += 1;
    let xids = &mut state.gpus[index].xids;
    xids.push(Xid {
        number: state.xid_count,
        code,
    });
    let excess = xids.len().saturating_sub(XIDS_KEPT);
    xids.drain(..excess);
}
