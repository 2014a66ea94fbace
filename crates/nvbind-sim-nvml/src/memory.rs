//! Memory.

use nvml_wrapper_sys::bindings::{nvmlBAR1Memory_t, nvmlMemory_t, nvmlMemory_v2_t};

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::Handle;

const MIB: u64 = 1 << 20;
/// `nvmlMemory_v2`: size of the struct and version 2, as `NVML_STRUCT_VERSION` makes it.
const MEMORY_V2: u32 = size_of::<nvmlMemory_v2_t>() as u32 | 2 << 24;

/// Memory slices of a GPU; a MIG device has its share of the aperture too.
const MEMORY_SLICES: u32 = 8;

/// Memory of a device in bytes.
struct Memory {
    total: u64,
    reserved: u64,
    used: u64,
}

impl Memory {
    fn of(device: &Device) -> Self {
        let (total, reserved, used) = match device.mig() {
            None => (
                device.model().memory_mib,
                device.model().reserved_mib,
                device.gpu().memory_used(),
            ),
            Some(mig) => {
                let processes = &device.gpu().processes;
                let own = processes
                    .iter()
                    .filter(|process| process.gpu_instance == Some(mig.gpu_instance.id));
                (mig.profile.memory_mib, 0, own.map(|process| process.memory_mib).sum())
            }
        };
        let used = used.min(total - reserved);
        Self {
            total: total * MIB,
            reserved: reserved * MIB,
            used: used * MIB,
        }
    }

    fn free(&self) -> u64 {
        self.total - self.reserved - self.used
    }
}

device_values! {
    // The first version of the struct counts what the driver keeps for itself as used.
    nvmlDeviceGetMemoryInfo: nvmlMemory_t = |device| {
        let memory = Memory::of(device);
        Ok(nvmlMemory_t { total: memory.total, free: memory.free(), used: memory.used + memory.reserved })
    };
    nvmlDeviceGetBAR1MemoryInfo: nvmlBAR1Memory_t = |device| {
        let slices = device.mig().map_or(MEMORY_SLICES, |mig| mig.profile.memory_slices);
        let total = device.model().bar1_mib * u64::from(slices) / u64::from(MEMORY_SLICES) * MIB;
        Ok(nvmlBAR1Memory_t { bar1Total: total, bar1Free: total - MIB, bar1Used: MIB })
    };
    nvmlDeviceGetMemoryBusWidth: u32 = |device| Ok(device.model().memory_bus_bits);
    // Confidential computing is off: no memory is protected.
    nvmlDeviceGetConfComputeProtectedMemoryUsage: nvmlMemory_t = |device| {
        device.full().map(|_| nvmlMemory_t { total: 0, free: 0, used: 0 })
    };
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, info: Out<nvmlMemory_v2_t>) -> u32 {
    call(|| -> Answer<()> {
        let version = info.get()?.version;
        if version != MEMORY_V2 {
            return Err(Code::VERSION_MISMATCH);
        }
        let memory = Memory::of(&Device::open(device)?);
        let (total, reserved, free, used) = (memory.total, memory.reserved, memory.free(), memory.used);
        info.put(nvmlMemory_v2_t {
            version,
            total,
            reserved,
            free,
            used,
        })
    })
}
