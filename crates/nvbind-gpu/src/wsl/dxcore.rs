//! `libdxcore.so`: which driver store does each GPU of the Windows host use?
//!
//! Types and numbers are those of `d3dkmthk.h` (Windows Driver Kit), with the four-byte `wchar_t` of Linux.

use libloading::{Library, Symbol};
use std::ffi::c_void;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};

/// `KMTQAITYPE_DRIVERVERSION`, `KMTQAITYPE_QUERYREGISTRY`.
const DRIVER_VERSION: u32 = 13;
const QUERY_REGISTRY: u32 = 48;
/// `D3DDDI_QUERYREGISTRY_DRIVERSTOREPATH`.
const DRIVER_STORE_PATH: u32 = 2;
/// `KMT_DRIVERVERSION_WDDM_2_9` less one: older drivers know nothing of WSL.
const WDDM_2_8: u32 = 2800;
/// Most adapters that are asked about, and the longest path that is believed, in characters (`MAX_PATH`).
const MAX_ADAPTERS: usize = 64;
const MAX_PATH: usize = 260;

/// `D3DKMT_ADAPTERINFO`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
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

/// `D3DDDI_QUERYREGISTRY_INFO` with room for a path in place of its last field, the 8-byte aligned answer.
#[repr(C, align(8))]
struct StorePathQuery {
    query: u32,
    flags: u32,
    name: [u32; MAX_PATH],
    value_type: u32,
    physical_adapter: u32,
    output_size: u32,
    status: u32,
    output: [u32; MAX_PATH],
}

type Enumerate = unsafe extern "C" fn(*mut EnumAdapters2) -> i32;
type Query = unsafe extern "C" fn(*mut QueryAdapterInfo) -> i32;

/// The driver stores of all adapters, each once; the error is the reason in a line.
#[allow(unsafe_code)]
pub(super) fn driver_stores(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: libloading::Error| format!("'{}': {error}", path.display());
    // SAFETY: the library of the Windows host; its constructors may run here as in every program that uses a GPU.
    let library = unsafe { Library::new(path) }.map_err(failed)?;
    // SAFETY: the functions have these types in d3dkmthk.h.
    let (enumerate, query): (Symbol<'_, Enumerate>, Symbol<'_, Query>) = unsafe {
        (
            library.get(b"D3DKMTEnumAdapters2\0").map_err(failed)?,
            library.get(b"D3DKMTQueryAdapterInfo\0").map_err(failed)?,
        )
    };
    let mut stores = Vec::new();
    for adapter in adapters(&enumerate)? {
        // An adapter that does not answer is not one that NVIDIA's driver could use.
        let store = is_new_enough(&query, adapter).then(|| store(&query, adapter)).flatten();
        stores.extend(store.filter(|store| !stores.contains(store)));
    }
    Ok(stores)
}

#[allow(unsafe_code)]
fn adapters(enumerate: &Symbol<'_, Enumerate>) -> Result<Vec<u32>, String> {
    let mut found = [AdapterInfo::default(); MAX_ADAPTERS];
    let mut request = EnumAdapters2 {
        count: MAX_ADAPTERS as u32,
        adapters: found.as_mut_ptr(),
    };
    // SAFETY: the list has room for as many adapters as it says.
    let status = unsafe { enumerate(&raw mut request) };
    if status != 0 {
        return Err(format!("D3DKMTEnumAdapters2 failed with status {status:#x}"));
    }
    let count = (request.count as usize).min(MAX_ADAPTERS);
    Ok(found[..count].iter().map(|adapter| adapter.handle).collect())
}

/// Asks one question about an adapter; the answer is written over `data`.
#[allow(unsafe_code)]
fn ask<T>(query: &Symbol<'_, Query>, handle: u32, kind: u32, data: &mut T) -> Option<()> {
    let mut request = QueryAdapterInfo {
        handle,
        kind,
        data: std::ptr::from_mut(data).cast(),
        size: u32::try_from(size_of::<T>()).ok()?,
    };
    // SAFETY: `data` is a plain struct of the kind that the question takes, of the size that is told.
    let status = unsafe { query(&raw mut request) };
    (status == 0).then_some(())
}

fn is_new_enough(query: &Symbol<'_, Query>, handle: u32) -> bool {
    let mut version = 0_u32;
    ask(query, handle, DRIVER_VERSION, &mut version).is_some() && version >= WDDM_2_8
}

fn store(query: &Symbol<'_, Query>, handle: u32) -> Option<PathBuf> {
    let mut request = StorePathQuery {
        query: DRIVER_STORE_PATH,
        flags: 0,
        name: [0; MAX_PATH],
        value_type: 0,
        physical_adapter: 0,
        output_size: u32::try_from(size_of::<StorePathQuery>() - offset_of!(StorePathQuery, output)).ok()?,
        status: 0,
        output: [0; MAX_PATH],
    };
    ask(query, handle, QUERY_REGISTRY, &mut request)?;
    let length = request.output.iter().position(|c| *c == 0).unwrap_or(MAX_PATH);
    let text: String = request.output[..length]
        .iter()
        .map(|c| char::from_u32(*c))
        .collect::<Option<_>>()?;
    let path = PathBuf::from(text);
    (request.status == 0 && path.is_absolute()).then_some(path)
}
