//! Machine profiles: what a simulated machine is made of. The data is `profiles.toml`.

use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A simulated machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, as `hgx-h100`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Driver version when no real driver is laid over the simulated one.
    pub driver_version: String,
    /// CUDA version that this driver speaks, as `12.2`.
    pub cuda_version: String,
    /// NVSwitch chips that the host sees as devices.
    #[serde(default)]
    pub nvswitches: u32,
    /// Whether the machine is a WSL2 virtual machine: GPUs behind `/dev/dxg`, the driver in a store of the Windows host.
    #[serde(default)]
    pub wsl: bool,
    /// Devices besides the GPUs.
    #[serde(default)]
    pub extras: Extras,
    /// CPU list of each NUMA node, in the form of sysfs' `cpulist`.
    pub cpus: Vec<String>,
    /// The GPU model; every slot holds one.
    pub model: Model,
    /// Where the GPUs sit, in PCI order, which is NVML's order.
    pub slots: Vec<Slot>,
}

/// Devices besides the GPUs that containers may want: how many nodes there are of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extras {
    /// GPUDirect Storage: `/dev/nvidia-fs<N>`.
    pub gds: u32,
    /// InfiniBand: `/dev/infiniband/uverbs<N>`.
    pub infiniband: u32,
    /// GDRCopy: `/dev/gdrdrv`, 0 or 1.
    pub gdrcopy: u32,
    /// IMEX: `/dev/nvidia-caps-imex-channels/channel<N>`.
    pub imex_channels: u32,
}

/// A GPU model, with the figures that `nvidia-smi` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Product name.
    pub name: String,
    /// Chip family.
    pub architecture: Architecture,
    /// Product brand.
    pub brand: Brand,
    /// CUDA compute capability (major, minor).
    pub compute_capability: (u32, u32),
    /// Frame buffer in MiB.
    pub memory_mib: u64,
    /// Part of the frame buffer that the driver keeps, in MiB.
    pub reserved_mib: u64,
    /// BAR1 aperture in MiB.
    pub bar1_mib: u64,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// CUDA cores.
    pub cores: u32,
    /// PCI device id.
    pub pci_device_id: u16,
    /// PCI subsystem: device in the high half, vendor in the low one, as NVML gives it.
    pub pci_subsystem_id: u32,
    /// PCIe generation.
    pub pcie_generation: u32,
    /// PCIe lanes.
    pub pcie_width: u32,
    /// NVLink, where there is any.
    #[serde(default)]
    pub nvlink: Option<NvLink>,
    /// Power limits in W.
    pub power: Power,
    /// Clocks in MHz.
    pub clocks: Clocks,
    /// Temperatures in degrees Celsius.
    pub temperature: Temperature,
    /// Fans; 0 for passive boards.
    pub fans: u32,
    /// Whether the memory has ECC (and it is on).
    pub ecc: bool,
    /// Whether there are display outputs (PCI class VGA rather than 3D controller).
    pub display: bool,
    /// VBIOS version.
    pub vbios: String,
    /// Board part number.
    pub part_number: String,
    /// InfoROM image version.
    pub board_id: String,
    /// Whether the driver runs it with GSP firmware.
    pub gsp_firmware: bool,
    /// Whether it shares one address space with the CPU, page tables included (Grace Hopper).
    #[serde(default)]
    pub coherent: bool,
    /// GPU-instance profiles; empty where the GPU has no MIG.
    #[serde(default)]
    pub mig: Vec<MigProfile>,
}

/// Chip family, with the number of NVML's `nvmlDeviceArchitecture_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum Architecture {
    /// Turing.
    Turing = 6,
    /// Ampere.
    Ampere = 7,
    /// Ada Lovelace.
    Ada = 8,
    /// Hopper.
    Hopper = 9,
    /// Blackwell.
    Blackwell = 10,
}

/// Product brand, with the number of NVML's `nvmlBrandType_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum Brand {
    /// GeForce.
    GeForce = 5,
    /// NVIDIA (data centre).
    Nvidia = 14,
}

/// NVLink of one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvLink {
    /// NVLink generation.
    pub version: u32,
    /// Links per GPU.
    pub links: u32,
}

/// Power figures in W.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Lowest limit that can be set.
    pub min: u32,
    /// Limit after boot.
    pub default: u32,
    /// Highest limit that can be set.
    pub max: u32,
    /// Draw at rest.
    pub idle: u32,
}

/// Clocks in MHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// Graphics and SM clock at rest.
    pub graphics_idle: u32,
    /// Highest graphics and SM clock.
    pub graphics_max: u32,
    /// Memory clock at rest.
    pub memory_idle: u32,
    /// Highest memory clock.
    pub memory_max: u32,
    /// Video clock at rest.
    pub video_idle: u32,
    /// Highest video clock.
    pub video_max: u32,
}

/// Temperatures in degrees Celsius.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// At rest.
    pub idle: u32,
    /// Where clocks are lowered by hardware.
    pub slowdown: u32,
    /// Where the board switches itself off.
    pub shutdown: u32,
    /// Highest operating temperature.
    pub max: u32,
    /// Highest operating temperature of the memory, where it has a sensor.
    #[serde(default)]
    pub memory_max: Option<u32>,
}

/// A GPU-instance profile: one row of `nvidia-smi mig -lgip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "MigRow", into = "MigRow")]
pub struct MigProfile {
    /// Name, as `1g.10gb`.
    pub name: String,
    /// Profile id as `nvidia-smi` prints it.
    pub id: u32,
    /// `NVML_GPU_INSTANCE_PROFILE_*`.
    pub nvml: u32,
    /// Compute slices.
    pub slices: u32,
    /// Memory slices out of 8.
    pub memory_slices: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Copy engines.
    pub copy_engines: u32,
    /// NVDEC engines.
    pub decoders: u32,
    /// NVENC engines.
    pub encoders: u32,
    /// JPEG engines.
    pub jpeg: u32,
    /// Optical-flow engines.
    pub ofa: u32,
    /// How many fit on a GPU.
    pub max_count: u32,
    /// First memory slices where it can be placed, in the driver's order of preference.
    pub starts: Vec<u32>,
}

/// A MIG profile as `profiles.toml` and the state file write it.
type MigRow = (
    String,
    u32,
    u32,
    u32,
    u32,
    u64,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    u32,
    Vec<u32>,
);

impl From<MigRow> for MigProfile {
    fn from(row: MigRow) -> Self {
        let (name, id, nvml, slices, memory_slices, memory_mib, multiprocessors, copy_engines, ..) = row;
        let (decoders, encoders, jpeg, ofa, max_count, starts) = (row.8, row.9, row.10, row.11, row.12, row.13);
        Self {
            name,
            id,
            nvml,
            slices,
            memory_slices,
            memory_mib,
            multiprocessors,
            copy_engines,
            decoders,
            encoders,
            jpeg,
            ofa,
            max_count,
            starts,
        }
    }
}

impl From<MigProfile> for MigRow {
    fn from(p: MigProfile) -> Self {
        let engines = (p.copy_engines, p.decoders, p.encoders, p.jpeg, p.ofa);
        let (copy, decoders, encoders, jpeg, ofa) = engines;
        let sizes = (p.slices, p.memory_slices, p.memory_mib, p.multiprocessors);
        let (slices, memory_slices, memory_mib, sms) = sizes;
        (
            p.name,
            p.id,
            p.nvml,
            slices,
            memory_slices,
            memory_mib,
            sms,
            copy,
            decoders,
            encoders,
            jpeg,
            ofa,
            p.max_count,
            p.starts,
        )
    }
}

/// Where a GPU sits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// PCI address, as `0000:07:00.0`.
    pub bus: String,
    /// NUMA node; -1 where the platform does not say.
    #[serde(default = "no_numa_node")]
    pub numa: i32,
    /// N of `/dev/nvidiaN`; the index when left out.
    #[serde(default)]
    pub minor: Option<u32>,
    /// PCIe switch that the GPU hangs on; -1 for a root port of its own.
    #[serde(default = "no_switch")]
    pub switch: i32,
}

fn no_numa_node() -> i32 {
    -1
}

fn no_switch() -> i32 {
    -1
}

impl Profile {
    /// CUDA version as NVML counts it: 12.2 is 12020.
    pub fn cuda_driver_version(&self) -> i32 {
        let (major, minor) = self.cuda_version.split_once('.').unwrap_or((&self.cuda_version, "0"));
        major.parse().unwrap_or(0) * 1000 + minor.parse().unwrap_or(0) * 10
    }

    /// Number of CPUs.
    pub fn cpu_count(&self) -> usize {
        self.cpus.iter().map(|list| cpus_of(list).len()).sum()
    }

    /// CPU list of a GPU's NUMA node; all CPUs where the node is not known.
    pub fn cpu_list(&self, numa: i32) -> String {
        let node = usize::try_from(numa).ok().and_then(|node| self.cpus.get(node));
        node.cloned().unwrap_or_else(|| self.cpus.join(","))
    }
}

/// The CPU numbers of a list like `0-3,8`.
pub fn cpus_of(list: &str) -> Vec<u32> {
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
    });
    ranges.flatten().collect()
}

/// `profiles.toml`, or a user's file of the same form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profile: Vec<Profile>,
}

/// The profiles that come with nvbind, as text.
const SHIPPED: &str = include_str!("profiles.toml");

/// The text of one profile that comes with nvbind: from its `[[profile]]` line to the next.
///
/// Reading one section instead of the whole file keeps the start of every `--sim` command short.
pub(crate) fn shipped_text(name: &str) -> Option<&'static str> {
    let starts: Vec<usize> = SHIPPED.match_indices("\n[[profile]]\n").map(|(at, _)| at + 1).collect();
    let ends = starts.iter().skip(1).copied().chain([SHIPPED.len()]);
    let mut sections = starts.iter().zip(ends).map(|(start, end)| &SHIPPED[*start..end]);
    let heading = format!("name = \"{name}\"");
    sections.find(|section| section.lines().nth(1) == Some(heading.as_str()))
}

/// The profiles that come with nvbind.
pub fn all() -> &'static [Profile] {
    static ALL: OnceLock<Vec<Profile>> = OnceLock::new();
    ALL.get_or_init(|| {
        // The text is part of the program and a test reads it: it cannot fail to parse in what is shipped.
        let file: Result<File, _> = toml::from_str(SHIPPED);
        file.map(|file| file.profile).unwrap_or_default()
    })
}

/// The profile with this name.
pub fn by_name(name: &str) -> Option<&'static Profile> {
    all().iter().find(|profile| profile.name == name)
}

/// The profile with this name, or the first one of the file at this path.
pub fn load(name_or_path: &str) -> Result<Profile, Error> {
    if let Some(text) = shipped_text(name_or_path) {
        return parse(text).map_err(|reason| Error::BadProfile {
            path: name_or_path.into(),
            reason,
        });
    }
    let path = Path::new(name_or_path);
    if !path.is_file() {
        let known = all()
            .iter()
            .map(|profile| profile.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        return Err(Error::UnknownProfile {
            name: name_or_path.to_owned(),
            known,
        });
    }
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    parse(&text).map_err(|reason| Error::BadProfile {
        path: path.to_owned(),
        reason,
    })
}

fn parse(text: &str) -> Result<Profile, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string().replace('\n', " "))?;
    let profile = file.profile.into_iter().next().ok_or("it holds no [[profile]]")?;
    check(&profile)?;
    Ok(profile)
}

/// What the types cannot say: names that become file names, numbers that become device numbers.
fn check(profile: &Profile) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name = &profile.name;
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(format!(
            "name '{name}' is not made of letters, digits, '-', '_' and '.'"
        ));
    }
    if profile.slots.is_empty() || profile.slots.len() > MAX_GPUS {
        return Err(format!(
            "it has {} slots; 1 to {MAX_GPUS} are possible",
            profile.slots.len()
        ));
    }
    let version = &profile.driver_version;
    if version.is_empty() || !version.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(format!("driver_version '{version}' is not made of digits and dots"));
    }
    match profile.slots.iter().find(|slot| !is_bus_id(&slot.bus)) {
        Some(slot) => Err(format!("bus '{}' is not a PCI address like 0000:07:00.0", slot.bus)),
        None => Ok(()),
    }
}

/// GPUs that one machine can have: what the driver's 8-bit node numbers and `mig-minors` allow for.
const MAX_GPUS: usize = 32;

fn is_bus_id(text: &str) -> bool {
    let form = "hhhh:hh:hh.h";
    let fits = |(c, f): (char, char)| {
        if f == 'h' {
            c.is_ascii_digit() || ('a'..='f').contains(&c)
        } else {
            c == f
        }
    };
    text.len() == form.len() && text.chars().zip(form.chars()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_is_found_by_its_text_alone() {
        for profile in all() {
            assert_eq!(load(&profile.name).as_ref().ok(), Some(profile));
        }
        assert_eq!(shipped_text("dgx"), None);
    }

    #[test]
    fn every_shipped_profile_is_sound() {
        let names: Vec<&str> = all().iter().map(|profile| profile.name.as_str()).collect();
        let expected = [
            "dgx-a100",
            "hgx-h100",
            "hgx-b200",
            "l40s",
            "t4",
            "rtx5090",
            "rtx4090",
            "laptop-rtx4060",
            "wsl2-rtx4070",
        ];
        assert_eq!(names, expected);
        for profile in all() {
            check(profile).unwrap();
            assert!(
                profile.slots.iter().all(|slot| slot.numa < profile.cpus.len() as i32),
                "{}",
                profile.name
            );
        }
    }

    #[test]
    fn cuda_version_is_counted_as_nvml_does() {
        assert_eq!(by_name("hgx-b200").unwrap().cuda_driver_version(), 12080);
    }

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(cpus_of("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(by_name("dgx-a100").unwrap().cpu_count(), 256);
    }

    #[test]
    fn a_profile_that_would_leave_its_folder_is_refused() {
        let text = include_str!("profiles.toml").replacen("dgx-a100", "../x", 1);
        assert!(parse(&text).unwrap_err().contains("'../x'"));
    }
}
