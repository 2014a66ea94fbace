//! Bind mounts: behind the bundle's own, parents before what lies in them.

use super::json::{self, Object};
use crate::Error;
use nvbind_cdi::Mount;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Component, Path};

/// Appends the mounts. One of the bundle at the same destination is replaced; the others keep their order.
pub(super) fn apply(root: &mut Object, mounts: &[Mount]) -> Result<(), Error> {
    if mounts.is_empty() {
        return Ok(());
    }
    let list = json::array(root, "mounts")?;
    let mut ours: Vec<&Mount> = Vec::with_capacity(mounts.len());
    let mut taken = HashSet::with_capacity(mounts.len());
    // Backwards, so that of two edits for one destination the later wins.
    for mount in mounts.iter().rev() {
        if taken.insert(mount.container_path.as_path()) {
            ours.push(mount);
        }
    }
    ours.reverse();
    ours.sort_by_key(|mount| depth(&mount.container_path));
    list.retain(|old| json::string(old, "destination").is_none_or(|path| !taken.contains(Path::new(path))));
    list.extend(ours.into_iter().map(oci_mount));
    Ok(())
}

/// Number of names in a path.
fn depth(path: &Path) -> usize {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .count()
}

fn oci_mount(mount: &Mount) -> Value {
    let kind = mount.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("bind");
    let mut options = mount.options.clone();
    // Without one of the two words runc takes the type for a file system's name.
    if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.push("rbind".to_owned());
    }
    json!({ "destination": mount.container_path, "type": kind, "source": mount.host_path, "options": options })
}
