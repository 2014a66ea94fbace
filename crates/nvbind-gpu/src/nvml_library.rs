//! The driver's NVML library: what is asked of it, by its C ABI.
//!
//! Types, errors and names are nvml-wrapper's. Its own start looks up all 400 functions of NVML, which takes longer
//! than all questions for a container together; here each is looked up when it is asked.

use libloading::Library;
use nvml_wrapper::enum_wrappers::device::{Brand, TopologyLevel};
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::{NvmlError, nvml_try};
use nvml_wrapper::struct_wrappers::device::PciInfo;
use nvml_wrapper_sys::bindings::{
    NVML_DEVICE_NAME_V2_BUFFER_SIZE, NVML_DEVICE_UUID_V2_BUFFER_SIZE, NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE,
    nvmlDevice_t, nvmlDeviceAddressingMode_v1_t, nvmlDeviceAddressingModeType_t_NVML_DEVICE_ADDRESSING_MODE_ATS as ATS,
    nvmlDeviceAttributes_t, nvmlEccCounterType_enum_NVML_VOLATILE_ECC as VOLATILE,
    nvmlEnableState_enum_NVML_FEATURE_ENABLED as ENABLED,
    nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_SWITCH as SWITCH, nvmlMemory_v2_t,
    nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_UNCORRECTED as UNCORRECTED, nvmlPciInfo_t, nvmlReturn_t,
    nvmlUtilization_t,
};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong};
use std::path::Path;

/// An NVML that was initialized; shut down when it is dropped.
#[derive(Debug)]
pub(crate) struct Nvml {
    library: Library,
    /// Functions that were asked for, by where their names lie: the same few are called for GPU after GPU.
    found: RefCell<Vec<(usize, Function)>>,
}

/// A GPU or a MIG device of it.
#[derive(Debug)]
pub(crate) struct Device<'nvml> {
    nvml: &'nvml Nvml,
    handle: nvmlDevice_t,
}

/// A function of whatever type.
type Function = unsafe extern "C" fn();
/// Fills one value for a device, as most functions do.
type OfDevice<T> = unsafe extern "C" fn(nvmlDevice_t, *mut T) -> nvmlReturn_t;
/// Fills one value for a device and a number (an index, a link).
type OfPart<T> = unsafe extern "C" fn(nvmlDevice_t, c_uint, *mut T) -> nvmlReturn_t;
/// Fills one value for the machine.
type OfSystem<T> = unsafe extern "C" fn(*mut T) -> nvmlReturn_t;

impl Nvml {
    /// Loads and initializes the library.
    #[allow(unsafe_code)]
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("'{}': {error}", path.display());
        // SAFETY: the driver's own library, whose initializers every CUDA program runs.
        let library = unsafe { Library::new(path) }.map_err(|error| failed(&error))?;
        let nvml = Self {
            library,
            found: RefCell::default(),
        };
        nvml.do_plainly(c"nvmlInit_v2")
            .map_err(|error| failed(&format_args!("nvmlInit_v2: {error}")))?;
        Ok(nvml)
    }

    /// How many GPUs there are.
    pub(crate) fn device_count(&self) -> Result<u32, NvmlError> {
        self.ask(c"nvmlDeviceGetCount_v2", 0)
    }

    /// The GPU of that index.
    #[allow(unsafe_code)]
    pub(crate) fn device_by_index(&self, index: u32) -> Result<Device<'_>, NvmlError> {
        type Call = unsafe extern "C" fn(c_uint, *mut nvmlDevice_t) -> nvmlReturn_t;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function has this type, and writes one handle.
        nvml_try(unsafe { self.function::<Call>(c"nvmlDeviceGetHandleByIndex_v2")?(index, &raw mut handle) })?;
        Ok(Device { nvml: self, handle })
    }

    /// The GPU or MIG device of that UUID.
    #[allow(unsafe_code)]
    pub(crate) fn device_by_uuid(&self, uuid: &str) -> Result<Device<'_>, NvmlError> {
        type Call = unsafe extern "C" fn(*const c_char, *mut nvmlDevice_t) -> nvmlReturn_t;
        let uuid = CString::new(uuid)?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function has this type, reads a C string and writes one handle.
        nvml_try(unsafe { self.function::<Call>(c"nvmlDeviceGetHandleByUUID")?(uuid.as_ptr(), &raw mut handle) })?;
        Ok(Device { nvml: self, handle })
    }

    /// The driver's version.
    #[allow(unsafe_code)]
    pub(crate) fn driver_version(&self) -> Result<String, NvmlError> {
        type Call = unsafe extern "C" fn(*mut c_char, c_uint) -> nvmlReturn_t;
        text::<{ NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE as usize }>(|buffer, length| {
            // SAFETY: the function has this type, and writes a C string of at most this length.
            Ok(unsafe { self.function::<Call>(c"nvmlSystemGetDriverVersion")?(buffer, length) })
        })
    }

    /// The newest CUDA version that the driver supports: 1000 times its first number and 10 times its second.
    pub(crate) fn cuda_driver_version(&self) -> Result<i32, NvmlError> {
        self.ask(c"nvmlSystemGetCudaDriverVersion_v2", 0)
    }

    #[allow(unsafe_code)]
    fn ask<T>(&self, name: &'static CStr, mut value: T) -> Result<T, NvmlError> {
        // SAFETY: the callers name functions that write one T.
        nvml_try(unsafe { self.function::<OfSystem<T>>(name)?(&raw mut value) })?;
        Ok(value)
    }

    #[allow(unsafe_code)]
    fn do_plainly(&self, name: &'static CStr) -> Result<(), NvmlError> {
        type Call = unsafe extern "C" fn() -> nvmlReturn_t;
        // SAFETY: the callers name functions without arguments.
        nvml_try(unsafe { self.function::<Call>(name)?() })
    }

    /// A function of the library. To be called while it is loaded.
    ///
    /// # Safety
    /// `F` must be the type that nvml.h gives the function.
    #[allow(unsafe_code)]
    unsafe fn function<F: Copy>(&self, name: &'static CStr) -> Result<F, NvmlError> {
        const { assert!(size_of::<F>() == size_of::<Function>()) };
        let function = self.any_function(name)?;
        // SAFETY: the caller answers for the type, that of a pointer to a function.
        Ok(unsafe { std::mem::transmute_copy(&function) })
    }

    /// A function of the library, its type left open.
    #[allow(unsafe_code)]
    fn any_function(&self, name: &'static CStr) -> Result<Function, NvmlError> {
        let place = name.as_ptr().addr();
        let mut found = self.found.borrow_mut();
        if let Some((_, function)) = found.iter().find(|(known, _)| *known == place) {
            return Ok(*function);
        }
        // SAFETY: it is a function, and not called by this type.
        let function = unsafe { self.library.get::<Function>(name) };
        let function = *function.map_err(|error| NvmlError::FailedToLoadSymbol(error.to_string()))?;
        found.push((place, function));
        Ok(function)
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // Nothing can be done about a driver that does not let go.
        let _ = self.do_plainly(c"nvmlShutdown");
    }
}

impl Device<'_> {
    /// The library that it belongs to.
    pub(crate) fn nvml(&self) -> &Nvml {
        self.nvml
    }

    /// Its place on the PCI bus.
    pub(crate) fn pci_info(&self) -> Result<PciInfo, NvmlError> {
        PciInfo::try_from(self.ask(c"nvmlDeviceGetPciInfo_v3", NO_PCI)?, true)
    }

    /// Its compute capability.
    #[allow(unsafe_code)]
    pub(crate) fn compute_capability(&self) -> Result<(i32, i32), NvmlError> {
        type Call = unsafe extern "C" fn(nvmlDevice_t, *mut c_int, *mut c_int) -> nvmlReturn_t;
        let (mut major, mut minor) = (0, 0);
        let name = c"nvmlDeviceGetCudaComputeCapability";
        // SAFETY: the function has this type, and writes two numbers.
        nvml_try(unsafe { self.nvml.function::<Call>(name)?(self.handle, &raw mut major, &raw mut minor) })?;
        Ok((major, minor))
    }

    /// Its architecture.
    pub(crate) fn architecture(&self) -> Result<DeviceArchitecture, NvmlError> {
        DeviceArchitecture::try_from(self.ask(c"nvmlDeviceGetArchitecture", 0)?)
    }

    /// `GPU-<uuid>` or `MIG-<uuid>`.
    pub(crate) fn uuid(&self) -> Result<String, NvmlError> {
        self.text::<{ NVML_DEVICE_UUID_V2_BUFFER_SIZE as usize }>(c"nvmlDeviceGetUUID")
    }

    /// N of `/dev/nvidiaN`.
    pub(crate) fn minor_number(&self) -> Result<u32, NvmlError> {
        self.ask(c"nvmlDeviceGetMinorNumber", 0)
    }

    /// Its name.
    pub(crate) fn name(&self) -> Result<String, NvmlError> {
        self.text::<{ NVML_DEVICE_NAME_V2_BUFFER_SIZE as usize }>(c"nvmlDeviceGetName")
    }

    /// Its product line.
    pub(crate) fn brand(&self) -> Result<Brand, NvmlError> {
        Brand::try_from(self.ask(c"nvmlDeviceGetBrand", 0)?)
    }

    /// Its memory in bytes.
    pub(crate) fn memory_bytes(&self) -> Result<u64, NvmlError> {
        Ok(self.memory()?.total)
    }

    /// Its memory and what is used of it, in bytes.
    pub(crate) fn memory(&self) -> Result<nvmlMemory_v2_t, NvmlError> {
        let empty = nvmlMemory_v2_t {
            version: struct_version::<nvmlMemory_v2_t>(2),
            total: 0,
            reserved: 0,
            free: 0,
            used: 0,
        };
        self.ask(c"nvmlDeviceGetMemoryInfo_v2", empty)
    }

    /// Share of the last sampling period in which a kernel ran, in a hundred.
    pub(crate) fn gpu_percent(&self) -> Result<u32, NvmlError> {
        let empty = nvmlUtilization_t { gpu: 0, memory: 0 };
        Ok(self.ask(c"nvmlDeviceGetUtilizationRates", empty)?.gpu)
    }

    /// The power that it may draw, in mW.
    pub(crate) fn power_limit(&self) -> Result<u32, NvmlError> {
        self.ask(c"nvmlDeviceGetEnforcedPowerLimit", 0)
    }

    /// Whether the driver keeps it initialized while no one uses it.
    pub(crate) fn is_persistent(&self) -> Result<bool, NvmlError> {
        Ok(self.ask(c"nvmlDeviceGetPersistenceMode", 0)? == ENABLED)
    }

    /// Uncorrected memory errors since the driver was loaded.
    #[allow(unsafe_code)]
    pub(crate) fn uncorrected_errors(&self) -> Result<u64, NvmlError> {
        type Call = unsafe extern "C" fn(nvmlDevice_t, c_uint, c_uint, *mut c_ulonglong) -> nvmlReturn_t;
        let mut count = 0;
        let name = c"nvmlDeviceGetTotalEccErrors";
        // SAFETY: the function has this type, and writes one number.
        nvml_try(unsafe { self.nvml.function::<Call>(name)?(self.handle, UNCORRECTED, VOLATILE, &raw mut count) })?;
        Ok(count)
    }

    /// Whether rows of memory wait for a reset to be replaced, and whether that has failed for one.
    #[allow(unsafe_code)]
    pub(crate) fn remapped_rows(&self) -> Result<(bool, bool), NvmlError> {
        type Call =
            unsafe extern "C" fn(nvmlDevice_t, *mut c_uint, *mut c_uint, *mut c_uint, *mut c_uint) -> nvmlReturn_t;
        let [mut corrected, mut uncorrected, mut pending, mut failed] = [0; 4];
        let rows = (
            &raw mut corrected,
            &raw mut uncorrected,
            &raw mut pending,
            &raw mut failed,
        );
        let name = c"nvmlDeviceGetRemappedRows";
        // SAFETY: the function has this type, and writes four numbers.
        nvml_try(unsafe { self.nvml.function::<Call>(name)?(self.handle, rows.0, rows.1, rows.2, rows.3) })?;
        Ok((pending != 0, failed != 0))
    }

    /// Whether it shares one address space with the CPU by address translation services.
    pub(crate) fn is_coherent(&self) -> bool {
        let empty = nvmlDeviceAddressingMode_v1_t {
            version: struct_version::<nvmlDeviceAddressingMode_v1_t>(1),
            value: 0,
        };
        let mode = self.ask(c"nvmlDeviceGetAddressingMode", empty);
        mode.is_ok_and(|mode| mode.value == ATS)
    }

    /// Whether it is in MIG mode.
    #[allow(unsafe_code)]
    pub(crate) fn is_mig(&self) -> Result<bool, NvmlError> {
        type Call = unsafe extern "C" fn(nvmlDevice_t, *mut c_uint, *mut c_uint) -> nvmlReturn_t;
        let (mut current, mut pending) = (0, 0);
        let name = c"nvmlDeviceGetMigMode";
        // SAFETY: the function has this type, and writes two numbers.
        nvml_try(unsafe { self.nvml.function::<Call>(name)?(self.handle, &raw mut current, &raw mut pending) })?;
        Ok(current == ENABLED)
    }

    /// How many MIG devices it can have.
    pub(crate) fn mig_device_count(&self) -> Result<u32, NvmlError> {
        self.ask(c"nvmlDeviceGetMaxMigDeviceCount", 0)
    }

    /// The MIG device of that index.
    pub(crate) fn mig_device_by_index(&self, index: u32) -> Result<Device<'_>, NvmlError> {
        let handle = self.ask_of(c"nvmlDeviceGetMigDeviceHandleByIndex", index, std::ptr::null_mut())?;
        Ok(Device {
            nvml: self.nvml,
            handle,
        })
    }

    /// GPU instance id of a MIG device.
    pub(crate) fn gpu_instance(&self) -> Result<u32, NvmlError> {
        self.ask(c"nvmlDeviceGetGpuInstanceId", 0)
    }

    /// Compute instance id of a MIG device.
    pub(crate) fn compute_instance(&self) -> Result<u32, NvmlError> {
        self.ask(c"nvmlDeviceGetComputeInstanceId", 0)
    }

    /// Slices and memory of a MIG device (`_v2` of the call has had no other layout).
    pub(crate) fn attributes(&self) -> Result<nvmlDeviceAttributes_t, NvmlError> {
        self.ask(c"nvmlDeviceGetAttributes_v2", NO_ATTRIBUTES)
    }

    /// Whether an NVLink is in use.
    pub(crate) fn is_link_active(&self, link: u32) -> Result<bool, NvmlError> {
        Ok(self.ask_of(c"nvmlDeviceGetNvLinkState", link, 0)? == ENABLED)
    }

    /// The other end of an NVLink.
    pub(crate) fn link_peer(&self, link: u32) -> Result<PciInfo, NvmlError> {
        PciInfo::try_from(
            self.ask_of(c"nvmlDeviceGetNvLinkRemotePciInfo_v2", link, NO_PCI)?,
            false,
        )
    }

    /// Whether an NVLink ends at a switch.
    pub(crate) fn ends_at_switch(&self, link: u32) -> Result<bool, NvmlError> {
        /// None of the kinds that NVML knows.
        const UNKNOWN: u32 = 0xff;
        Ok(self.ask_of(c"nvmlDeviceGetNvLinkRemoteDeviceType", link, UNKNOWN)? == SWITCH)
    }

    /// The nearest point that the PCIe paths of two GPUs share.
    #[allow(unsafe_code)]
    pub(crate) fn common_ancestor(&self, other: &Device<'_>) -> Result<TopologyLevel, NvmlError> {
        type Call = unsafe extern "C" fn(nvmlDevice_t, nvmlDevice_t, *mut c_uint) -> nvmlReturn_t;
        let mut level = 0;
        let name = c"nvmlDeviceGetTopologyCommonAncestor";
        // SAFETY: the function has this type, and writes one enum value.
        nvml_try(unsafe { self.nvml.function::<Call>(name)?(self.handle, other.handle, &raw mut level) })?;
        TopologyLevel::try_from(level)
    }

    #[allow(unsafe_code)]
    fn ask<T>(&self, name: &'static CStr, mut value: T) -> Result<T, NvmlError> {
        // SAFETY: the callers name functions that write one T for a device.
        nvml_try(unsafe { self.nvml.function::<OfDevice<T>>(name)?(self.handle, &raw mut value) })?;
        Ok(value)
    }

    #[allow(unsafe_code)]
    fn ask_of<T>(&self, name: &'static CStr, part: u32, mut value: T) -> Result<T, NvmlError> {
        // SAFETY: the callers name functions that write one T for a device and a number.
        nvml_try(unsafe { self.nvml.function::<OfPart<T>>(name)?(self.handle, part, &raw mut value) })?;
        Ok(value)
    }

    #[allow(unsafe_code)]
    fn text<const LENGTH: usize>(&self, name: &'static CStr) -> Result<String, NvmlError> {
        type Call = unsafe extern "C" fn(nvmlDevice_t, *mut c_char, c_uint) -> nvmlReturn_t;
        text::<LENGTH>(|buffer, length| {
            // SAFETY: the callers name functions that write a C string of at most this length.
            Ok(unsafe { self.nvml.function::<Call>(name)?(self.handle, buffer, length) })
        })
    }
}

/// What a function writes into a buffer of that length.
fn text<const LENGTH: usize>(
    call: impl FnOnce(*mut c_char, c_uint) -> Result<nvmlReturn_t, NvmlError>,
) -> Result<String, NvmlError> {
    let mut buffer = [0_u8; LENGTH];
    nvml_try(call(buffer.as_mut_ptr().cast(), LENGTH as c_uint)?)?;
    let end = buffer.iter().position(|&byte| byte == 0).unwrap_or(LENGTH);
    Ok(std::str::from_utf8(&buffer[..end])?.to_owned())
}

/// `NVML_STRUCT_VERSION` of nvml.h: size and number of a struct.
const fn struct_version<T>(number: u32) -> u32 {
    size_of::<T>() as u32 | number << 24
}

const NO_PCI: nvmlPciInfo_t = nvmlPciInfo_t {
    busIdLegacy: [0; 16],
    domain: 0,
    bus: 0,
    device: 0,
    pciDeviceId: 0,
    pciSubSystemId: 0,
    busId: [0; 32],
};

const NO_ATTRIBUTES: nvmlDeviceAttributes_t = nvmlDeviceAttributes_t {
    multiprocessorCount: 0,
    sharedCopyEngineCount: 0,
    sharedDecoderCount: 0,
    sharedEncoderCount: 0,
    sharedJpegCount: 0,
    sharedOfaCount: 0,
    gpuInstanceSliceCount: 0,
    computeInstanceSliceCount: 0,
    memorySizeMB: 0,
};
