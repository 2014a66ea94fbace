//! GPU instances: listed, made and destroyed.

use nvbind_sim::mig::{self, GpuInstance};
use nvbind_sim::profile::MigProfile;
use nvbind_sim::{Error, State, command};
use nvml_wrapper_sys::bindings::{
    nvmlGpuInstanceInfo_t, nvmlGpuInstancePlacement_t, nvmlGpuInstanceProfileInfo_t, nvmlGpuInstanceProfileInfo_v2_t,
    nvmlGpuInstanceProfileInfo_v3_t,
};

use crate::abi::{Out, call, fixed};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};
use crate::mig::{capable, check_may_configure, enabled};

/// Profiles that NVML has numbers for (`NVML_GPU_INSTANCE_PROFILE_COUNT`).
const PROFILES: u32 = 17;
const INFO_V2: u32 = size_of::<nvmlGpuInstanceProfileInfo_v2_t>() as u32 | 2 << 24;
const INFO_V3: u32 = size_of::<nvmlGpuInstanceProfileInfo_v3_t>() as u32 | 3 << 24;

fn profile_of(device: &Device, profile: u32) -> Answer<&MigProfile> {
    capable(device)?;
    if profile >= PROFILES {
        return Err(Code::INVALID_ARGUMENT);
    }
    let mut profiles = device.model().mig.iter();
    profiles.find(|known| known.nvml == profile).ok_or(Code::NOT_SUPPORTED)
}

fn profile_by_id(device: &Device, id: u32) -> Answer<&MigProfile> {
    capable(device)?;
    let mut profiles = device.model().mig.iter();
    profiles.find(|known| known.id == id).ok_or(Code::INVALID_ARGUMENT)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstanceProfileInfo(
    device: Handle,
    profile: u32,
    info: Out<nvmlGpuInstanceProfileInfo_t>,
) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let p = profile_of(&device, profile)?;
        info.put(nvmlGpuInstanceProfileInfo_t {
            id: p.id,
            isP2pSupported: 0,
            sliceCount: p.slices,
            instanceCount: p.max_count,
            multiprocessorCount: p.multiprocessors,
            copyEngineCount: p.copy_engines,
            decoderCount: p.decoders,
            encoderCount: p.encoders,
            jpegCount: p.jpeg,
            ofaCount: p.ofa,
            memorySizeMB: p.memory_mib,
        })
    })
}

/// The caller tells by the first field which of the structs it has.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstanceProfileInfoV(device: Handle, profile: u32, info: Out<u32>) -> u32 {
    call(|| {
        let version = info.get()?;
        let device = Device::open(device)?;
        let p = profile_of(&device, profile)?;
        let name = format!("MIG {}", p.name);
        match version {
            INFO_V2 => info.cast().put(nvmlGpuInstanceProfileInfo_v2_t {
                version,
                id: p.id,
                isP2pSupported: 0,
                sliceCount: p.slices,
                instanceCount: p.max_count,
                multiprocessorCount: p.multiprocessors,
                copyEngineCount: p.copy_engines,
                decoderCount: p.decoders,
                encoderCount: p.encoders,
                jpegCount: p.jpeg,
                ofaCount: p.ofa,
                memorySizeMB: p.memory_mib,
                name: fixed(&name),
            }),
            INFO_V3 => info.cast().put(nvmlGpuInstanceProfileInfo_v3_t {
                version,
                id: p.id,
                sliceCount: p.slices,
                instanceCount: p.max_count,
                multiprocessorCount: p.multiprocessors,
                copyEngineCount: p.copy_engines,
                decoderCount: p.decoders,
                encoderCount: p.encoders,
                jpegCount: p.jpeg,
                ofaCount: p.ofa,
                memorySizeMB: p.memory_mib,
                name: fixed(&name),
                capabilities: 0,
            }),
            _ => Err(Code::VERSION_MISMATCH),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstancePossiblePlacements(
    device: Handle,
    profile: u32,
    placements: Out<nvmlGpuInstancePlacement_t>,
    count: Out<u32>,
) -> u32 {
    call(|| placements_of(device, profile, &placements, &count))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstancePossiblePlacements_v2(
    device: Handle,
    profile: u32,
    placements: Out<nvmlGpuInstancePlacement_t>,
    count: Out<u32>,
) -> u32 {
    call(|| placements_of(device, profile, &placements, &count))
}

fn placements_of(
    device: Handle,
    profile: u32,
    placements: &Out<nvmlGpuInstancePlacement_t>,
    count: &Out<u32>,
) -> Answer<()> {
    let device = Device::open(device)?;
    let profile = profile_by_id(&device, profile)?;
    let mut starts = profile.starts.clone();
    starts.sort_unstable();
    if placements.is_null() {
        return count.put(u32::try_from(starts.len()).unwrap_or(0));
    }
    let placement = |start: &u32| nvmlGpuInstancePlacement_t {
        start: *start,
        size: profile.memory_slices,
    };
    placements.put_list(count, &starts.iter().map(placement).collect::<Vec<_>>())
}

/// How many more would fit beside the instances that there are.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstanceRemainingCapacity(device: Handle, profile: u32, count: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let profile = profile_by_id(&device, profile)?;
        enabled(&device)?;
        check_may_configure(&device)?;
        count.put(mig::gpu_instance::remaining(&device.state, device.index, profile))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceCreateGpuInstance(device: Handle, profile: u32, instance: Out<Handle>) -> u32 {
    call(|| create(device, profile, None, &instance))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceCreateGpuInstanceWithPlacement(
    device: Handle,
    profile: u32,
    placement: Out<nvmlGpuInstancePlacement_t>,
    instance: Out<Handle>,
) -> u32 {
    call(|| create(device, profile, Some(placement.get()?), &instance))
}

fn create(
    device: Handle,
    profile: u32,
    placement: Option<nvmlGpuInstancePlacement_t>,
    instance: &Out<Handle>,
) -> Answer<()> {
    let device = Device::open(device)?;
    let profile = profile_by_id(&device, profile)?;
    if instance.is_null() || placement.is_some_and(|placement| placement.size != profile.memory_slices) {
        return Err(Code::INVALID_ARGUMENT);
    }
    let start = placement.map(|placement| placement.start);
    let id = change(&device, |state, gpu| {
        mig::gpu_instance::create(state, gpu, &profile.name, start)
    })?;
    instance.put(Object::GpuInstance(device.index, id).handle())
}

/// Changes instances of a device for a caller who may.
pub(crate) fn change<T>(device: &Device, edit: impl FnOnce(&mut State, usize) -> Result<T, Error>) -> Answer<T> {
    check_may_configure(device)?;
    Ok(command::change_instances(&device.session.root, device.index, edit)?)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceDestroy(instance: Handle) -> u32 {
    call(|| {
        let parent = Parent::open(instance)?;
        change(&parent.device, |state, gpu| {
            mig::gpu_instance::destroy(state, gpu, parent.id)
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstances(device: Handle, profile: u32, instances: Out<Handle>, count: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let profile = profile_by_id(&device, profile)?;
        let gpu = enabled(&device)?;
        check_may_configure(&device)?;
        let own = gpu.mig.iter().filter(|instance| instance.profile == profile.name);
        let handles: Vec<Handle> = own
            .map(|instance| Object::GpuInstance(device.index, instance.id).handle())
            .collect();
        // The caller's array has room for all that fit on a GPU; `count` comes uninitialized.
        count.put(profile.max_count)?;
        instances.put_list(&count, &handles)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstanceById(device: Handle, id: u32, instance: Out<Handle>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let known = enabled(&device)?.mig.iter().any(|instance| instance.id == id);
        let found = known.then(|| Object::GpuInstance(device.index, id).handle());
        let handle = found.ok_or(Code::NOT_FOUND)?;
        Parent::open(handle)?;
        instance.put(handle)
    })
}

/// A GPU instance that a handle stands for and that the caller may look at.
pub(crate) struct Parent {
    pub(crate) device: Device,
    pub(crate) id: u32,
}

impl Parent {
    pub(crate) fn open(handle: Handle) -> Answer<Self> {
        let Some(Object::GpuInstance(gpu, id)) = Object::of(handle) else {
            return Err(Code::INVALID_ARGUMENT);
        };
        let device = Device::open(Object::Gpu(gpu).handle())?;
        let minor = mig::gpu_instance_minor(device.gpu().minor, id);
        if !device.session.has_capability(minor) {
            check_may_configure(&device)?;
        }
        let parent = Self { device, id };
        parent.parts()?;
        Ok(parent)
    }

    /// The instance with its profile.
    pub(crate) fn parts(&self) -> Answer<(&GpuInstance, &MigProfile)> {
        let mut instances = self.device.gpu().mig.iter();
        let instance = instances
            .find(|instance| instance.id == self.id)
            .ok_or(Code::INVALID_ARGUMENT)?;
        let profile = self.device.state.mig_profile(&instance.profile);
        Ok((instance, profile.ok_or(Code::UNKNOWN)?))
    }

    /// The handle of the GPU as bindings name it.
    pub(crate) fn gpu_handle<T>(&self) -> *mut T {
        std::ptr::without_provenance_mut(Object::Gpu(self.device.index).handle())
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetInfo(instance: Handle, info: Out<nvmlGpuInstanceInfo_t>) -> u32 {
    call(|| {
        let parent = Parent::open(instance)?;
        let (instance, profile) = parent.parts()?;
        info.put(nvmlGpuInstanceInfo_t {
            device: parent.gpu_handle(),
            id: instance.id,
            profileId: profile.id,
            placement: nvmlGpuInstancePlacement_t {
                start: instance.start,
                size: profile.memory_slices,
            },
        })
    })
}
