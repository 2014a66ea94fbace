//! The device nodes that the loaded kernel modules answer on, and making those that are missing.
//!
//! NVIDIA's modules register no device class, so neither devtmpfs nor udev makes their nodes. The driver's own
//! `nvidia-modprobe` does, when something happens to start it; numbers, owners and modes here follow its source
//! (`nvidia-modprobe-utils.c`).

use crate::{Error, procfs, rootfs};
use nvbind_config::Roots;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Uid, major, makedev, minor, mknodat, stat};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Major of `/dev/nvidia<N>`, `nvidiactl` and `nvidia-modeset` (Documentation/admin-guide/devices.txt of the kernel).
const NVIDIA_MAJOR: u32 = 195;
/// Minors of the two control nodes on that major.
const CONTROL_MINOR: u32 = 255;
const MODESET_MINOR: u32 = 254;
/// Folder of the capability nodes and its mode.
const CAPS_FOLDER: &str = "/dev/nvidia-caps";
const CAPS_FOLDER_MODE: u32 = 0o755;
/// Mode of a node where the driver does not say otherwise: everyone may use the GPU.
const DEFAULT_MODE: u32 = 0o666;
/// How deep `<proc>/driver/nvidia/capabilities` is (`gpu0/mig/gi1/ci0/access`).
const CAPABILITY_DEPTH: u32 = 5;

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Control node of a module: `/dev/nvidiactl`, `/dev/nvidia-uvm`.
    Control,
    /// Capability node: `/dev/nvidia-caps/nvidia-cap<N>`.
    Capability,
    /// A GPU: `/dev/nvidia<N>`.
    Gpu,
}

/// A device node that a loaded kernel module answers on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelNode {
    /// Container path, as `/dev/nvidia-uvm`.
    pub path: PathBuf,
    /// What it is for.
    pub kind: NodeKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    access: Access,
}

/// Who may open a node, and whether the driver leaves its making to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    mode: u32,
    uid: u32,
    gid: u32,
    /// `ModifyDeviceFiles: 1` or `DeviceFileModify: 1`.
    may_be_made: bool,
}

/// What is found at the place of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// The node.
    Present,
    /// Nothing.
    Missing,
    /// Something else, or the node with other rights.
    Different,
}

/// The nodes that the loaded modules answer on, in a fixed order: control nodes, GPUs, capabilities.
pub fn kernel_nodes(roots: &Roots) -> Vec<KernelNode> {
    let majors = Majors::read(roots);
    let mut nodes = control_nodes(roots, &majors);
    nodes.extend(gpu_nodes(roots, &majors));
    nodes.extend(capability_nodes(roots, &majors));
    nodes
}

/// The modules of a loaded driver that have not been loaded and that containers need, by the name `modprobe` takes.
pub fn missing_modules(roots: &Roots) -> Vec<&'static str> {
    if !procfs::driver(roots).kind.is_nvidia() {
        return Vec::new();
    }
    let majors = Majors::read(roots);
    let loaded = [
        ("nvidia-uvm", majors.of("nvidia-uvm").is_some()),
        ("nvidia-modeset", is_modeset_loaded(roots, &majors)),
    ];
    loaded
        .into_iter()
        .filter(|(_, is_loaded)| !is_loaded)
        .map(|(module, _)| module)
        .collect()
}

impl KernelNode {
    /// What is found at its place.
    pub fn state(&self, roots: &Roots) -> NodeState {
        match stat(roots.dev_path(&self.path)) {
            Ok(found) if self.is(&found) && (!self.access.may_be_made || self.access.is_of(&found)) => {
                NodeState::Present
            }
            Ok(_) => NodeState::Different,
            Err(_) => NodeState::Missing,
        }
    }

    fn is(&self, found: &Stat) -> bool {
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
            && (major(found.st_rdev), minor(found.st_rdev)) == (self.major, self.minor)
    }

    /// Makes the node when it is missing or another one, as `nvidia-modprobe` does. `false` when nothing was to do: it
    /// is there, or the driver was told to leave nodes to others (`NVreg_ModifyDeviceFiles=0`).
    pub fn make(&self, roots: &Roots) -> Result<bool, Error> {
        let state = self.state(roots);
        if state == NodeState::Present || !self.access.may_be_made {
            return Ok(false);
        }
        let path = roots.dev_path(&self.path);
        self.put(&path, state).map_err(|source| Error::Node { path, source })?;
        Ok(true)
    }

    fn put(&self, path: &Path, state: NodeState) -> io::Result<()> {
        if self.kind == NodeKind::Capability {
            make_caps_folder(path)?;
        }
        if state == NodeState::Different && !stat(path).is_ok_and(|found| self.is(&found)) {
            fs::remove_file(path)?;
        }
        let device = makedev(self.major, self.minor);
        let mode = Mode::from_raw_mode(self.access.mode);
        match mknodat(CWD, path, FileType::CharacterDevice, mode, device) {
            Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
            _ => {}
        }
        // The umask may have taken bits away, and a node that was there may have had others.
        rustix::fs::chmod(path, mode)?;
        let (uid, gid) = (Uid::from_raw(self.access.uid), Gid::from_raw(self.access.gid));
        Ok(rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::empty())?)
    }

    /// The link by which `runc` and systemd find the node by its numbers, and what it says: `/dev/char/195:0` to
    /// `../nvidia0`.
    pub fn char_link(&self) -> (PathBuf, PathBuf) {
        let link = format!("/dev/char/{}:{}", self.major, self.minor);
        let target = Path::new("..").join(self.path.strip_prefix("/dev").unwrap_or(&self.path));
        (link.into(), target)
    }

    /// Whether [`KernelNode::char_link`] leads to the node.
    pub fn has_char_link(&self, roots: &Roots) -> bool {
        stat(roots.dev_path(&self.char_link().0)).is_ok_and(|found| self.is(&found))
    }

    /// Makes [`KernelNode::char_link`] when the node is there and the link is not. `false` when nothing was to do.
    pub fn link_char(&self, roots: &Roots) -> Result<bool, Error> {
        if self.state(roots) == NodeState::Missing || self.has_char_link(roots) {
            return Ok(false);
        }
        let (link, target) = self.char_link();
        let path = roots.dev_path(&link);
        put_link(&path, &target).map_err(|source| Error::Node { path, source })?;
        Ok(true)
    }
}

impl Access {
    fn is_of(&self, found: &Stat) -> bool {
        found.st_mode & 0o777 == self.mode && (found.st_uid, found.st_gid) == (self.uid, self.gid)
    }

    /// What `nvidia-modprobe` does where the driver says nothing.
    const DEFAULT: Self = Self {
        mode: DEFAULT_MODE,
        uid: 0,
        gid: 0,
        may_be_made: true,
    };

    /// From the module parameters (`<proc>/driver/nvidia/params`) or a capability file: `Name: value` lines.
    fn parse(text: &str) -> Self {
        let number = |name: &str| procfs::field(text, name).and_then(|value| value.parse::<u32>().ok());
        let may_be_made = number("ModifyDeviceFiles").or(number("DeviceFileModify"));
        Self {
            mode: number("DeviceFileMode").map_or(DEFAULT_MODE, |mode| mode & 0o777),
            uid: number("DeviceFileUID").unwrap_or(0),
            gid: number("DeviceFileGID").unwrap_or(0),
            may_be_made: may_be_made.is_none_or(|word| word == 1),
        }
    }

    fn of_driver(roots: &Roots) -> Self {
        fs::read_to_string(roots.proc.join("driver/nvidia/params")).map_or(Self::DEFAULT, |text| Self::parse(&text))
    }
}

fn put_link(path: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    symlink(target, &temporary)?;
    fs::rename(&temporary, path).inspect_err(|_| {
        // Only litter is lost if this fails too.
        let _ = fs::remove_file(&temporary);
    })
}

fn make_caps_folder(node: &Path) -> io::Result<()> {
    let folder = node.parent().unwrap_or(node);
    match rustix::fs::mkdir(folder, Mode::from_raw_mode(CAPS_FOLDER_MODE)) {
        Err(error) if error != rustix::io::Errno::EXIST => Err(error.into()),
        _ => Ok(()),
    }
}

/// The character devices of `<proc>/devices`: names with their majors.
struct Majors(Vec<(u32, String)>);

impl Majors {
    fn read(roots: &Roots) -> Self {
        let text = fs::read_to_string(roots.proc.join("devices")).unwrap_or_default();
        let lines = text.lines().skip_while(|line| *line != "Character devices:").skip(1);
        let entry = |line: &str| {
            let (major, name) = line.trim().split_once(' ')?;
            Some((major.parse().ok()?, name.trim().to_owned()))
        };
        Self(lines.take_while(|line| !line.is_empty()).filter_map(entry).collect())
    }

    fn of(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(_, known)| known == name).map(|(major, _)| *major)
    }

    /// Whether the main module is loaded: it was called `nvidia-frontend` before 550.
    fn has_driver(&self) -> bool {
        self.0
            .iter()
            .any(|(major, name)| *major == NVIDIA_MAJOR && name.starts_with("nvidia"))
    }
}

/// Drivers before 550 do not list modeset in `<proc>/devices`.
fn is_modeset_loaded(roots: &Roots, majors: &Majors) -> bool {
    majors.of("nvidia-modeset").is_some() || roots.sys.join("module/nvidia_modeset").is_dir()
}

fn control_nodes(roots: &Roots, majors: &Majors) -> Vec<KernelNode> {
    let node = |path: &str, major, minor, access| KernelNode {
        path: path.into(),
        kind: NodeKind::Control,
        major,
        minor,
        access,
    };
    let mut nodes = Vec::new();
    let access = Access::of_driver(roots);
    if majors.has_driver() {
        nodes.push(node("/dev/nvidiactl", NVIDIA_MAJOR, CONTROL_MINOR, access));
    }
    if majors.has_driver() && is_modeset_loaded(roots, majors) {
        nodes.push(node("/dev/nvidia-modeset", NVIDIA_MAJOR, MODESET_MINOR, access));
    }
    if let Some(uvm) = majors.of("nvidia-uvm") {
        nodes.push(node("/dev/nvidia-uvm", uvm, 0, Access::DEFAULT));
        nodes.push(node("/dev/nvidia-uvm-tools", uvm, 1, Access::DEFAULT));
    }
    nodes
}

fn gpu_nodes(roots: &Roots, majors: &Majors) -> Vec<KernelNode> {
    if !majors.has_driver() {
        return Vec::new();
    }
    let access = Access::of_driver(roots);
    let node = |minor| KernelNode {
        path: format!("/dev/nvidia{minor}").into(),
        kind: NodeKind::Gpu,
        major: NVIDIA_MAJOR,
        minor,
        access,
    };
    let (gpus, _) = procfs::gpus(roots);
    gpus.iter().map(|gpu| node(gpu.minor)).collect()
}

/// The capabilities that exist (`mig-minors` lists every one that there could be), each with the minor and the rights
/// that its file tells.
fn capability_nodes(roots: &Roots, majors: &Majors) -> Vec<KernelNode> {
    let Some(major) = majors.of("nvidia-caps") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    collect_files(
        &roots.proc.join("driver/nvidia/capabilities"),
        CAPABILITY_DEPTH,
        &mut files,
    );
    let node = |file: &PathBuf| {
        let text = fs::read_to_string(file).ok()?;
        let minor = procfs::field(&text, "DeviceFileMinor")?.parse().ok()?;
        Some(KernelNode {
            path: Path::new(CAPS_FOLDER).join(format!("nvidia-cap{minor}")),
            kind: NodeKind::Capability,
            major,
            minor,
            access: Access::parse(&text),
        })
    };
    let mut nodes: Vec<KernelNode> = files.iter().filter_map(node).collect();
    nodes.sort_by_key(|node| node.minor);
    nodes.dedup_by_key(|node| node.minor);
    nodes
}

fn collect_files(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) {
    let paths = rootfs::list(folder).unwrap_or_default();
    for path in paths.into_iter().map(|name| folder.join(name.name)) {
        match path.is_dir() {
            true if depth > 0 => collect_files(&path, depth - 1, files),
            true => {}
            false => files.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose `<proc>` says what a 535 and a 570 driver say.
    fn machine(devices: &str, params: &str) -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "proc/devices",
            &format!("Character devices:\n  1 mem\n{devices}\nBlock devices:\n510 nvidia-uvm\n"),
        );
        write("proc/driver/nvidia/params", params);
        write(
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.1.1  x\n",
        );
        write(
            "proc/driver/nvidia/gpus/0000:07:00.0/information",
            "Model: X\nDevice Minor: \t 3\n",
        );
        write(
            "proc/driver/nvidia/capabilities/gpu3/mig/gi1/access",
            "DeviceFileMinor: 418\nDeviceFileMode: 292\nDeviceFileModify: 1\n",
        );
        write(
            "proc/driver/nvidia/capabilities/mig/config",
            "DeviceFileMinor: 1\nDeviceFileMode: 256\nDeviceFileModify: 1\n",
        );
        fs::create_dir_all(dir.path().join("dev")).unwrap();
        (dir, roots)
    }

    fn paths(roots: &Roots) -> Vec<String> {
        kernel_nodes(roots)
            .iter()
            .map(|node| format!("{} {}:{}", node.path.display(), node.major, node.minor))
            .collect()
    }

    #[test]
    fn the_nodes_are_those_of_loaded_modules() {
        let (_dir, roots) = machine(
            "195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n509 nvidia-caps\n510 nvidia-uvm\n",
            "",
        );
        let expected = [
            "/dev/nvidiactl 195:255",
            "/dev/nvidia-modeset 195:254",
            "/dev/nvidia-uvm 510:0",
            "/dev/nvidia-uvm-tools 510:1",
            "/dev/nvidia3 195:3",
            "/dev/nvidia-caps/nvidia-cap1 509:1",
            "/dev/nvidia-caps/nvidia-cap418 509:418",
        ];
        assert_eq!(paths(&roots), expected);
        assert!(missing_modules(&roots).is_empty());
    }

    #[test]
    fn an_older_driver_has_another_name_and_a_block_device_is_no_module() {
        let (dir, roots) = machine("195 nvidia-frontend\n", "");
        assert_eq!(paths(&roots), ["/dev/nvidiactl 195:255", "/dev/nvidia3 195:3"]);
        assert_eq!(missing_modules(&roots), ["nvidia-uvm", "nvidia-modeset"]);
        fs::create_dir_all(dir.path().join("sys/module/nvidia_modeset")).unwrap();
        assert_eq!(missing_modules(&roots), ["nvidia-uvm"]);
        assert_eq!(paths(&roots)[1], "/dev/nvidia-modeset 195:254");
    }

    #[test]
    fn without_a_driver_nothing_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        assert!(kernel_nodes(&roots).is_empty() && missing_modules(&roots).is_empty());
    }

    #[test]
    fn missing_and_wrong_nodes_are_made_with_the_rights_that_the_driver_tells() {
        let (dir, roots) = machine(
            "195 nvidia\n509 nvidia-caps\n",
            "ModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 44\nDeviceFileMode: 432\n",
        );
        fs::write(dir.path().join("dev/nvidia3"), "no device").unwrap();
        let nodes = kernel_nodes(&roots);
        let states = |roots: &Roots| nodes.iter().map(|node| node.state(roots)).collect::<Vec<_>>();
        use NodeState::{Different, Missing, Present};
        assert_eq!(states(&roots), [Missing, Different, Missing, Missing]);
        for node in &nodes {
            assert!(node.make(&roots).unwrap(), "{node:?}");
            assert!(!node.make(&roots).unwrap(), "{node:?} was there");
        }
        assert_eq!(states(&roots), [Present; 4]);
        let control = stat(dir.path().join("dev/nvidiactl")).unwrap();
        assert_eq!((control.st_mode & 0o7777, control.st_gid), (0o660, 44));
        let capability = stat(dir.path().join("dev/nvidia-caps/nvidia-cap418")).unwrap();
        assert_eq!((capability.st_mode & 0o7777, capability.st_gid), (0o444, 0));
        fs::remove_file(dir.path().join("dev/nvidiactl")).unwrap();
        assert_eq!(states(&roots)[0], Missing);
    }

    #[test]
    fn a_driver_that_keeps_its_nodes_to_itself_is_left_alone() {
        let (_dir, roots) = machine("195 nvidia\n", "ModifyDeviceFiles: 0\n");
        let nodes = kernel_nodes(&roots);
        assert!(nodes.iter().all(|node| !node.make(&roots).unwrap()));
        assert!(nodes.iter().all(|node| node.state(&roots) == NodeState::Missing));
    }

    #[test]
    fn links_by_number_lead_to_the_node() {
        let (dir, roots) = machine("195 nvidia\n509 nvidia-caps\n", "");
        let nodes = kernel_nodes(&roots);
        assert!(
            !nodes[0].link_char(&roots).unwrap(),
            "no link to a node that is not there"
        );
        for node in &nodes {
            node.make(&roots).unwrap();
            assert!(node.link_char(&roots).unwrap() && !node.link_char(&roots).unwrap());
        }
        let target = |name: &str| fs::read_link(dir.path().join("dev/char").join(name)).unwrap();
        assert_eq!(target("195:255"), Path::new("../nvidiactl"));
        assert_eq!(target("509:418"), Path::new("../nvidia-caps/nvidia-cap418"));
        fs::remove_file(dir.path().join("dev/char/195:3")).unwrap();
        symlink("../nvidiactl", dir.path().join("dev/char/195:3")).unwrap();
        let gpu = nodes.iter().find(|node| node.kind == NodeKind::Gpu).unwrap();
        assert!(!gpu.has_char_link(&roots) && gpu.link_char(&roots).unwrap());
        assert_eq!(target("195:3"), Path::new("../nvidia3"));
    }
}
