//! The library, the driver, the machine.

use nvbind_sim::state::Process;

use crate::abi::{Out, Text, call};
use crate::error::{Answer, Code};
use crate::session;

#[unsafe(no_mangle)]
extern "C" fn nvmlInit() -> u32 {
    call(session::init)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> u32 {
    call(session::init)
}

/// `NVML_INIT_FLAG_NO_GPUS` and `NVML_INIT_FLAG_NO_ATTACH` ask for less than we do.
#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: u32) -> u32 {
    call(session::init)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> u32 {
    call(session::shutdown)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetDriverVersion(version: Text, length: u32) -> u32 {
    call(|| version.put(length, &session::current()?.state()?.profile.driver_version))
}

/// NVML's version is the CUDA major followed by the driver version: `12.535.309.01`.
#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetNVMLVersion(version: Text, length: u32) -> u32 {
    call(|| {
        let state = session::current()?.state()?;
        let major = state.profile.cuda_driver_version() / 1000;
        version.put(length, &format!("{major}.{}", state.profile.driver_version))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetCudaDriverVersion(version: Out<i32>) -> u32 {
    cuda_version(&version)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: Out<i32>) -> u32 {
    cuda_version(&version)
}

fn cuda_version(version: &Out<i32>) -> u32 {
    call(|| version.put(session::current()?.state()?.profile.cuda_driver_version()))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetProcessName(pid: u32, name: Text, length: u32) -> u32 {
    call(|| {
        let state = session::current()?.state()?;
        let mut processes = state.gpus.iter().flat_map(|gpu| &gpu.processes);
        let process: &Process = processes.find(|process| process.pid == pid).ok_or(Code::NOT_FOUND)?;
        // A name that is too long is cut here, not refused.
        let fits = (length as usize).saturating_sub(1).min(process.name.len());
        let cut = (0..=fits)
            .rev()
            .find(|at| process.name.is_char_boundary(*at))
            .unwrap_or(0);
        name.put(length, &process.name[..cut])
    })
}

/// Only S-class systems, long gone, have units.
#[unsafe(no_mangle)]
extern "C" fn nvmlUnitGetCount(count: Out<u32>) -> u32 {
    none_of(&count)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGetExcludedDeviceCount(count: Out<u32>) -> u32 {
    none_of(&count)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlGetBlacklistDeviceCount(count: Out<u32>) -> u32 {
    none_of(&count)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetHicVersion(count: Out<u32>, _entries: Out<u8>) -> u32 {
    none_of(&count)
}

fn none_of(count: &Out<u32>) -> u32 {
    call(|| -> Answer<()> {
        session::current()?;
        count.put(0)
    })
}
