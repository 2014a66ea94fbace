//! Events: programs wait for Xid errors.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::nvmlEventData_t;

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};
use crate::process::NO_INSTANCE;
use crate::session;

/// `nvmlEventTypeXidCriticalError`.
const XID: u64 = 8;
/// Types that can be waited for; Xid is the one that a simulated machine reports.
const SUPPORTED: u64 = 0x1 | 0x2 | XID;
/// How often the state is looked at.
const POLL: Duration = Duration::from_millis(10);

/// What one event set waits for.
#[derive(Default)]
struct EventSet {
    /// GPUs whose Xid errors are waited for.
    gpus: Vec<usize>,
    /// Number of the last Xid that was delivered or had happened before.
    seen: u64,
}

static SETS: Mutex<BTreeMap<usize, EventSet>> = Mutex::new(BTreeMap::new());

/// Changes of a set are single steps, so a panic leaves nothing half done.
fn sets() -> MutexGuard<'static, BTreeMap<usize, EventSet>> {
    SETS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(set: Handle) -> Answer<usize> {
    match Object::of(set) {
        Some(Object::EventSet(number)) => Ok(number),
        _ => Err(Code::INVALID_ARGUMENT),
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetCreate(set: Out<Handle>) -> u32 {
    call(|| {
        let seen = session::current()?.state()?.xid_count;
        let mut sets = sets();
        let number = sets.last_key_value().map_or(0, |(last, _)| last + 1);
        set.put(Object::EventSet(number).handle())?;
        sets.insert(number, EventSet { gpus: Vec::new(), seen });
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetFree(set: Handle) -> u32 {
    call(|| sets().remove(&number(set)?).map(drop).ok_or(Code::INVALID_ARGUMENT))
}

device_values! {
    nvmlDeviceGetSupportedEventTypes: u64 = |device| device.full().map(|_| SUPPORTED);
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceRegisterEvents(device: Handle, types: u64, set: Handle) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        if types & !SUPPORTED != 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        let mut sets = sets();
        let set = sets.get_mut(&number(set)?).ok_or(Code::INVALID_ARGUMENT)?;
        if types & XID != 0 && !set.gpus.contains(&device.index) {
            set.gpus.push(device.index);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetWait(set: Handle, data: Out<nvmlEventData_t>, timeout: u32) -> u32 {
    call(|| wait(set, &data, timeout))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetWait_v2(set: Handle, data: Out<nvmlEventData_t>, timeout: u32) -> u32 {
    call(|| wait(set, &data, timeout))
}

fn wait(set: Handle, data: &Out<nvmlEventData_t>, timeout: u32) -> Answer<()> {
    let set = number(set)?;
    let end = Instant::now() + Duration::from_millis(timeout.into());
    loop {
        if let Some(event) = next(set)? {
            return data.put(event);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Code::TIMEOUT);
        }
        sleep(POLL.min(left));
    }
}

/// The oldest Xid error that the set has not seen.
fn next(set: usize) -> Answer<Option<nvmlEventData_t>> {
    let state = session::current()?.state()?;
    let mut sets = sets();
    let set = sets.get_mut(&set).ok_or(Code::INVALID_ARGUMENT)?;
    let on_gpu = |gpu: &usize| {
        state.gpus[*gpu]
            .xids
            .iter()
            .map(|xid| (xid.number, xid.code, *gpu))
            .collect::<Vec<_>>()
    };
    let unseen = set
        .gpus
        .iter()
        .flat_map(on_gpu)
        .filter(|(number, ..)| *number > set.seen);
    let Some((number, code, gpu)) = unseen.min() else {
        return Ok(None);
    };
    set.seen = number;
    Ok(Some(nvmlEventData_t {
        device: std::ptr::without_provenance_mut(Object::Gpu(gpu).handle()),
        eventType: XID,
        eventData: code,
        gpuInstanceId: NO_INSTANCE,
        computeInstanceId: NO_INSTANCE,
    }))
}
