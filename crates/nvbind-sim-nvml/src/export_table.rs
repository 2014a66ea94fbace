//! The table of internal functions that NVIDIA's tools take from the library beside the public ones.
//!
//! It is not documented. The places and arguments of the functions below were found by letting `nvidia-smi` of driver
//! 535 call a table of its own for each of its views; NVIDIA's open mock NVML names the same places for driver 580.
//! Whatever else is called answers that it is not supported, and `nvidia-smi` prints `N/A`.

use std::ffi::{c_char, c_void};

use nvbind_sim::state::ProcessKind;

use crate::abi::{CText, Out, call, fixed};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::Handle;
use crate::identity;
use crate::process::{NO_INSTANCE, compute_instance, processes};
use crate::topology;

/// A function of the table. Three arguments are all that the ones known here have; each is a number or an address.
type Slot = extern "C" fn(usize, usize, usize) -> u32;

/// The table: its size in bytes, then the functions.
#[repr(C)]
struct Table {
    size: usize,
    slots: [Slot; SLOTS],
}

/// More than any tool asks for.
const SLOTS: usize = 255;

/// The functions by their place in the table, the size being place 0.
const KNOWN: [(usize, Slot); 7] = [
    (23, common_ancestor),
    (26, trace),
    (81, handle_by_index),
    (213, compute_processes),
    (214, mps_processes),
    (215, graphics_processes),
    (230, host_max_pcie_generation),
];

static TABLE: Table = Table {
    size: size_of::<Table>(),
    slots: slots(),
};

const fn slots() -> [Slot; SLOTS] {
    let mut slots: [Slot; SLOTS] = [not_supported; SLOTS];
    let mut at = 0;
    while at < KNOWN.len() {
        slots[KNOWN[at].0 - 1] = KNOWN[at].1;
        at += 1;
    }
    slots
}

/// Names the table.
const GUID: [u8; 16] = [
    0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e, 0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4,
];

#[unsafe(no_mangle)]
extern "C" fn nvmlInternalGetExportTable(table: Out<*const c_void>, guid: Out<[u8; 16]>) -> u32 {
    call(|| {
        if guid.get()? != GUID {
            return Err(Code::NOT_SUPPORTED);
        }
        table.put((&raw const TABLE).cast())
    })
}

extern "C" fn not_supported(_: usize, _: usize, _: usize) -> u32 {
    Code::NOT_SUPPORTED.0
}

/// Gets a line for the library's log.
extern "C" fn trace(_: usize, _: usize, _: usize) -> u32 {
    Code::SUCCESS.0
}

extern "C" fn handle_by_index(index: usize, device: usize, _flags: usize) -> u32 {
    identity::by_index(u32::try_from(index).unwrap_or(u32::MAX), &Out::at(device))
}

/// How far two devices are from each other, each given by a struct that begins with its PCI address as text. The answer
/// counts PIX, PXB, PHB, NODE, SYS from 0.
extern "C" fn common_ancestor(first: usize, second: usize, level: usize) -> u32 {
    /// `nvmlGpuTopologyLevel_t` counts the same in tens from 1.
    const STEP: u32 = 10;
    call(|| {
        let open = |address| Device::open(identity::handle_of_bus_id(&CText::at(address))?);
        let distance = topology::distance(&open(first)?, &open(second)?);
        Out::at(level).put((distance / STEP).saturating_sub(1))
    })
}

/// A process in the internal lists: the public struct with the name behind it.
#[derive(Clone, Copy)]
#[repr(C)]
struct ProcessEntry {
    pid: u32,
    used_memory: u64,
    gpu_instance: u32,
    compute_instance: u32,
    protected_memory: u64,
    name: [c_char; 4096],
}

extern "C" fn compute_processes(device: usize, count: usize, entries: usize) -> u32 {
    call(|| list(device, Some(ProcessKind::Compute), &Out::at(count), &Out::at(entries)))
}

extern "C" fn graphics_processes(device: usize, count: usize, entries: usize) -> u32 {
    call(|| list(device, Some(ProcessKind::Graphics), &Out::at(count), &Out::at(entries)))
}

/// Nothing runs under MPS.
extern "C" fn mps_processes(device: usize, count: usize, entries: usize) -> u32 {
    call(|| list(device, None, &Out::at(count), &Out::at(entries)))
}

fn list(device: Handle, kind: Option<ProcessKind>, count: &Out<u32>, entries: &Out<ProcessEntry>) -> Answer<()> {
    let device = Device::open(device)?;
    let own = kind.map(|kind| processes(&device, kind)).unwrap_or_default();
    let entry = |process: &nvbind_sim::state::Process| ProcessEntry {
        pid: process.pid,
        used_memory: process.memory_mib << 20,
        gpu_instance: process.gpu_instance.unwrap_or(NO_INSTANCE),
        compute_instance: compute_instance(process),
        protected_memory: 0,
        name: fixed(&process.name),
    };
    entries.put_list(count, &own.into_iter().map(entry).collect::<Vec<_>>())
}

/// The host is as fast as the GPU.
extern "C" fn host_max_pcie_generation(device: usize, generation: usize, _: usize) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        device.full()?;
        Out::at(generation).put(device.model().pcie_generation)
    })
}
