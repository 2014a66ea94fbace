//! A device that a handle stands for, with the state of this moment.

use std::sync::Arc;

use nvbind_sim::State;
use nvbind_sim::mig::{self, ComputeInstance, ComputeProfile, GpuInstance, MigDevice};
use nvbind_sim::profile::{MigProfile, Model};
use nvbind_sim::state::GpuState;

use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};
use crate::session::{self, Session};

/// A GPU or a MIG device.
pub(crate) struct Device {
    pub(crate) session: Arc<Session>,
    pub(crate) state: Arc<State>,
    /// Place of the GPU in the machine.
    pub(crate) index: usize,
    /// GPU instance and compute instance of a MIG device.
    mig: Option<(u32, u32)>,
}

/// What a MIG device is made of.
pub(crate) struct Mig<'device> {
    pub(crate) gpu_instance: &'device GpuInstance,
    pub(crate) compute_instance: &'device ComputeInstance,
    pub(crate) profile: &'device MigProfile,
    pub(crate) compute_profile: ComputeProfile,
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
        let (index, mig) = match Object::of(handle).ok_or(Code::INVALID_ARGUMENT)? {
            Object::Gpu(index) => (index, None),
            Object::Mig(index, gi, ci) => (index, Some((gi, ci))),
            _ => return Err(Code::INVALID_ARGUMENT),
        };
        if !session.visible.contains(&index) {
            return Err(Code::INVALID_ARGUMENT);
        }
        let device = Self {
            session,
            state,
            index,
            mig,
        };
        if mig.is_some() && device.mig().is_none() {
            return Err(Code::INVALID_ARGUMENT);
        }
        Ok(device)
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

    /// The MIG device, when it is one and there.
    pub(crate) fn mig(&self) -> Option<Mig<'_>> {
        let (gi, ci) = self.mig?;
        let is_it = |device: &MigDevice<'_>| device.gpu_instance.id == gi && device.compute_instance.id == ci;
        let found = mig::devices(self.gpu()).find(is_it)?;
        let profile = self.state.mig_profile(&found.gpu_instance.profile)?;
        let profiles = mig::compute_instance::profiles(self.model(), profile);
        let is_its = |known: &ComputeProfile| known.id == found.compute_instance.profile;
        Some(Mig {
            gpu_instance: found.gpu_instance,
            compute_instance: found.compute_instance,
            profile,
            compute_profile: profiles.into_iter().find(is_its)?,
        })
    }

    /// NVML's index: the place among the visible GPUs.
    pub(crate) fn nvml_index(&self) -> u32 {
        let place = self.session.visible.iter().position(|index| *index == self.index);
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(0)
    }

    /// The MIG devices of the GPU whose capabilities are given.
    pub(crate) fn visible_migs(&self) -> Vec<MigDevice<'_>> {
        let minor = self.gpu().minor;
        let given = |device: &MigDevice<'_>| {
            let (gi, ci) = (device.gpu_instance.id, device.compute_instance.id);
            self.session.has_capability(mig::gpu_instance_minor(minor, gi))
                && self.session.has_capability(mig::compute_instance_minor(minor, gi, ci))
        };
        mig::devices(self.gpu()).filter(given).collect()
    }
}
