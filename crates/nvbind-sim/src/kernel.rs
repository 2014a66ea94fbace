//! What a kernel with NVIDIA's modules shows: device nodes, `/proc`, `/sys`.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, makedev, mknodat};

use crate::Error;
use crate::extras;
use crate::mig::{self, GpuInstance};
use crate::profile::Architecture;
use crate::state::{GpuState, State};

/// Major of `/dev/nvidia*` (Documentation/admin-guide/devices.txt of the kernel).
const NVIDIA_MAJOR: u32 = 195;
/// Major of `/dev/dri/*`, likewise.
const DRM_MAJOR: u32 = 226;
/// Majors that the kernel hands out downwards from 511; these are usual ones.
const UVM_MAJOR: u32 = 510;
const CAPS_MAJOR: u32 = 509;
const NVSWITCH_MAJOR: u32 = 508;
/// Minors of the simulated `/dev/dri` nodes begin here, above those of any display that the real machine has:
/// a container that gets a simulated GPU must not get the real one.
const DRM_CARD_MINOR: u32 = 32;
const DRM_RENDER_MINOR: u32 = 160;
/// Group `video` on Debian and most others.
const VIDEO_GROUP: u32 = 44;

/// A character device.
pub(crate) struct Node {
    path: String,
    major: u32,
    minor: u32,
    mode: u32,
    group: u32,
}

impl Node {
    pub(crate) fn open_to_all(path: impl Into<String>, major: u32, minor: u32) -> Self {
        Self {
            path: path.into(),
            major,
            minor,
            mode: 0o666,
            group: 0,
        }
    }

    fn display(path: String, minor: u32) -> Self {
        Self {
            path,
            major: DRM_MAJOR,
            minor,
            mode: 0o660,
            group: VIDEO_GROUP,
        }
    }

    fn capability(minor: u32, mode: u32) -> Self {
        Self {
            path: format!("{CAPS_FOLDER}/nvidia-cap{minor}"),
            major: CAPS_MAJOR,
            minor,
            mode,
            group: 0,
        }
    }
}

/// What the driver writes behind the code of an Xid error.
const XID_MESSAGES: [(u64, &str); 2] = [
    (48, ", DBE (double bit error) ECC error"),
    (79, ", GPU has fallen off the bus."),
];

const CAPS_FOLDER: &str = "dev/nvidia-caps";

/// Makes everything below `dev`, `proc` and `sys` in a fresh root.
pub(crate) fn make(root: &Path, state: &State) -> Result<(), Error> {
    nodes(state).iter().try_for_each(|node| make_node(root, node))?;
    files(state)
        .iter()
        .try_for_each(|(path, text)| write(&root.join(path), text))?;
    for (index, gpu) in state.gpus.iter().enumerate() {
        link(
            root,
            &format!("dev/dri/by-path/pci-{}-card", gpu.bus),
            &format!("../card{index}"),
        )?;
        link(
            root,
            &format!("dev/dri/by-path/pci-{}-render", gpu.bus),
            &format!("../renderD{}", 128 + index),
        )?;
        link(
            root,
            &format!("sys/bus/pci/devices/{}/driver", gpu.bus),
            "../../drivers/nvidia",
        )?;
    }
    sync_mig(root, state)
}

/// Makes the capability nodes and files of the MIG instances that there are, and removes those of others.
pub(crate) fn sync_mig(root: &Path, state: &State) -> Result<(), Error> {
    if state.profile.model.mig.is_empty() {
        return Ok(());
    }
    let minors = state.gpus.iter().flat_map(mig_capabilities);
    let wanted: Vec<Node> = minors.map(|(_, minor)| Node::capability(minor, 0o444)).collect();
    let kept: Vec<PathBuf> = wanted.iter().map(|node| root.join(&node.path)).collect();
    let folder = root.join(CAPS_FOLDER);
    let entries = fs::read_dir(&folder).map_err(Error::io("read", &folder))?;
    for stale in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| !is_fixed_cap(path) && !kept.contains(path))
    {
        fs::remove_file(&stale).map_err(Error::io("remove", &stale))?;
    }
    wanted.iter().try_for_each(|node| make_node(root, node))?;
    state.gpus.iter().try_for_each(|gpu| write_capabilities(root, gpu))
}

/// Writes an Xid error to the kernel's log as the driver does; `number` tells the records apart.
pub(crate) fn log_xid(root: &Path, number: u64, bus: &str, code: u64) -> Result<(), Error> {
    let path = root.join("dev/kmsg");
    // The driver leaves the PCI function out.
    let slot = bus.rsplit_once('.').map_or(bus, |(slot, _)| slot);
    let what = XID_MESSAGES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or("", |(_, what)| what);
    let record =
        format!("3,{number},{number},-;NVRM: Xid (PCI:{slot}): {code}, pid='<unknown>', name=<unknown>{what}\n");
    parent(&path)?;
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(Error::io("write", &path))?;
    file.write_all(record.as_bytes()).map_err(Error::io("write", &path))
}

/// `config` and `monitor` are always there.
fn is_fixed_cap(path: &Path) -> bool {
    path.ends_with("nvidia-cap1") || path.ends_with("nvidia-cap2")
}

/// The capabilities of the instances that there are: path below `mig/` of the GPU, and minor.
fn mig_capabilities(gpu: &GpuState) -> Vec<(String, u32)> {
    let of_instance = |instance: &GpuInstance| {
        let gi = instance.id;
        let own = (format!("gi{gi}"), mig::gpu_instance_minor(gpu.minor, gi));
        let compute = instance.compute.iter().map(|compute| {
            let ci = compute.id;
            let minor = mig::compute_instance_minor(gpu.minor, gi, ci);
            (format!("gi{gi}/ci{ci}"), minor)
        });
        std::iter::once(own).chain(compute).collect::<Vec<_>>()
    };
    gpu.mig.iter().flat_map(of_instance).collect()
}

/// `/proc/driver/nvidia/capabilities/gpuN/mig/...`: which minor opens which instance. Files that stay are not touched:
/// others read them at the same time.
fn write_capabilities(root: &Path, gpu: &GpuState) -> Result<(), Error> {
    let folder = root.join(format!("proc/driver/nvidia/capabilities/gpu{}/mig", gpu.minor));
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    let wanted = mig_capabilities(gpu);
    remove_stale(&folder, "gi", "", &wanted)?;
    for instance in &gpu.mig {
        let name = format!("gi{}", instance.id);
        remove_stale(&folder.join(&name), "ci", &format!("{name}/"), &wanted)?;
    }
    let missing = wanted
        .iter()
        .map(|(name, minor)| (folder.join(name).join("access"), minor))
        .filter(|(path, _)| !path.exists());
    for (path, minor) in missing {
        write(&path, capability(*minor, 0o444))?;
    }
    Ok(())
}

/// Removes the folders that begin with `start` and are not wanted.
fn remove_stale(folder: &Path, start: &str, prefix: &str, wanted: &[(String, u32)]) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("read", folder))?,
    };
    let is_stale = |name: &str| {
        let path = format!("{prefix}{name}");
        name.starts_with(start) && wanted.iter().all(|(known, _)| *known != path)
    };
    let stale = entries
        .flatten()
        .filter(|entry| is_stale(&entry.file_name().to_string_lossy()));
    for entry in stale {
        let path = entry.path();
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

fn capability(minor: u32, mode: u32) -> String {
    format!("DeviceFileMinor: {minor}\nDeviceFileMode: {mode}\nDeviceFileModify: 1\n")
}

fn nodes(state: &State) -> Vec<Node> {
    let mut nodes = vec![
        Node::open_to_all("dev/nvidiactl", NVIDIA_MAJOR, 255),
        Node::open_to_all("dev/nvidia-modeset", NVIDIA_MAJOR, 254),
        Node::open_to_all("dev/nvidia-uvm", UVM_MAJOR, 0),
        Node::open_to_all("dev/nvidia-uvm-tools", UVM_MAJOR, 1),
        Node::capability(1, 0o400),
        Node::capability(2, 0o444),
    ];
    for (gpu, index) in state.gpus.iter().zip(0..) {
        nodes.push(Node::open_to_all(
            format!("dev/nvidia{}", gpu.minor),
            NVIDIA_MAJOR,
            gpu.minor,
        ));
        nodes.push(Node::display(format!("dev/dri/card{index}"), DRM_CARD_MINOR + index));
        nodes.push(Node::display(
            format!("dev/dri/renderD{}", 128 + index),
            DRM_RENDER_MINOR + index,
        ));
    }
    if state.profile.nvswitches > 0 {
        nodes.push(Node::open_to_all("dev/nvidia-nvswitchctl", NVSWITCH_MAJOR, 255));
    }
    let switch = |n| Node::open_to_all(format!("dev/nvidia-nvswitch{n}"), NVSWITCH_MAJOR, n);
    nodes.extend((0..state.profile.nvswitches).map(switch));
    nodes.extend(extras::nodes(state.profile.extras));
    nodes
}

pub(crate) fn make_node(root: &Path, node: &Node) -> Result<(), Error> {
    let path = root.join(&node.path);
    parent(&path)?;
    let device = makedev(node.major, node.minor);
    match mknodat(
        CWD,
        &path,
        FileType::CharacterDevice,
        Mode::from_raw_mode(node.mode),
        device,
    ) {
        Ok(()) => {
            // A user namespace may know neither the group nor how to give a file to it; the mode still holds.
            let _: rustix::io::Result<()> = rustix::fs::chownat(
                CWD,
                &path,
                None,
                Some(Gid::from_raw(node.group)),
                rustix::fs::AtFlags::empty(),
            );
        }
        Err(rustix::io::Errno::EXIST) => {}
        // Without the right to make device nodes, plain files stand for them.
        Err(rustix::io::Errno::PERM) => write(&path, "")?,
        Err(error) => return Err(Error::io("make the device node", &path)(error)),
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(node.mode)).map_err(Error::io("set the mode of", &path))
}

/// The text files of `/proc` and `/sys`, by path below the root.
fn files(state: &State) -> Vec<(String, String)> {
    let version = &state.profile.driver_version;
    let mut files = vec![
        ("proc/driver/nvidia/version".to_owned(), module_version(state)),
        ("proc/driver/nvidia/params".to_owned(), PARAMS.to_owned()),
        ("proc/driver/nvidia/registry".to_owned(), "Binary: \"\"\n".to_owned()),
        ("proc/devices".to_owned(), devices(state)),
        ("sys/module/nvidia/version".to_owned(), format!("{version}\n")),
        ("sys/module/nvidia_drm/parameters/modeset".to_owned(), "Y\n".to_owned()),
        (
            "sys/bus/pci/drivers/nvidia/module_name".to_owned(),
            "nvidia\n".to_owned(),
        ),
        (
            "proc/driver/nvidia/capabilities/mig/config".to_owned(),
            capability(1, 0o400),
        ),
        (
            "proc/driver/nvidia/capabilities/mig/monitor".to_owned(),
            capability(2, 0o444),
        ),
        ("proc/driver/nvidia-caps/mig-minors".to_owned(), mig::mig_minors()),
        ("proc/driver/nvidia-caps/sys-minors".to_owned(), String::new()),
    ];
    if state.profile.extras.gds > 0 {
        files.extend(extras::GDS_FILES.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }
    for (index, gpu) in state.gpus.iter().enumerate() {
        files.push((
            format!("proc/driver/nvidia/gpus/{}/information", gpu.bus),
            information(state, gpu),
        ));
        files.push((
            format!("proc/driver/nvidia/gpus/{}/registry", gpu.bus),
            "Binary: \"\"\n".to_owned(),
        ));
        let folder = format!("sys/bus/pci/devices/{}", gpu.bus);
        files.extend(
            pci_attributes(state, gpu)
                .into_iter()
                .map(|(name, text)| (format!("{folder}/{name}"), text + "\n")),
        );
        let drm = |name: String, minor| (format!("{folder}/drm/{name}/dev"), format!("{DRM_MAJOR}:{minor}\n"));
        files.push(drm(format!("card{index}"), DRM_CARD_MINOR as usize + index));
        files.push(drm(
            format!("renderD{}", 128 + index),
            DRM_RENDER_MINOR as usize + index,
        ));
    }
    files
}

/// Blackwell runs with the open kernel modules only; the others here run with the proprietary ones.
fn module_version(state: &State) -> String {
    let version = &state.profile.driver_version;
    let module = match state.profile.model.architecture {
        Architecture::Blackwell => "NVIDIA UNIX Open Kernel Module for x86_64",
        _ => "NVIDIA UNIX x86_64 Kernel Module",
    };
    format!(
        "NVRM version: {module}  {version}  Release Build  (simulated)\n\
         GCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)\n"
    )
}

/// `/proc/driver/nvidia/params`, the lines that programs look at, with the driver's defaults.
const PARAMS: &str = "\
ResmanDebugLevel: 4294967295
RmLogonRC: 1
ModifyDeviceFiles: 1
DeviceFileUID: 0
DeviceFileGID: 0
DeviceFileMode: 438
InitializeSystemMemoryAllocations: 1
UsePageAttributeTable: 4294967295
EnableMSI: 1
MapRegistersEarly: 0
RegisterForACPIEvents: 1
EnablePCIeGen3: 0
MemoryPoolSize: 0
KMallocHeapMaxSize: 0
VMallocHeapMaxSize: 0
IgnoreMMIOCheck: 0
EnableStreamMemOPs: 0
EnableUserNUMAManagement: 1
NvLinkDisable: 0
PreserveVideoMemoryAllocations: 0
EnableGpuFirmware: 18
DynamicPowerManagement: 3
TemporaryFilePath: \"\"
ExcludedGpus: \"\"
";

fn devices(state: &State) -> String {
    let mut text = String::from("Character devices:\n  1 mem\n  5 /dev/tty\n 10 misc\n 13 input\n136 pts\n");
    text += "195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n226 drm\n";
    if state.profile.nvswitches > 0 {
        text += &format!("{NVSWITCH_MAJOR} nvidia-nvswitch\n");
    }
    text += &format!("{CAPS_MAJOR} nvidia-caps\n{UVM_MAJOR} nvidia-uvm\n\nBlock devices:\n259 blkext\n");
    text
}

fn information(state: &State, gpu: &GpuState) -> String {
    let model = &state.profile.model;
    let firmware = if model.gsp_firmware {
        &state.profile.driver_version
    } else {
        "N/A"
    };
    format!(
        "Model: \t\t {}\nIRQ:   \t\t {}\nGPU UUID: \t {}\nVideo BIOS: \t {}\nBus Type: \t PCIe\nDMA Size: \t 47 bits\n\
         DMA Mask: \t 0x7fffffffffff\nBus Location: \t {}\nDevice Minor: \t {}\nGPU Firmware: \t {firmware}\nGPU Excluded:\t No\n",
        model.name,
        128 + gpu.minor,
        gpu.uuid,
        model.vbios.to_ascii_lowercase(),
        gpu.bus,
        gpu.minor
    )
}

/// Class codes: VGA controller, 3D controller (PCI Code and ID Assignment Specification).
const CLASS_VGA: &str = "0x030000";
const CLASS_3D: &str = "0x030200";

fn pci_attributes(state: &State, gpu: &GpuState) -> Vec<(&'static str, String)> {
    let model = &state.profile.model;
    let speed = format!("{} GT/s PCIe", pcie_speed(model.pcie_generation));
    let width = model.pcie_width.to_string();
    let [vendor, device] = [model.pci_subsystem_id & 0xffff, model.pci_subsystem_id >> 16];
    vec![
        ("vendor", "0x10de".to_owned()),
        ("device", format!("{:#06x}", model.pci_device_id)),
        ("subsystem_vendor", format!("{vendor:#06x}")),
        ("subsystem_device", format!("{device:#06x}")),
        ("class", if model.display { CLASS_VGA } else { CLASS_3D }.to_owned()),
        ("revision", "0xa1".to_owned()),
        ("numa_node", gpu.numa.to_string()),
        ("local_cpulist", state.profile.cpu_list(gpu.numa)),
        ("current_link_speed", speed.clone()),
        ("max_link_speed", speed),
        ("current_link_width", width.clone()),
        ("max_link_width", width),
        ("enable", "1".to_owned()),
    ]
}

/// GT/s of a PCIe generation.
fn pcie_speed(generation: u32) -> &'static str {
    match generation {
        1 => "2.5",
        2 => "5.0",
        3 => "8.0",
        4 => "16.0",
        5 => "32.0",
        _ => "64.0",
    }
}

fn parent(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Error::io("make", folder))
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    parent(path)?;
    fs::write(path, content).map_err(Error::io("write", path))
}

/// Makes a symbolic link and the folders above it.
pub(crate) fn link(root: &Path, path: &str, target: &str) -> Result<(), Error> {
    let path = root.join(path);
    parent(&path)?;
    symlink(target, &path).map_err(Error::io("link", &path))
}
