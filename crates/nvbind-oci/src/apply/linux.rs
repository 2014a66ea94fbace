//! What CDI can ask of `linux` besides devices: network interfaces and cache allocation.

use super::json::{self, Object};
use crate::Error;
use nvbind_cdi::{IntelRdt, NetDevice};
use serde_json::{Value, json};

/// Moves host interfaces into the container (`linux.netDevices`, OCI runtime specification 1.3).
pub(super) fn add_net_devices(root: &mut Object, devices: &[NetDevice]) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let map = json::object(json::object(root, "linux")?, "netDevices")?;
    for device in devices {
        map.insert(device.host_interface_name.clone(), json!({ "name": device.name }));
    }
    Ok(())
}

/// Sets the class of service of Intel RDT; the members are called the same in CDI and OCI.
pub(super) fn set_intel_rdt(root: &mut Object, rdt: Option<&IntelRdt>) -> Result<(), Error> {
    if let Some(rdt) = rdt {
        let value = serde_json::to_value(rdt).unwrap_or(Value::Null);
        json::object(root, "linux")?.insert("intelRdt".to_owned(), value);
    }
    Ok(())
}
