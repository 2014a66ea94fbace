//! MIG mode: whether a GPU is cut up at all.

use super::{MigRefusal, refuse};
use crate::Error;
use crate::state::State;

/// What became of a change of MIG mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The mode is in force.
    Done,
    /// Processes hold the GPU: the mode waits until it is asked for again while the GPU is idle.
    Pending,
}

/// Asks for MIG mode. Instances must be destroyed before it can be switched off.
pub fn set_mode(state: &mut State, gpu: usize, enabled: bool) -> Result<Activation, Error> {
    let model = &state.profile.model;
    if model.mig.is_empty() {
        let reason = format!("{} has no MIG", model.name);
        return Err(refuse(gpu, MigRefusal::NotSupported, reason));
    }
    let target = &mut state.gpus[gpu];
    if !enabled && !target.mig.is_empty() {
        let reason = "it has GPU instances: destroy them first";
        return Err(refuse(gpu, MigRefusal::InUse, reason));
    }
    target.mig_pending = enabled;
    if target.mig_enabled != enabled && !target.processes.is_empty() {
        return Ok(Activation::Pending);
    }
    target.mig_enabled = enabled;
    Ok(Activation::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mig::gpu_instance;
    use crate::profile;
    use crate::state::{Process, ProcessKind};

    #[test]
    fn a_busy_gpu_changes_when_it_is_idle() {
        let mut state = State::new(profile::by_name("dgx-a100").unwrap());
        state.gpus[0].processes.push(Process {
            pid: 1,
            name: "x".into(),
            memory_mib: 1,
            kind: ProcessKind::Compute,
            gpu_instance: None,
            compute_instance: None,
        });
        assert_eq!(set_mode(&mut state, 0, true).unwrap(), Activation::Pending);
        assert!(state.gpus[0].mig_pending && !state.gpus[0].mig_enabled);
        state.gpus[0].processes.clear();
        assert_eq!(set_mode(&mut state, 0, true).unwrap(), Activation::Done);
        assert!(state.gpus[0].mig_enabled);
    }

    #[test]
    fn instances_keep_the_mode_on() {
        let mut state = State::new(profile::by_name("hgx-b200").unwrap());
        set_mode(&mut state, 1, true).unwrap();
        let id = gpu_instance::create(&mut state, 1, "7g.180gb", None).unwrap();
        let error = set_mode(&mut state, 1, false).unwrap_err();
        assert!(error.to_string().contains("destroy them first"), "{error}");
        gpu_instance::destroy(&mut state, 1, id).unwrap();
        assert_eq!(set_mode(&mut state, 1, false).unwrap(), Activation::Done);
        let mut state = State::new(profile::by_name("t4").unwrap());
        assert!(
            set_mode(&mut state, 0, true)
                .unwrap_err()
                .to_string()
                .contains("Tesla T4 has no MIG")
        );
    }
}
