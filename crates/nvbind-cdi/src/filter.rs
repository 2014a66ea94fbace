//! What a container gets when it asks for some of the driver's capabilities only.

use crate::generate::hook::{has_work, is_ours, parse_library, parse_link};
use crate::link::resolve;
use crate::{Edits, Hook};
use nvbind_gpu::{Capabilities, Capability, capabilities_of};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Nodes that only drawing and displaying need: DRM, and modesetting.
const GRAPHICS_NODES: [&str; 2] = ["/dev/dri", "/dev/nvidia-modeset"];

/// Folders of 32-bit libraries.
const FOLDERS_32_BIT: [&str; 3] = ["i386-linux-gnu", "arm-linux-gnueabihf", "lib32"];

/// Capabilities that draw or display.
const GRAPHICS: Capabilities = Capabilities::of(Capability::Graphics).union(Capabilities::of(Capability::Display));

impl Edits {
    /// The edits less the driver files, links, libraries and nodes that none of `capabilities` needs.
    pub fn filter(self, capabilities: Capabilities) -> Self {
        let mut edits = self;
        if capabilities == Capabilities::ALL {
            return edits;
        }
        // As bytes: paths hash part by part, which is slow.
        let mut dropped = HashSet::new();
        let has_lib64 = edits.mounts.iter().any(|mount| {
            let path = mount.container_path.as_os_str().as_bytes();
            path.starts_with(b"/usr/lib64/")
        });
        edits.mounts.retain(|mount| {
            let path = &mount.container_path;
            is_needed(path, has_lib64, capabilities) || !dropped.insert(path.clone().into())
        });
        edits.drop_nodes(capabilities, &mut dropped);
        for hook in edits.hooks.iter_mut().filter(|hook| is_ours(hook)) {
            drop_arguments(hook, &mut dropped);
        }
        if !capabilities.contains(Capability::Compute) {
            edits.forget_host_versions();
        }
        // Our hook without work to do is not worth a process.
        edits.hooks.retain(|hook| !is_ours(hook) || has_work(hook));
        edits
    }

    /// Drops graphics nodes where nothing is drawn, and the groups that only they needed.
    fn drop_nodes(&mut self, capabilities: Capabilities, dropped: &mut HashSet<OsString>) {
        if capabilities.intersects(GRAPHICS) {
            return;
        }
        let is_graphics = |path: &Path| GRAPHICS_NODES.iter().any(|node| path.starts_with(node));
        let (graphics, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.device_nodes)
            .into_iter()
            .partition(|node| is_graphics(&node.path));
        let groups: BTreeSet<u32> = graphics.iter().filter_map(|node| node.gid).collect();
        let is_needed = |gid: &u32| !groups.contains(gid) || others.iter().any(|node| node.gid == Some(*gid));
        self.additional_gids.retain(is_needed);
        self.device_nodes = others;
        dropped.extend(graphics.into_iter().map(|node| OsString::from(node.path)));
    }
}

/// Whether a container with `capabilities` needs the driver file. A 32-bit library is needed for `compat32` alone.
fn is_needed(path: &Path, has_lib64: bool, capabilities: Capabilities) -> bool {
    if is_32_bit(path, has_lib64) {
        return capabilities.contains(Capability::Compat32);
    }
    capabilities_of(path).intersects(capabilities)
}

/// Whether a library lies where distributions put 32-bit ones: in a multiarch folder, in `lib32`, or in `lib` where
/// `lib64` holds the others.
fn is_32_bit(path: &Path, has_lib64: bool) -> bool {
    // Part by part as bytes: there are two hundred files, and a container waits.
    let path = path.as_os_str().as_bytes();
    let mut parts = path.rsplit(|byte| *byte == b'/');
    let is_library = parts.next().is_some_and(|name| name.starts_with(b"lib"));
    let is_of_32_bit = |part: &[u8]| FOLDERS_32_BIT.iter().any(|folder| part == folder.as_bytes());
    parts.any(is_of_32_bit) || (has_lib64 && is_library && path.starts_with(b"/usr/lib/"))
}

/// Drops what the hook would do for files that are not there: links to them, links to such links, cache entries.
fn drop_arguments(hook: &mut Hook, dropped: &mut HashSet<OsString>) {
    // A link may stand before the link that it leads to: go on until nothing more falls.
    loop {
        let before = hook.args.len();
        hook.args.retain(|text| match parse_link(text) {
            Some((target, link)) if dropped.contains(resolve(link, target).as_os_str()) => {
                dropped.insert(link.into());
                false
            }
            _ => true,
        });
        if hook.args.len() == before {
            break;
        }
    }
    hook.args
        .retain(|text| parse_library(text).is_none_or(|path| !dropped.contains(path.as_os_str())));
}

#[cfg(test)]
mod tests;
