//! The programs that use a GPU.

use nvbind_sim::state::{Process, ProcessKind};
use nvml_wrapper_sys::bindings::{nvmlProcessInfo_t, nvmlProcessInfo_v1_t};

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::Answer;
use crate::handle::Handle;

/// What NVML puts where there is no MIG instance.
pub(crate) const NO_INSTANCE: u32 = u32::MAX;

/// The device's processes of one kind; a MIG device has those of its instance.
pub(crate) fn processes(device: &Device, kind: ProcessKind) -> Vec<&Process> {
    let mig = device.mig();
    let is_on = |process: &Process| {
        mig.as_ref()
            .is_none_or(|mig| process.runs_on(mig.gpu_instance.id, mig.compute_instance.id))
    };
    let own = |process: &&Process| process.kind == kind && is_on(process);
    device.gpu().processes.iter().filter(own).collect()
}

fn info(process: &Process) -> nvmlProcessInfo_t {
    nvmlProcessInfo_t {
        pid: process.pid,
        usedGpuMemory: process.memory_mib << 20,
        gpuInstanceId: process.gpu_instance.unwrap_or(NO_INSTANCE),
        computeInstanceId: compute_instance(process),
    }
}

/// The compute instance that a process runs on.
pub(crate) fn compute_instance(process: &Process) -> u32 {
    process
        .gpu_instance
        .map_or(NO_INSTANCE, |_| process.compute_instance.unwrap_or(0))
}

fn info_v1(process: &Process) -> nvmlProcessInfo_v1_t {
    nvmlProcessInfo_v1_t {
        pid: process.pid,
        usedGpuMemory: process.memory_mib << 20,
    }
}

fn list<T: Copy>(
    device: Handle,
    kind: Option<ProcessKind>,
    count: &Out<u32>,
    infos: &Out<T>,
    info: fn(&Process) -> T,
) -> Answer<()> {
    let device = Device::open(device)?;
    let list: Vec<T> = kind
        .map(|kind| processes(&device, kind).into_iter().map(info).collect())
        .unwrap_or_default();
    infos.put_list(count, &list)
}

/// Exports the lists of processes: `name: struct = kind, how a process fills it;`. No kind: nothing runs under MPS.
macro_rules! process_lists {
    ($($name:ident: $type:ty = $kind:expr, $info:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(device: Handle, count: Out<u32>, infos: Out<$type>) -> u32 {
            call(|| list(device, $kind, &count, &infos, $info))
        }
    )* };
}

process_lists! {
    nvmlDeviceGetComputeRunningProcesses: nvmlProcessInfo_v1_t = Some(ProcessKind::Compute), info_v1;
    nvmlDeviceGetComputeRunningProcesses_v2: nvmlProcessInfo_t = Some(ProcessKind::Compute), info;
    nvmlDeviceGetComputeRunningProcesses_v3: nvmlProcessInfo_t = Some(ProcessKind::Compute), info;
    nvmlDeviceGetGraphicsRunningProcesses: nvmlProcessInfo_v1_t = Some(ProcessKind::Graphics), info_v1;
    nvmlDeviceGetGraphicsRunningProcesses_v2: nvmlProcessInfo_t = Some(ProcessKind::Graphics), info;
    nvmlDeviceGetGraphicsRunningProcesses_v3: nvmlProcessInfo_t = Some(ProcessKind::Graphics), info;
    nvmlDeviceGetMPSComputeRunningProcesses: nvmlProcessInfo_v1_t = None, info_v1;
    nvmlDeviceGetMPSComputeRunningProcesses_v2: nvmlProcessInfo_t = None, info;
    nvmlDeviceGetMPSComputeRunningProcesses_v3: nvmlProcessInfo_t = None, info;
}

device_values! {
    // Accounting is off, with the driver's buffer size.
    nvmlDeviceGetAccountingMode: u32 = |device| device.full().map(|_| 0);
    nvmlDeviceGetAccountingBufferSize: u32 = |device| device.full().map(|_| 4000);
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetAccountingPids(device: Handle, count: Out<u32>, _pids: Out<u32>) -> u32 {
    call(|| {
        Device::open(device)?.full()?;
        count.put(0)
    })
}
