//! A device that a handle stands for, with the state of this moment.

use std::sync::Arc;

use nvbind_sim::State;
use nvbind_sim::mig;
use nvbind_sim::profile::{MigProfile, Model};
use nvbind_sim::state::{GpuState, MigInstance};

use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};
use crate::session::{self, Session};

/// A GPU or a MIG device.
pub(crate) struct Device {
    pub(crate) session: Arc<Session>,
    pub(crate) state: Arc<State>,
    /// Place of the GPU in the machine.
    pub(crate) index: usize,
    /// Place of the MIG device among those of its GPU.
    mig: Option<usize>,
}

impl Device {
    /// The device that the handle stands for, if it answers.
    pub(crate) fn open(handle: Handle) -> Answer<Self> {
        let device = Self::identify(handle)?;
        if device.gpu().lost {
            Err(Code::GPU_IS_LOST)
        } else {
            Ok(device)
        }
    }

    /// The device, answering or not: the driver still knows who a lost GPU was.
    pub(crate) fn identify(handle: Handle) -> Answer<Self> {
        let session = session::current()?;
        let state = session.state()?;
        let (index, instance) = match Object::of(handle).ok_or(Code::INVALID_ARGUMENT)? {
            Object::Gpu(index) => (index, None),
            Object::Mig(index, instance) => (index, Some(instance)),
            _ => return Err(Code::INVALID_ARGUMENT),
        };
        if !session.visible.contains(&index) {
            return Err(Code::INVALID_ARGUMENT);
        }
        let gpu = &state.gpus[index];
        let find = |id| {
            gpu.mig
                .iter()
                .position(|mig| mig.gpu_instance == id)
                .ok_or(Code::INVALID_ARGUMENT)
        };
        let mig = instance.map(find).transpose()?;
        Ok(Self {
            session,
            state,
            index,
            mig,
        })
    }

    /// A full GPU; MIG devices do not have what is asked for.
    pub(crate) fn full(&self) -> Answer<&GpuState> {
        if self.mig.is_some() {
            Err(Code::NOT_SUPPORTED)
        } else {
            Ok(self.gpu())
        }
    }

    /// The GPU, or the one that a MIG device is part of.
    pub(crate) fn gpu(&self) -> &GpuState {
        &self.state.gpus[self.index]
    }

    /// The GPU's model.
    pub(crate) fn model(&self) -> &Model {
        &self.state.profile.model
    }

    /// The MIG device with its profile, when it is one.
    pub(crate) fn mig(&self) -> Option<(&MigInstance, &MigProfile)> {
        let instance = self.gpu().mig.get(self.mig?)?;
        Some((instance, self.state.mig_profile(&instance.profile)?))
    }

    /// NVML's index: the place among the visible GPUs.
    pub(crate) fn nvml_index(&self) -> u32 {
        let place = self.session.visible.iter().position(|index| *index == self.index);
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(0)
    }

    /// The MIG devices of the GPU whose capabilities are given.
    pub(crate) fn visible_migs(&self) -> Vec<&MigInstance> {
        let minor = self.gpu().minor;
        let given = |instance: &&MigInstance| {
            let (gi, ci) = (instance.gpu_instance, instance.compute_instance);
            self.session.has_capability(mig::gpu_instance_minor(minor, gi))
                && self.session.has_capability(mig::compute_instance_minor(minor, gi, ci))
        };
        self.gpu().mig.iter().filter(given).collect()
    }
}
