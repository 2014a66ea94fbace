//! GPU instances and compute instances: what MIG devices are made of.

use nvbind_sim::profile::MigProfile;
use nvbind_sim::state::MigInstance;
use nvml_wrapper_sys::bindings::{
    nvmlComputeInstanceInfo_t, nvmlComputeInstancePlacement_t, nvmlComputeInstanceProfileInfo_t,
    nvmlComputeInstanceProfileInfo_v2_t, nvmlGpuInstanceInfo_t, nvmlGpuInstancePlacement_t,
    nvmlGpuInstanceProfileInfo_t, nvmlGpuInstanceProfileInfo_v2_t, nvmlGpuInstanceProfileInfo_v3_t,
};

use crate::abi::{Out, call, fixed};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};
use crate::mig::capable;

/// Profiles that NVML has numbers for (`NVML_GPU_INSTANCE_PROFILE_COUNT`).
const PROFILES: u32 = 17;
const GPU_INSTANCE_V2: u32 = size_of::<nvmlGpuInstanceProfileInfo_v2_t>() as u32 | 2 << 24;
const GPU_INSTANCE_V3: u32 = size_of::<nvmlGpuInstanceProfileInfo_v3_t>() as u32 | 3 << 24;
const COMPUTE_INSTANCE_V2: u32 = size_of::<nvmlComputeInstanceProfileInfo_v2_t>() as u32 | 2 << 24;

fn profile_of(device: &Device, profile: u32) -> Answer<&MigProfile> {
    capable(device)?;
    if profile >= PROFILES {
        return Err(Code::INVALID_ARGUMENT);
    }
    device
        .model()
        .mig
        .iter()
        .find(|known| known.nvml == profile)
        .ok_or(Code::NOT_SUPPORTED)
}

fn profile_by_id(device: &Device, id: u32) -> Answer<&MigProfile> {
    capable(device)?;
    device
        .model()
        .mig
        .iter()
        .find(|known| known.id == id)
        .ok_or(Code::INVALID_ARGUMENT)
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
            GPU_INSTANCE_V2 => info.cast().put(nvmlGpuInstanceProfileInfo_v2_t {
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
            GPU_INSTANCE_V3 => info.cast().put(nvmlGpuInstanceProfileInfo_v3_t {
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
        let existing: Vec<(&MigProfile, u32)> = device
            .gpu()
            .mig
            .iter()
            .filter_map(|i| Some((device.state.mig_profile(&i.profile)?, i.start)))
            .collect();
        count.put(nvbind_sim::mig::remaining(profile, &existing))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGpuInstances(device: Handle, profile: u32, instances: Out<Handle>, count: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let profile = profile_by_id(&device, profile)?;
        let own = device
            .gpu()
            .mig
            .iter()
            .filter(|instance| instance.profile == profile.name);
        let handles: Vec<Handle> = own
            .map(|instance| Object::GpuInstance(device.index, instance.gpu_instance).handle())
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
        let found = capable(&device)?.mig.iter().any(|mig| mig.gpu_instance == id);
        let handle = found.then(|| Object::GpuInstance(device.index, id).handle());
        instance.put(handle.ok_or(Code::NOT_FOUND)?)
    })
}

/// A GPU instance or compute instance that a handle stands for.
struct Instance {
    device: Device,
    id: u32,
}

impl Instance {
    fn gpu_instance(handle: Handle) -> Answer<Self> {
        match Object::of(handle) {
            Some(Object::GpuInstance(gpu, id)) => Self::open(gpu, id),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    fn compute_instance(handle: Handle) -> Answer<Self> {
        match Object::of(handle) {
            Some(Object::ComputeInstance(gpu, id)) => Self::open(gpu, id),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }

    fn open(gpu: usize, id: u32) -> Answer<Self> {
        let device = Device::open(Object::Gpu(gpu).handle())?;
        Ok(Self { device, id })
    }

    fn parts(&self) -> Answer<(&MigInstance, &MigProfile)> {
        let instance = self.device.gpu().mig.iter().find(|mig| mig.gpu_instance == self.id);
        let instance = instance.ok_or(Code::INVALID_ARGUMENT)?;
        Ok((
            instance,
            self.device.state.mig_profile(&instance.profile).ok_or(Code::UNKNOWN)?,
        ))
    }

    fn gpu_handle<T>(&self) -> *mut T {
        std::ptr::without_provenance_mut(Object::Gpu(self.device.index).handle())
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetInfo(instance: Handle, info: Out<nvmlGpuInstanceInfo_t>) -> u32 {
    call(|| {
        let instance = Instance::gpu_instance(instance)?;
        let (mig, profile) = instance.parts()?;
        info.put(nvmlGpuInstanceInfo_t {
            device: instance.gpu_handle(),
            id: mig.gpu_instance,
            profileId: profile.id,
            placement: nvmlGpuInstancePlacement_t {
                start: mig.start,
                size: profile.memory_slices,
            },
        })
    })
}

/// `NVML_COMPUTE_INSTANCE_PROFILE_*` by number of slices; the profile ids are the same numbers.
fn compute_profile(slices: u32) -> u32 {
    match slices {
        7 => 4,
        _ => slices.saturating_sub(1),
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstances(
    instance: Handle,
    profile: u32,
    instances: Out<Handle>,
    count: Out<u32>,
) -> u32 {
    call(|| {
        let instance = Instance::gpu_instance(instance)?;
        let fills = compute_profile(instance.parts()?.1.slices) == profile;
        let handle = Object::ComputeInstance(instance.device.index, instance.id).handle();
        count.put(1)?;
        instances.put_list(&count, if fills { std::slice::from_ref(&handle) } else { &[] })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceById(instance: Handle, id: u32, compute: Out<Handle>) -> u32 {
    call(|| {
        let instance = Instance::gpu_instance(instance)?;
        let found = instance.parts()?.0.compute_instance == id;
        let handle = found.then(|| Object::ComputeInstance(instance.device.index, instance.id).handle());
        compute.put(handle.ok_or(Code::NOT_FOUND)?)
    })
}

/// The one compute instance takes everything.
#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceRemainingCapacity(
    instance: Handle,
    _profile: u32,
    count: Out<u32>,
) -> u32 {
    call(|| {
        Instance::gpu_instance(instance)?.parts()?;
        count.put(0)
    })
}

fn compute_info(instance: &Instance, profile: u32, engine: u32) -> Answer<nvmlComputeInstanceProfileInfo_t> {
    let (_, parent) = instance.parts()?;
    if engine != 0 || profile != compute_profile(parent.slices) {
        return Err(Code::NOT_SUPPORTED);
    }
    Ok(nvmlComputeInstanceProfileInfo_t {
        id: profile,
        sliceCount: parent.slices,
        instanceCount: 1,
        multiprocessorCount: parent.multiprocessors,
        sharedCopyEngineCount: parent.copy_engines,
        sharedDecoderCount: parent.decoders,
        sharedEncoderCount: parent.encoders,
        sharedJpegCount: parent.jpeg,
        sharedOfaCount: parent.ofa,
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
    instance: Handle,
    profile: u32,
    engine: u32,
    info: Out<nvmlComputeInstanceProfileInfo_t>,
) -> u32 {
    call(|| info.put(compute_info(&Instance::gpu_instance(instance)?, profile, engine)?))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceProfileInfoV(
    instance: Handle,
    profile: u32,
    engine: u32,
    info: Out<u32>,
) -> u32 {
    call(|| {
        let version = info.get()?;
        if version != COMPUTE_INSTANCE_V2 {
            return Err(Code::VERSION_MISMATCH);
        }
        let instance = Instance::gpu_instance(instance)?;
        let v1 = compute_info(&instance, profile, engine)?;
        let name = format!("MIG {}", instance.parts()?.1.name);
        info.cast().put(nvmlComputeInstanceProfileInfo_v2_t {
            version,
            id: v1.id,
            sliceCount: v1.sliceCount,
            instanceCount: v1.instanceCount,
            multiprocessorCount: v1.multiprocessorCount,
            sharedCopyEngineCount: v1.sharedCopyEngineCount,
            sharedDecoderCount: v1.sharedDecoderCount,
            sharedEncoderCount: v1.sharedEncoderCount,
            sharedJpegCount: v1.sharedJpegCount,
            sharedOfaCount: v1.sharedOfaCount,
            name: fixed(&name),
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlComputeInstanceGetInfo(instance: Handle, info: Out<nvmlComputeInstanceInfo_t>) -> u32 {
    compute_instance_info(instance, &info)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlComputeInstanceGetInfo_v2(instance: Handle, info: Out<nvmlComputeInstanceInfo_t>) -> u32 {
    compute_instance_info(instance, &info)
}

fn compute_instance_info(instance: Handle, info: &Out<nvmlComputeInstanceInfo_t>) -> u32 {
    call(|| {
        let instance = Instance::compute_instance(instance)?;
        let (mig, profile) = instance.parts()?;
        let parent = Object::GpuInstance(instance.device.index, instance.id).handle();
        info.put(nvmlComputeInstanceInfo_t {
            device: instance.gpu_handle(),
            gpuInstance: std::ptr::without_provenance_mut(parent),
            id: mig.compute_instance,
            profileId: compute_profile(profile.slices),
            placement: nvmlComputeInstancePlacement_t {
                start: 0,
                size: profile.slices,
            },
        })
    })
}
