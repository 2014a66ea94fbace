//! Which devices there are and who they are.

use nvbind_sim::mig::MigDevice;
use nvml_wrapper_sys::bindings::nvmlPciInfo_t;

use crate::abi::{CText, Out, Text, call, fixed};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};
use crate::session;

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount(count: Out<u32>) -> u32 {
    device_count(&count)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(count: Out<u32>) -> u32 {
    device_count(&count)
}

fn device_count(count: &Out<u32>) -> u32 {
    call(|| count.put(u32::try_from(session::current()?.visible.len()).unwrap_or(u32::MAX)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex(index: u32, device: Out<Handle>) -> u32 {
    by_index(index, &device)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: Out<Handle>) -> u32 {
    by_index(index, &device)
}

/// Also what `nvidia-smi` asks for through the export table.
pub(crate) fn by_index(index: u32, device: &Out<Handle>) -> u32 {
    call(|| {
        let session = session::current()?;
        let gpu = *session.visible.get(index as usize).ok_or(Code::INVALID_ARGUMENT)?;
        put_living(gpu, device)
    })
}

/// Gives the handle of a GPU, unless it is lost.
fn put_living(gpu: usize, device: &Out<Handle>) -> Answer<()> {
    let handle = Object::Gpu(gpu).handle();
    Device::open(handle)?;
    device.put(handle)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByUUID(uuid: CText, device: Out<Handle>) -> u32 {
    call(|| {
        let (session, uuid) = (session::current()?, uuid.get()?);
        let state = session.state()?;
        let gpu = session.visible.iter().find(|index| state.gpus[**index].uuid == uuid);
        if let Some(gpu) = gpu {
            return put_living(*gpu, &device);
        }
        let mig = session.visible.iter().find_map(|index| {
            let gpu = Device::open(Object::Gpu(*index).handle()).ok()?;
            let migs = gpu.visible_migs();
            let mig = migs.iter().find(|mig| mig.compute_instance.uuid == uuid)?;
            Some(Object::Mig(*index, mig.gpu_instance.id, mig.compute_instance.id))
        });
        device.put(mig.ok_or(Code::NOT_FOUND)?.handle())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleBySerial(serial: CText, device: Out<Handle>) -> u32 {
    call(|| {
        let (session, serial) = (session::current()?, serial.get()?);
        let state = session.state()?;
        let gpu = session
            .visible
            .iter()
            .find(|index| state.gpus[**index].serial == serial);
        put_living(*gpu.ok_or(Code::NOT_FOUND)?, &device)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByPciBusId(bus_id: CText, device: Out<Handle>) -> u32 {
    by_bus_id(&bus_id, &device)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(bus_id: CText, device: Out<Handle>) -> u32 {
    by_bus_id(&bus_id, &device)
}

fn by_bus_id(bus_id: &CText, device: &Out<Handle>) -> u32 {
    call(|| {
        let handle = handle_of_bus_id(bus_id)?;
        Device::open(handle)?;
        device.put(handle)
    })
}

/// The handle of the GPU at a PCI address.
pub(crate) fn handle_of_bus_id(bus_id: &CText) -> Answer<Handle> {
    let (session, wanted) = (
        session::current()?,
        Bus::parse(&bus_id.get()?).ok_or(Code::INVALID_ARGUMENT)?,
    );
    let state = session.state()?;
    let gpu = session
        .visible
        .iter()
        .find(|index| Bus::parse(&state.gpus[**index].bus) == Some(wanted));
    Ok(Object::Gpu(*gpu.ok_or(Code::NOT_FOUND)?).handle())
}

/// A PCI address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bus {
    domain: u32,
    bus: u32,
    device: u32,
}

impl Bus {
    /// Reads `07:00.0`, `0000:07:00.0` or `00000000:07:00.0`, in any case.
    fn parse(text: &str) -> Option<Self> {
        let (address, _function) = text.split_once('.').unwrap_or((text, "0"));
        let mut parts = address.rsplit(':').map(|part| u32::from_str_radix(part, 16).ok());
        let (device, bus) = (parts.next()??, parts.next()??);
        let domain = parts.next().unwrap_or(Some(0))?;
        Some(Self { domain, bus, device })
    }
}

/// The PCI record of a device, with NVML's two spellings of the address.
pub(crate) fn pci_info(device: &Device) -> Answer<nvmlPciInfo_t> {
    /// NVIDIA's PCI vendor id.
    const VENDOR: u32 = 0x10de;
    let Bus {
        domain,
        bus,
        device: slot,
    } = Bus::parse(&device.gpu().bus).ok_or(Code::UNKNOWN)?;
    let model = device.model();
    Ok(nvmlPciInfo_t {
        busIdLegacy: fixed(&format!("{domain:04X}:{bus:02X}:{slot:02X}.0")),
        domain,
        bus,
        device: slot,
        pciDeviceId: u32::from(model.pci_device_id) << 16 | VENDOR,
        pciSubSystemId: model.pci_subsystem_id,
        busId: fixed(&format!("{domain:08X}:{bus:02X}:{slot:02X}.0")),
    })
}

/// Exports functions that the driver answers for a lost GPU too.
macro_rules! identities {
    ($($name:ident: $type:ty = $answer:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(device: Handle, out: Out<$type>) -> u32 {
            call(|| {
                let answer: fn(&Device) -> Answer<$type> = $answer;
                out.put(answer(&Device::identify(device)?)?)
            })
        }
    )* };
}

identities! {
    nvmlDeviceGetIndex: u32 = |device| match device.mig() {
        None => Ok(device.nvml_index()),
        Some(mig) => {
            let is_it = |other: &MigDevice<'_>| other.compute_instance.uuid == mig.compute_instance.uuid;
            let place = device.visible_migs().iter().position(is_it);
            Ok(place.and_then(|place| u32::try_from(place).ok()).unwrap_or(0))
        }
    };
    nvmlDeviceGetMinorNumber: u32 = |device| Ok(device.full()?.minor);
    nvmlDeviceGetPciInfo: nvmlPciInfo_t = pci_info;
    nvmlDeviceGetPciInfo_v2: nvmlPciInfo_t = pci_info;
    nvmlDeviceGetPciInfo_v3: nvmlPciInfo_t = pci_info;
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUUID(device: Handle, uuid: Text, length: u32) -> u32 {
    call(|| {
        let device = Device::identify(device)?;
        let value = device
            .mig()
            .map_or(&device.gpu().uuid, |mig| &mig.compute_instance.uuid);
        uuid.put(length, value)
    })
}

device_values! {
    nvmlDeviceGetBrand: u32 = |device| Ok(device.model().brand as u32);
    nvmlDeviceGetArchitecture: u32 = |device| Ok(device.model().architecture as u32);
    nvmlDeviceGetNumGpuCores: u32 = |device| Ok(device.model().cores);
    nvmlDeviceGetBoardId: u32 = |device| Ok(Bus::parse(&device.full()?.bus).ok_or(Code::UNKNOWN)?.bus << 8);
    nvmlDeviceGetMultiGpuBoard: u32 = |device| device.full().map(|_| 0);
    // Only the modules of a baseboard are numbered.
    nvmlDeviceGetModuleId: u32 = |device| match device.model().nvlink {
        Some(_) => Ok(u32::try_from(device.index).unwrap_or(0) + 1),
        None => Ok(1),
    };
    nvmlDeviceGetIrqNum: u32 = |device| Ok(128 + device.full()?.minor);
    nvmlDeviceGetInforomConfigurationChecksum: u32 = |device| Ok(0x1e50_0000 | device.full()?.minor);
    nvmlDeviceGetPersistenceMode: u32 = |device| Ok(device.full()?.persistence.into());
    nvmlDeviceGetComputeMode: u32 = |device| Ok(device.gpu().compute_mode as u32);
    nvmlDeviceGetDisplayMode: u32 = |device| device.full().map(|_| 0);
    nvmlDeviceGetDisplayActive: u32 = |device| device.full().map(|_| 0);
    nvmlDeviceGetVirtualizationMode: u32 = |device| device.full().map(|_| 0);
    // PCI.
    nvmlDeviceGetBusType: u32 = |device| device.full().map(|_| 2);
}

device_pairs! {
    nvmlDeviceGetCudaComputeCapability: i32 = |device| {
        let (major, minor) = device.model().compute_capability;
        Ok((i32::try_from(major).unwrap_or(0), i32::try_from(minor).unwrap_or(0)))
    };
    nvmlDeviceGetGspFirmwareMode: u32 = |device| {
        let mode = device.full().map(|_| u32::from(device.model().gsp_firmware))?;
        Ok((mode, mode))
    };
}

device_texts! {
    nvmlDeviceGetName = |device| match device.mig() {
        Some(mig) => Ok(format!("{} MIG {}", device.model().name, mig.compute_profile.name)),
        None => Ok(device.model().name.clone()),
    };
    nvmlDeviceGetVbiosVersion = |device| device.full().map(|_| device.model().vbios.clone());
    nvmlDeviceGetBoardPartNumber = |device| device.full().map(|_| device.model().part_number.clone());
    nvmlDeviceGetInforomImageVersion = |device| data_center(device).map(|_| device.model().board_id.clone());
    nvmlDeviceGetSerial = |device| Ok(data_center(device)?.serial.clone());
}

/// GeForce boards have no serial number and no InfoROM image to tell.
fn data_center(device: &Device) -> Answer<&nvbind_sim::state::GpuState> {
    if device.model().brand == nvbind_sim::profile::Brand::GeForce {
        Err(Code::NOT_SUPPORTED)
    } else {
        device.full()
    }
}

/// Versions of the InfoROM's objects, alike on all boards of these generations.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetInforomVersion(device: Handle, object: u32, version: Text, length: u32) -> u32 {
    /// OEM, ECC, power, DEN.
    const VERSIONS: [Option<&str>; 4] = [Some("2.1"), Some("6.16"), None, None];
    call(|| {
        let device = Device::open(device)?;
        data_center(&device)?;
        let known = VERSIONS.get(object as usize).ok_or(Code::INVALID_ARGUMENT)?;
        version.put(length, known.ok_or(Code::NOT_SUPPORTED)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceValidateInforom(device: Handle) -> u32 {
    call(|| data_center(&Device::open(device)?).map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetGspFirmwareVersion(device: Handle, version: Text) -> u32 {
    /// `NVML_GSP_FIRMWARE_VERSION_BUF_SIZE`.
    const LENGTH: u32 = 64;
    call(|| {
        let device = Device::open(device)?;
        device.full()?;
        let enabled = device
            .model()
            .gsp_firmware
            .then_some(&device.state.profile.driver_version);
        version.put(LENGTH, enabled.ok_or(Code::NOT_SUPPORTED)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceOnSameBoard(first: Handle, second: Handle, same: Out<i32>) -> u32 {
    call(|| same.put(i32::from(Device::open(first)?.index == Device::open(second)?.index)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetPersistenceMode(device: Handle, mode: u32) -> u32 {
    set(device, "persistence", if mode == 0 { "off" } else { "on" })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetComputeMode(device: Handle, mode: u32) -> u32 {
    match mode {
        0 => set(device, "compute-mode", "default"),
        2 => set(device, "compute-mode", "prohibited"),
        3 => set(device, "compute-mode", "exclusive-process"),
        _ => call(|| Err(Code::INVALID_ARGUMENT)),
    }
}

/// Changes the simulated machine as `nvbind sim set` does.
pub(crate) fn set(device: Handle, key: &str, value: &str) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let uuid = &device.full()?.uuid;
        Ok(nvbind_sim::command::set(&device.session.root, uuid, key, value)?)
    })
}
