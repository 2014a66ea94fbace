//! NVIDIA devices as sysfs lists them.

use crate::rootfs;
use nvbind_config::Roots;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

/// PCI vendor id of NVIDIA.
const NVIDIA: u32 = 0x10de;
/// PCI classes of a GPU without the programming interface: VGA controller, 3D controller.
const GPU_CLASSES: [u32; 2] = [0x0300, 0x0302];
/// Most bytes of an attribute (a page).
const ATTRIBUTE: usize = 4096;
/// Kernel drivers that are not NVIDIA's own.
const FREE_DRIVERS: [&str; 3] = ["nouveau", "nova", "nova_core"];

/// An NVIDIA GPU on the PCI bus.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// `0000:07:00.0`.
    pub(crate) bus_id: String,
    /// PCI device id.
    pub(crate) id: u16,
    /// Name of the kernel driver that binds it.
    pub(crate) driver: Option<String>,
}

impl Device {
    /// Whether nouveau or its successor binds it.
    pub(crate) fn is_free(&self) -> bool {
        self.driver
            .as_deref()
            .is_some_and(|driver| FREE_DRIVERS.contains(&driver))
    }

    /// A line on a GPU that cannot be used.
    pub(crate) fn describe(&self) -> String {
        match &self.driver {
            Some(driver) => format!("GPU at {} is bound to '{driver}', not to NVIDIA's driver", self.bus_id),
            None => format!("GPU at {} is bound to no driver", self.bus_id),
        }
    }
}

/// The NVIDIA GPUs in bus order.
pub(crate) fn gpus(roots: &Roots) -> Vec<Device> {
    let names = rootfs::list(&roots.sys.join("bus/pci/devices")).unwrap_or_default();
    let ids = names.into_iter().filter_map(|name| name.name.into_string().ok());
    let mut gpus: Vec<Device> = ids.filter_map(|id| device(roots, id)).collect();
    gpus.sort_by(|a, b| a.bus_id.cmp(&b.bus_id));
    gpus
}

fn device(roots: &Roots, bus_id: String) -> Option<Device> {
    if number(roots, &bus_id, "vendor")? != NVIDIA || !GPU_CLASSES.contains(&(number(roots, &bus_id, "class")? >> 8)) {
        return None;
    }
    let driver = fs::read_link(folder(roots, &bus_id).join("driver")).ok();
    let driver = driver.and_then(|link| Some(link.file_name()?.to_str()?.to_owned()));
    Some(Device {
        id: device_id(roots, &bus_id).unwrap_or(0),
        bus_id,
        driver,
    })
}

/// The PCI device id.
pub(crate) fn device_id(roots: &Roots, bus_id: &str) -> Option<u16> {
    number(roots, bus_id, "device")?.try_into().ok()
}

/// The NUMA node, if the platform says (-1 is for "not").
pub(crate) fn numa_node(roots: &Roots, bus_id: &str) -> Option<u32> {
    attribute(roots, bus_id, "numa_node").and_then(|text| u32::from_str(&text).ok())
}

/// A one-line attribute file.
pub(crate) fn attribute(roots: &Roots, bus_id: &str, name: &str) -> Option<String> {
    // sysfs gives an attribute whole with one read: its size need not be asked, nor its end looked for.
    let mut buffer = [0; ATTRIBUTE];
    let length = fs::File::open(folder(roots, bus_id).join(name))
        .ok()?
        .read(&mut buffer)
        .ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The folder of a device.
pub(crate) fn folder(roots: &Roots, bus_id: &str) -> PathBuf {
    roots.sys.join("bus/pci/devices").join(bus_id)
}

fn number(roots: &Roots, bus_id: &str, name: &str) -> Option<u32> {
    let text = attribute(roots, bus_id, name)?;
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// A bus id as sysfs spells it: NVML writes the domain with eight digits and letters in upper case.
pub(crate) fn sysfs_bus_id(bus_id: &str) -> String {
    let lower = bus_id.trim().to_ascii_lowercase();
    match lower.split_once(':') {
        Some((domain, rest)) if domain.len() == 8 && domain.starts_with("0000") => format!("{}:{rest}", &domain[4..]),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_ids_are_spelt_as_in_sysfs() {
        for (given, expected) in [
            ("00000000:07:00.0", "0000:07:00.0"),
            ("00000000:AF:00.0", "0000:af:00.0"),
            ("0000:07:00.0", "0000:07:00.0"),
            ("00010000:07:00.0", "00010000:07:00.0"),
        ] {
            assert_eq!(sysfs_bus_id(given), expected);
        }
    }
}
