//! The three calls of `libdxcore.so` by which a WSL2 program finds the driver store of each GPU.
//!
//! A simulated WSL2 machine has this library under that name too. Its adapters are the folders of its driver store.
//! Types and numbers are those of `d3dkmthk.h` (Windows Driver Kit), with the four-byte `wchar_t` of Linux.

use std::ffi::c_void;
use std::fs;
use std::path::PathBuf;

use crate::session::{own_path, root_of};

/// `NTSTATUS` values.
const STATUS_SUCCESS: i32 = 0;
const STATUS_INVALID_PARAMETER: i32 = 0xc000_000d_u32 as i32;
const STATUS_BUFFER_TOO_SMALL: i32 = 0xc000_0023_u32 as i32;

/// `KMTQAITYPE_DRIVERVERSION`, `KMTQAITYPE_QUERYREGISTRY`.
const DRIVER_VERSION: u32 = 13;
const QUERY_REGISTRY: u32 = 48;
/// `KMT_DRIVERVERSION_WDDM_3_1`.
const WDDM_3_1: u32 = 3100;
/// `D3DDDI_QUERYREGISTRY_DRIVERSTOREPATH`.
const DRIVER_STORE_PATH: u32 = 2;
/// `D3DDDI_QUERYREGISTRY_STATUS_*`.
const REGISTRY_SUCCESS: u32 = 0;
const REGISTRY_OVERFLOW: u32 = 1;

/// Where the store lies in the machine, and how the folders of NVIDIA's drivers begin.
const STORES: &str = "/usr/lib/wsl/drivers";
const NVIDIA_STORE: &str = "nv";
/// The handle of the first adapter.
const FIRST_HANDLE: u32 = 0x4000_0000;

/// `D3DKMT_ADAPTERINFO`.
#[repr(C)]
struct AdapterInfo {
    handle: u32,
    luid_low: u32,
    luid_high: i32,
    sources: u32,
    present_move_regions_preferred: u32,
}

/// `D3DKMT_ENUMADAPTERS2`.
#[repr(C)]
struct EnumAdapters2 {
    count: u32,
    adapters: *mut AdapterInfo,
}

/// `D3DKMT_QUERYADAPTERINFO`.
#[repr(C)]
struct QueryAdapterInfo {
    handle: u32,
    kind: u32,
    data: *mut c_void,
    size: u32,
}

/// `D3DDDI_QUERYREGISTRY_INFO`; the text follows in place of the last field.
#[repr(C)]
struct QueryRegistryInfo {
    query: u32,
    flags: u32,
    name: [u32; 260],
    value_type: u32,
    physical_adapter: u32,
    output_size: u32,
    status: u32,
    output: u64,
}

/// The driver stores as paths in the machine, sorted.
fn stores() -> Vec<String> {
    let folder = own_path().map_or_else(PathBuf::new, |library| {
        root_of(&library).join(STORES.trim_start_matches('/'))
    });
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut stores: Vec<String> = names
        .filter(|name| name.starts_with(NVIDIA_STORE))
        .map(|name| format!("{STORES}/{name}"))
        .collect();
    stores.sort();
    stores
}

fn store_of(handle: u32) -> Option<String> {
    let index = handle.checked_sub(FIRST_HANDLE)?;
    stores().into_iter().nth(index as usize)
}

/// Tells how many adapters there are, or fills the caller's list with them.
#[unsafe(no_mangle)]
extern "C" fn D3DKMTEnumAdapters2(request: *mut EnumAdapters2) -> i32 {
    // SAFETY: the caller gives a pointer to a struct of this layout, or null.
    let Some(request) = (unsafe { request.as_mut() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    let room = request.count;
    request.count = u32::try_from(stores().len()).unwrap_or(0);
    if request.adapters.is_null() {
        return STATUS_SUCCESS;
    }
    if room < request.count {
        return STATUS_BUFFER_TOO_SMALL;
    }
    for index in 0..request.count {
        let adapter = AdapterInfo {
            handle: FIRST_HANDLE + index,
            luid_low: index,
            luid_high: 0,
            sources: 0,
            present_move_regions_preferred: 0,
        };
        // SAFETY: the caller says that the list has room for `room` adapters, which is more than `index`.
        unsafe { request.adapters.add(index as usize).write(adapter) };
    }
    STATUS_SUCCESS
}

/// Answers for the driver model's version and for the path of the driver store.
#[unsafe(no_mangle)]
extern "C" fn D3DKMTQueryAdapterInfo(request: *const QueryAdapterInfo) -> i32 {
    // SAFETY: the caller gives a pointer to a struct of this layout, or null.
    let Some(request) = (unsafe { request.as_ref() }) else {
        return STATUS_INVALID_PARAMETER;
    };
    let (Some(store), false) = (store_of(request.handle), request.data.is_null()) else {
        return STATUS_INVALID_PARAMETER;
    };
    match request.kind {
        DRIVER_VERSION if request.size as usize >= size_of::<u32>() => {
            // SAFETY: the caller gives room for a number.
            unsafe { request.data.cast::<u32>().write_unaligned(WDDM_3_1) };
            STATUS_SUCCESS
        }
        QUERY_REGISTRY => query_registry(request.data.cast(), request.size as usize, &store),
        _ => STATUS_INVALID_PARAMETER,
    }
}

fn query_registry(info: *mut QueryRegistryInfo, size: usize, store: &str) -> i32 {
    if size < size_of::<QueryRegistryInfo>() || !info.is_aligned() {
        return STATUS_INVALID_PARAMETER;
    }
    // SAFETY: it is not null, aligned and of that size, as was just seen.
    let room = unsafe {
        if (*info).query != DRIVER_STORE_PATH {
            return STATUS_INVALID_PARAMETER;
        }
        size - std::mem::offset_of!(QueryRegistryInfo, output)
    };
    let text: Vec<u32> = store.chars().map(u32::from).collect();
    let bytes = size_of_val(text.as_slice());
    let status = if bytes <= room {
        REGISTRY_SUCCESS
    } else {
        REGISTRY_OVERFLOW
    };
    // SAFETY: as above; the text is written only where it fits behind the struct's other fields.
    unsafe {
        (*info).output_size = u32::try_from(bytes).unwrap_or(0);
        (*info).status = status;
        if status == REGISTRY_SUCCESS {
            let output = (&raw mut (*info).output).cast::<u32>();
            output.copy_from_nonoverlapping(text.as_ptr(), text.len());
        }
    }
    STATUS_SUCCESS
}

/// Adapters need no closing: they are folders.
#[unsafe(no_mangle)]
extern "C" fn D3DKMTCloseAdapter(_: *const u32) -> i32 {
    STATUS_SUCCESS
}
