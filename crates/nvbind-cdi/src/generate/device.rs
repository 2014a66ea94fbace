//! What one GPU or MIG device needs: its nodes, and the groups that may open them.

use super::GenerateOptions;
use super::select::Selected;
use crate::{DeviceNode, Edits, Error};
use nvbind_config::Roots;
use nvbind_gpu::{DXG_NODE, Link, gpu_nodes, mig_nodes, path_order};
use rustix::fs::{FileType, stat};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Permission bits of a node that everyone may read and write.
const WORLD_RW: u32 = 0o006;

/// The edits of devices, and the links that the hook makes to their nodes.
#[derive(Debug, Default)]
pub(super) struct DeviceEdits {
    pub(super) edits: Edits,
    pub(super) links: Vec<Link>,
}

impl DeviceEdits {
    pub(super) fn merge(&mut self, other: Self) {
        self.edits.merge(other.edits);
        self.links.extend(other.links);
    }
}

/// The edits of one device.
pub(super) fn edits(roots: &Roots, device: &Selected<'_>, options: &GenerateOptions) -> Result<DeviceEdits, Error> {
    let mut found = DeviceEdits::default();
    let (required, optional, links) = nodes_of(roots, device)?;
    for path in required {
        let host = roots.dev_path(&path);
        let missing = || Error::NodeMissing {
            uuid: device.uuid().to_owned(),
            path: host.clone(),
        };
        add_node(&mut found.edits, &path, &host, options).ok_or_else(missing)?;
    }
    for path in optional {
        add_node(&mut found.edits, &path, &roots.dev_path(&path), options);
    }
    found.links = links;
    sort(&mut found.edits);
    Ok(found)
}

/// The one node of a WSL2 machine.
pub(super) fn wsl(roots: &Roots, options: &GenerateOptions) -> Result<Edits, Error> {
    let mut edits = Edits::default();
    let path = Path::new(DXG_NODE);
    let host = roots.dev_path(path);
    add_node(&mut edits, path, &host, options).ok_or(Error::DxgMissing(host))?;
    Ok(edits)
}

type Nodes = (Vec<PathBuf>, Vec<PathBuf>, Vec<Link>);

/// Nodes without which the device does not work, nodes that are given when they exist (DRM), and the links to those.
fn nodes_of(roots: &Roots, device: &Selected<'_>) -> Result<Nodes, Error> {
    let gpu = gpu_nodes(roots, device.gpu);
    let (mut required, mut optional): (Vec<_>, Vec<_>) =
        gpu.nodes.into_iter().partition(|path| !path.starts_with("/dev/dri"));
    let mut links = gpu.by_path_links;
    if let Some(mig) = device.mig {
        required.extend(mig_nodes(roots, device.gpu, mig)?);
        // Only profiles with graphics, as `1g.24gb+gfx`, can draw.
        if !mig.profile.contains("gfx") {
            optional.clear();
            links.clear();
        }
    }
    Ok((required, optional, links))
}

/// Adds a node and the group that it needs; `None` when it is not there.
pub(super) fn add_node(edits: &mut Edits, path: &Path, host: &Path, options: &GenerateOptions) -> Option<()> {
    let found = stat(host).ok()?;
    let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    // Groups are told only where they matter: they raise the CDI version that a spec needs.
    let is_restricted = is_device && found.st_mode & WORLD_RW != WORLD_RW && found.st_gid != 0;
    let gid = is_restricted.then_some(found.st_gid);
    edits.device_nodes.push(DeviceNode {
        path: path.to_owned(),
        host_path: (path != host).then(|| host.to_owned()),
        kind: None,
        major: None,
        minor: None,
        file_mode: None,
        permissions: None,
        uid: None,
        gid,
    });
    if let Some(gid) = gid.filter(|gid| options.additional_gids && !edits.additional_gids.contains(gid)) {
        edits.additional_gids.push(gid);
    }
    Some(())
}

/// Sorts nodes by depth and path, as the container toolkit does, and groups by number.
pub(super) fn sort(edits: &mut Edits) {
    sort_by_depth(&mut edits.device_nodes, |node| &node.path);
    edits
        .device_nodes
        .dedup_by(|a, b| a.path.as_os_str() == b.path.as_os_str());
    edits.additional_gids.sort_unstable();
    edits.additional_gids.dedup();
}

/// Sorts nodes or mounts: what is less deep comes first, so that a folder comes before what lies in it.
pub(super) fn sort_by_depth<T>(list: &mut [T], path: impl Fn(&T) -> &Path) {
    let depth = |path: &Path| path.as_os_str().as_bytes().iter().filter(|byte| **byte == b'/').count();
    // In order for the most part already, as they were found.
    list.sort_by(|a, b| path_order(path(a), path(b)));
    list.sort_by_cached_key(|item| depth(path(item)));
}
