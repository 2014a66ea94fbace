//! Changing a simulated machine while programs run on it: what `nvbind sim ...` does.

use std::path::Path;

use crate::Error;
use crate::kernel;
use crate::mig;
use crate::setting;
use crate::state::{self, GpuState, Process, State, Xid};

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

/// Turns MIG mode on (without instances) or off.
pub fn mig_mode(root: &Path, gpu: &str, enabled: bool) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| {
        mig::layout(state, index, &[])?;
        state.gpus[index].mig_enabled = enabled;
        Ok(())
    })
}

/// Turns MIG mode on and makes these instances in place of those that there are.
pub fn mig_layout(root: &Path, gpu: &str, profiles: &[&str]) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| mig::layout(state, index, profiles))
}

/// Reports an Xid error: watchers get an event. Code 79 takes the GPU off the bus, 48 counts an uncorrected ECC error.
pub fn xid(root: &Path, gpu: &str, code: u64) -> Result<(), Error> {
    change_gpus(root, gpu, |state, index| {
        push_xid(state, index, code);
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

/// Brings the GPUs back as they are after a reboot.
pub fn restore(root: &Path, gpu: &str) -> Result<(), Error> {
    change_mig(root, gpu, |state, index| {
        let fresh = State::new(&state.profile);
        let xids = std::mem::take(&mut state.gpus[index].xids);
        state.gpus[index] = GpuState {
            xids,
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
        if let Some(id) = process
            .gpu_instance
            .filter(|id| !gpu.mig.iter().any(|mig| mig.gpu_instance == *id))
        {
            let reason = format!("GPU {index} has no such GPU instance");
            return Err(Error::BadValue {
                key: "gpu-instance".into(),
                value: id.to_string(),
                reason,
            });
        }
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
