//! Waiting for Xid errors.

use std::time::{Duration, Instant};

use nvbind_sim::command;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;

use crate::machine::Machine;

#[test]
fn an_xid_wakes_who_waits_for_it() {
    let machine = Machine::new("t4");
    let nvml = machine.nvml();
    command::xid(machine.path(), "1", 13).unwrap();
    let set = nvml.create_event_set().unwrap();
    let set = nvml
        .device_by_index(1)
        .unwrap()
        .register_events(EventTypes::CRITICAL_XID_ERROR, set)
        .unwrap();
    assert!(
        matches!(set.wait(0), Err(NvmlError::Timeout)),
        "what happened before is not an event"
    );
    let path = machine.path().to_owned();
    let reporter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        command::xid(&path, "0", 43).unwrap();
        command::xid(&path, "1", 31).unwrap();
        command::lose(&path, "1").unwrap();
    });
    let start = Instant::now();
    let first = set.wait(5000).unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(
        matches!(first.event_data, Some(XidError::Value(31))),
        "GPU 0 is not waited for"
    );
    assert_eq!(first.device.index().unwrap(), 1);
    let second = set.wait(5000).unwrap();
    assert!(matches!(second.event_data, Some(XidError::Value(79))));
    assert!(second.device.uuid().is_ok(), "a lost GPU still says who it was");
    assert!(matches!(set.wait(50), Err(NvmlError::Timeout)));
    reporter.join().unwrap();
}
