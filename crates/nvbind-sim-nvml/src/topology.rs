//! How GPUs, CPUs and memory are connected.

use nvbind_sim::profile::{NvLink, cpus_of};
use nvml_wrapper_sys::bindings::nvmlPciInfo_t;

use crate::abi::{Out, call, fixed};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};
use crate::session;

/// `nvmlGpuTopologyLevel_t`.
const SAME_BOARD: u32 = 0;
const SWITCHES: u32 = 20;
const HOST_BRIDGE: u32 = 30;
const NODE: u32 = 40;
const SYSTEM: u32 = 50;
/// `NVML_NVLINK_DEVICE_TYPE_SWITCH`.
const REMOTE_SWITCH: u32 = 2;
/// `nvmlGpuP2PStatus_t`.
const P2P_OK: u32 = 0;
const P2P_NOT_SUPPORTED: u32 = 5;
/// `nvmlGpuP2PCapsIndex_t`.
const P2P_NVLINK: u32 = 2;
const P2P_INDICES: u32 = 5;
/// MB/s of one link in one direction, by NVLink generation from 1.
const LINK_SPEEDS: [u32; 5] = [20_000, 25_781, 25_781, 26_562, 53_125];
/// `NVML_NVLINK_MAX_LINKS`: asking for a link from here on makes no sense on any GPU.
const MAX_LINKS: u32 = 18;
const BITS: usize = usize::BITS as usize;

/// The GPU's NVLink, where it has one. MIG mode switches it off.
pub(crate) fn links(device: &Device) -> Option<NvLink> {
    device
        .model()
        .nvlink
        .filter(|_| device.mig().is_none() && !device.gpu().mig_enabled)
}

/// One link of the GPU.
pub(crate) fn link(device: &Device, link: u32) -> Answer<NvLink> {
    if link >= MAX_LINKS {
        return Err(Code::INVALID_ARGUMENT);
    }
    links(device)
        .filter(|links| link < links.links)
        .ok_or(Code::NOT_SUPPORTED)
}

/// MB/s of each link.
pub(crate) fn link_speed(device: &Device) -> Answer<u32> {
    let version = links(device).ok_or(Code::NOT_SUPPORTED)?.version;
    LINK_SPEEDS
        .get(version as usize - 1)
        .copied()
        .ok_or(Code::NOT_SUPPORTED)
}

/// Exports functions that give one value of a link: `name: type = |device, link| answer;`.
macro_rules! link_values {
    ($($name:ident: $type:ty = $answer:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(device: Handle, number: u32, out: Out<$type>) -> u32 {
            call(|| {
                let device = Device::open(device)?;
                let answer: fn(&Device, NvLink, u32) -> Answer<$type> = $answer;
                out.put(answer(&device, link(&device, number)?, number)?)
            })
        }
    )* };
}

link_values! {
    nvmlDeviceGetNvLinkState: u32 = |_, _, _| Ok(1);
    nvmlDeviceGetNvLinkVersion: u32 = |_, link, _| Ok(link.version);
    nvmlDeviceGetNvLinkRemoteDeviceType: u32 = |_, _, _| Ok(REMOTE_SWITCH);
    nvmlDeviceGetNvLinkRemotePciInfo: nvmlPciInfo_t = |_, _, number| Ok(switch_info(number));
    nvmlDeviceGetNvLinkRemotePciInfo_v2: nvmlPciInfo_t = |_, _, number| Ok(switch_info(number));
}

/// The NVSwitch at the other end; the links are dealt out over them in turn.
fn switch_info(link: u32) -> nvmlPciInfo_t {
    /// Bus of the first NVSwitch on NVIDIA's baseboards, and how many a GPU reaches there at most.
    const FIRST_BUS: u32 = 0xc4;
    const SWITCHES: u32 = 6;
    let bus = FIRST_BUS + link % SWITCHES;
    nvmlPciInfo_t {
        busIdLegacy: fixed(&format!("0000:{bus:02X}:00.0")),
        domain: 0,
        bus,
        device: 0,
        pciDeviceId: 0,
        pciSubSystemId: 0,
        busId: fixed(&format!("00000000:{bus:02X}:00.0")),
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetNvLinkCapability(device: Handle, number: u32, capability: u32, result: Out<u32>) -> u32 {
    /// P2P, system memory, P2P atomics, system memory atomics, SLI, valid.
    const CAPABILITIES: [u32; 6] = [1, 1, 1, 1, 0, 1];
    call(|| {
        link(&Device::open(device)?, number)?;
        result.put(*CAPABILITIES.get(capability as usize).ok_or(Code::INVALID_ARGUMENT)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetNvLinkErrorCounter(device: Handle, number: u32, _counter: u32, value: Out<u64>) -> u32 {
    call(|| {
        link(&Device::open(device)?, number)?;
        value.put(0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetNvLinkUtilizationCounter(
    device: Handle,
    number: u32,
    _counter: u32,
    received: Out<u64>,
    sent: Out<u64>,
) -> u32 {
    call(|| {
        link(&Device::open(device)?, number)?;
        received.put(0)?;
        sent.put(0)
    })
}

/// How far two GPUs are from each other on PCIe.
pub(crate) fn distance(first: &Device, second: &Device) -> u32 {
    let (a, b) = (first.gpu(), second.gpu());
    match () {
        () if first.index == second.index => SAME_BOARD,
        () if a.switch >= 0 && a.switch == b.switch => SWITCHES,
        () if a.numa < 0 && b.numa < 0 => HOST_BRIDGE,
        () if a.numa == b.numa => NODE,
        () => SYSTEM,
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTopologyCommonAncestor(first: Handle, second: Handle, level: Out<u32>) -> u32 {
    call(|| level.put(distance(&Device::open(first)?, &Device::open(second)?)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTopologyNearestGpus(
    device: Handle,
    level: u32,
    count: Out<u32>,
    devices: Out<Handle>,
) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let handles = device.session.visible.iter().map(|index| Object::Gpu(*index).handle());
        let others = handles.filter(|handle| {
            Device::open(*handle).is_ok_and(|other| other.index != device.index && distance(&device, &other) == level)
        });
        put_devices(&count, &devices, &others.collect::<Vec<_>>())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetTopologyGpuSet(cpu: u32, count: Out<u32>, devices: Out<Handle>) -> u32 {
    call(|| {
        let session = session::current()?;
        let handles = session.visible.iter().map(|index| Object::Gpu(*index).handle());
        let near = handles.filter(|handle| Device::open(*handle).is_ok_and(|gpu| local_cpus(&gpu).contains(&cpu)));
        put_devices(&count, &devices, &near.collect::<Vec<_>>())
    })
}

/// These two lists may be asked for without an array, to learn how long they are.
fn put_devices(count: &Out<u32>, devices: &Out<Handle>, handles: &[Handle]) -> Answer<()> {
    if devices.is_null() {
        return count.put(u32::try_from(handles.len()).unwrap_or(u32::MAX));
    }
    devices.put_list(count, handles)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetP2PStatus(first: Handle, second: Handle, index: u32, status: Out<u32>) -> u32 {
    call(|| {
        let (first, second) = (Device::open(first)?, Device::open(second)?);
        if index >= P2P_INDICES {
            return Err(Code::INVALID_ARGUMENT);
        }
        let linked = links(&first).is_some() && links(&second).is_some();
        let peers = linked || (index != P2P_NVLINK && first.model().brand == nvbind_sim::profile::Brand::Nvidia);
        status.put(if peers { P2P_OK } else { P2P_NOT_SUPPORTED })
    })
}

fn local_cpus(device: &Device) -> Vec<u32> {
    cpus_of(&device.state.profile.cpu_list(device.gpu().numa))
}

/// Writes a bit set into the caller's array of C longs.
fn put_bits(size: u32, set: &Out<usize>, bits: &[u32]) -> Answer<()> {
    let size = size as usize;
    if size == 0 {
        return Err(Code::INVALID_ARGUMENT);
    }
    (0..size).try_for_each(|index| {
        let here = bits.iter().map(|bit| *bit as usize).filter(|bit| bit / BITS == index);
        set.put_at(index, size, here.fold(0, |word, bit| word | 1 << (bit % BITS)))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCpuAffinity(device: Handle, size: u32, set: Out<usize>) -> u32 {
    call(|| put_bits(size, &set, &local_cpus(&Device::open(device)?)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCpuAffinityWithinScope(device: Handle, size: u32, set: Out<usize>, _scope: u32) -> u32 {
    call(|| put_bits(size, &set, &local_cpus(&Device::open(device)?)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryAffinity(device: Handle, size: u32, set: Out<usize>, _scope: u32) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let node = u32::try_from(device.gpu().numa).map_err(|_| Code::NOT_SUPPORTED)?;
        put_bits(size, &set, &[node])
    })
}
