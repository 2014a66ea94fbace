//! Compute instances of a GPU instance: listed, made and destroyed.

use nvbind_sim::mig::{self, ComputeProfile};
use nvml_wrapper_sys::bindings::{
    nvmlComputeInstanceInfo_t, nvmlComputeInstancePlacement_t, nvmlComputeInstanceProfileInfo_t,
    nvmlComputeInstanceProfileInfo_v2_t, nvmlComputeInstanceProfileInfo_v3_t,
};

use crate::abi::{Out, call, fixed};
use crate::error::{Answer, Code};
use crate::gpu_instance::{Parent, change};
use crate::handle::{Handle, Object};
use crate::mig::check_may_configure;

/// Profiles that NVML has numbers for (`NVML_COMPUTE_INSTANCE_PROFILE_COUNT`).
const PROFILES: u32 = 8;
/// `NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED`: the only one there is.
const ENGINES_SHARED: u32 = 0;
const INFO_V2: u32 = size_of::<nvmlComputeInstanceProfileInfo_v2_t>() as u32 | 2 << 24;
const INFO_V3: u32 = size_of::<nvmlComputeInstanceProfileInfo_v3_t>() as u32 | 3 << 24;

/// A profile number is a profile id. One that the GPU instance does not have is `unknown`.
fn profile_of(parent: &Parent, profile: u32, unknown: Code) -> Answer<ComputeProfile> {
    if profile >= PROFILES {
        return Err(Code::INVALID_ARGUMENT);
    }
    let profiles = mig::compute_instance::profiles(parent.device.model(), parent.parts()?.1);
    profiles.into_iter().find(|known| known.id == profile).ok_or(unknown)
}

/// The name of a profile and what it has, in the struct that the others grew from.
fn profile_info(instance: Handle, profile: u32, engine: u32) -> Answer<(String, nvmlComputeInstanceProfileInfo_t)> {
    let parent = Parent::open(instance)?;
    if engine != ENGINES_SHARED {
        return Err(Code::INVALID_ARGUMENT);
    }
    let known = profile_of(&parent, profile, Code::NOT_SUPPORTED)?;
    let (_, shared) = parent.parts()?;
    let info = nvmlComputeInstanceProfileInfo_t {
        id: known.id,
        sliceCount: known.slices,
        instanceCount: known.max_count,
        multiprocessorCount: known.multiprocessors,
        sharedCopyEngineCount: shared.copy_engines,
        sharedDecoderCount: shared.decoders,
        sharedEncoderCount: shared.encoders,
        sharedJpegCount: shared.jpeg,
        sharedOfaCount: shared.ofa,
    };
    Ok((format!("MIG {}", known.name), info))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
    instance: Handle,
    profile: u32,
    engine: u32,
    info: Out<nvmlComputeInstanceProfileInfo_t>,
) -> u32 {
    call(|| info.put(profile_info(instance, profile, engine)?.1))
}

/// The caller tells by the first field which of the structs it has.
#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceProfileInfoV(
    instance: Handle,
    profile: u32,
    engine: u32,
    info: Out<u32>,
) -> u32 {
    call(|| {
        let version = info.get()?;
        let (name, v1) = profile_info(instance, profile, engine)?;
        match version {
            INFO_V2 => info.cast().put(nvmlComputeInstanceProfileInfo_v2_t {
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
            }),
            INFO_V3 => info.cast().put(nvmlComputeInstanceProfileInfo_v3_t {
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
                capabilities: 0,
            }),
            _ => Err(Code::VERSION_MISMATCH),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstancePossiblePlacements(
    instance: Handle,
    profile: u32,
    placements: Out<nvmlComputeInstancePlacement_t>,
    count: Out<u32>,
) -> u32 {
    call(|| {
        let profile = profile_of(&Parent::open(instance)?, profile, Code::INVALID_ARGUMENT)?;
        if placements.is_null() {
            return count.put(u32::try_from(profile.starts.len()).unwrap_or(0));
        }
        let placement = |start: &u32| nvmlComputeInstancePlacement_t {
            start: *start,
            size: profile.slices,
        };
        placements.put_list(&count, &profile.starts.iter().map(placement).collect::<Vec<_>>())
    })
}

/// How many more would fit beside the compute instances that there are.
#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceRemainingCapacity(
    instance: Handle,
    profile: u32,
    count: Out<u32>,
) -> u32 {
    call(|| {
        let parent = Parent::open(instance)?;
        check_may_configure(&parent.device)?;
        let profile = profile_of(&parent, profile, Code::INVALID_ARGUMENT)?;
        let (state, gpu) = (&parent.device.state, parent.device.index);
        count.put(mig::compute_instance::remaining(state, gpu, parent.id, &profile)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceCreateComputeInstance(instance: Handle, profile: u32, compute: Out<Handle>) -> u32 {
    call(|| create(instance, profile, None, &compute))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceCreateComputeInstanceWithPlacement(
    instance: Handle,
    profile: u32,
    placement: Out<nvmlComputeInstancePlacement_t>,
    compute: Out<Handle>,
) -> u32 {
    call(|| create(instance, profile, Some(placement.get()?), &compute))
}

fn create(
    instance: Handle,
    profile: u32,
    placement: Option<nvmlComputeInstancePlacement_t>,
    compute: &Out<Handle>,
) -> Answer<()> {
    let parent = Parent::open(instance)?;
    let profile = profile_of(&parent, profile, Code::INVALID_ARGUMENT)?;
    if compute.is_null() || placement.is_some_and(|placement| placement.size != profile.slices) {
        return Err(Code::INVALID_ARGUMENT);
    }
    let start = placement.map(|placement| placement.start);
    let id = change(&parent.device, |state, gpu| {
        mig::compute_instance::create(state, gpu, parent.id, profile.id, start)
    })?;
    compute.put(Object::ComputeInstance(parent.device.index, parent.id, id).handle())
}

/// A handle of a compute instance: its parent and its id. `nvmlComputeInstanceGetInfo` tells whether it is there.
fn open(handle: Handle) -> Answer<(Parent, u32)> {
    match Object::of(handle) {
        Some(Object::ComputeInstance(gpu, parent, id)) => {
            Ok((Parent::open(Object::GpuInstance(gpu, parent).handle())?, id))
        }
        _ => Err(Code::INVALID_ARGUMENT),
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlComputeInstanceDestroy(compute: Handle) -> u32 {
    call(|| {
        let (parent, id) = open(compute)?;
        change(&parent.device, |state, gpu| {
            mig::compute_instance::destroy(state, gpu, parent.id, id)
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstances(
    instance: Handle,
    profile: u32,
    instances: Out<Handle>,
    count: Out<u32>,
) -> u32 {
    call(|| {
        let parent = Parent::open(instance)?;
        check_may_configure(&parent.device)?;
        let profile = profile_of(&parent, profile, Code::INVALID_ARGUMENT)?;
        let compute = parent.parts()?.0.compute.iter();
        let own = compute.filter(|compute| compute.profile == profile.id);
        let handles: Vec<Handle> = own
            .map(|compute| Object::ComputeInstance(parent.device.index, parent.id, compute.id).handle())
            .collect();
        // The caller's array has room for all that fit; `count` comes uninitialized.
        count.put(profile.max_count)?;
        instances.put_list(&count, &handles)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGpuInstanceGetComputeInstanceById(instance: Handle, id: u32, compute: Out<Handle>) -> u32 {
    call(|| {
        let parent = Parent::open(instance)?;
        let known = parent.parts()?.0.compute.iter().any(|compute| compute.id == id);
        let found = known.then(|| Object::ComputeInstance(parent.device.index, parent.id, id).handle());
        compute.put(found.ok_or(Code::NOT_FOUND)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlComputeInstanceGetInfo(compute: Handle, info: Out<nvmlComputeInstanceInfo_t>) -> u32 {
    call(|| put_info(compute, &info))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlComputeInstanceGetInfo_v2(compute: Handle, info: Out<nvmlComputeInstanceInfo_t>) -> u32 {
    call(|| put_info(compute, &info))
}

fn put_info(compute: Handle, info: &Out<nvmlComputeInstanceInfo_t>) -> Answer<()> {
    let (parent, id) = open(compute)?;
    let mut instances = parent.parts()?.0.compute.iter();
    let instance = instances
        .find(|compute| compute.id == id)
        .ok_or(Code::INVALID_ARGUMENT)?;
    let profile = profile_of(&parent, instance.profile, Code::UNKNOWN)?;
    let gpu_instance = Object::GpuInstance(parent.device.index, parent.id).handle();
    info.put(nvmlComputeInstanceInfo_t {
        device: parent.gpu_handle(),
        gpuInstance: std::ptr::without_provenance_mut(gpu_instance),
        id: instance.id,
        profileId: profile.id,
        placement: nvmlComputeInstancePlacement_t {
            start: instance.start,
            size: profile.slices,
        },
    })
}
