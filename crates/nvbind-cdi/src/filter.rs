//! What a container gets when it asks for some of the driver's capabilities only.

use crate::generate::hook::{COMMAND, parse_library, parse_link};
use crate::link::resolve;
use crate::{Edits, Hook};
use nvbind_gpu::{Capabilities, Capability, capabilities_of};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Nodes that only drawing and displaying need: DRM, and modesetting.
const GRAPHICS_NODES: [&str; 2] = ["/dev/dri", "/dev/nvidia-modeset"];

/// Capabilities that draw or display.
const GRAPHICS: Capabilities = Capabilities::of(Capability::Graphics).union(Capabilities::of(Capability::Display));

impl Edits {
    /// The edits less the driver files, links, libraries and nodes that none of `capabilities` needs.
    pub fn filter(&self, capabilities: Capabilities) -> Self {
        if capabilities == Capabilities::ALL {
            return self.clone();
        }
        let mut edits = self.clone();
        let mut dropped = HashSet::new();
        edits.mounts.retain(|mount| {
            let keep = capabilities_of(&mount.container_path).intersects(capabilities);
            keep || !dropped.insert(mount.container_path.clone())
        });
        edits.drop_nodes(capabilities, &mut dropped);
        for hook in edits.hooks.iter_mut().filter(|hook| is_ours(hook)) {
            drop_arguments(hook, &mut dropped);
        }
        // Our hook without work to do is not worth a process.
        edits.hooks.retain(|hook| !is_ours(hook) || hook.args.len() > 2);
        edits
    }

    /// Drops graphics nodes where nothing is drawn, and the groups that only they needed.
    fn drop_nodes(&mut self, capabilities: Capabilities, dropped: &mut HashSet<PathBuf>) {
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
        dropped.extend(graphics.into_iter().map(|node| node.path));
    }
}

fn is_ours(hook: &Hook) -> bool {
    hook.args.get(1).is_some_and(|command| command == COMMAND)
}

/// Drops what the hook would do for files that are not there: links to them, links to such links, cache entries.
fn drop_arguments(hook: &mut Hook, dropped: &mut HashSet<PathBuf>) {
    // A link may stand before the link that it leads to: go on until nothing more falls.
    loop {
        let before = hook.args.len();
        hook.args.retain(|text| match parse_link(text) {
            Some((target, link)) if dropped.contains(&resolve(link, target)) => {
                dropped.insert(link.to_owned());
                false
            }
            _ => true,
        });
        if hook.args.len() == before {
            break;
        }
    }
    hook.args
        .retain(|text| parse_library(text).is_none_or(|path| !dropped.contains(path)));
}

#[cfg(test)]
mod tests;
