//! What a container needs to look after the driver: every node there is, and the driver's files.

use super::device::sort;
use super::extra::{add_nodes, nodes};
use super::{ALL, GenerateOptions, common, new_device, new_spec};
use crate::{Edits, Error, Spec};
use nvbind_config::Roots;
use nvbind_gpu::Host;

/// Folder and start of the name of nodes.
const NODES: [(&str, &str); 3] = [
    ("/dev", "nvidia"),
    ("/dev/nvidia-caps", "nvidia-cap"),
    ("/dev/nvidia-caps-imex-channels", "channel"),
];

/// Names of nodes that other modes are for begin like this.
const OTHERS: [&str; 3] = ["nvidia-fs", "nvidia-nvswitch", "nvidia-nvlink"];

/// The spec with the one device that stands for all.
pub(super) fn generate(roots: &Roots, options: &GenerateOptions) -> Result<Spec, Error> {
    if let Some(id) = options.device_ids.iter().find(|id| *id != ALL) {
        return Err(Error::UnknownDevice {
            id: id.clone(),
            hint: format!("there is only {ALL}"),
        });
    }
    let mut edits = Edits::default();
    for (folder, start) in NODES {
        let mut paths = nodes(roots, folder, start);
        paths.retain(|path| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            !OTHERS.iter().any(|other| name.starts_with(other.as_bytes()))
        });
        add_nodes(&mut edits, roots, paths, options);
    }
    if edits.device_nodes.is_empty() {
        return Err(Error::NoDevices);
    }
    sort(&mut edits);
    let host: Host = nvbind_gpu::discover_procfs(roots)?;
    let version = host.driver.version.as_deref();
    let mut files = nvbind_gpu::driver_files(roots, version, &options.search_options())?;
    // They are among the device's own.
    files.nodes.clear();
    // Who looks after the driver may change its nodes.
    let mut options = options.clone();
    options.hooks.disable_device_node_modification = false;
    let common = common::edits(roots, &files, &[], &host, &options)?;
    new_spec(&options, vec![new_device(ALL.to_owned(), edits)], common)
}
