//! Bind mounts: behind the bundle's own, parents before what lies in them.

use super::json::{self, Object};
use crate::Error;
use nvbind_cdi::Mount;
use serde_json::Value;
use std::collections::HashSet;

/// Appends the mounts. One of the bundle at the same destination is replaced; the others keep their order.
pub(super) fn apply(root: &mut Object, mounts: &[Mount]) -> Result<(), Error> {
    if mounts.is_empty() {
        return Ok(());
    }
    let list = json::array(root, "mounts")?;
    let mut ours = Vec::with_capacity(mounts.len());
    let mut taken = HashSet::with_capacity(mounts.len());
    // Backwards, so that of two edits for one destination the later wins.
    for mount in mounts.iter().rev() {
        let destination = json::text(&mount.container_path)?;
        if taken.insert(plain(destination)) {
            ours.push((destination, mount));
        }
    }
    ours.reverse();
    ours.sort_by_cached_key(|(destination, _)| depth(destination));
    list.retain(|old| json::string(old, "destination").is_none_or(|path| !taken.contains(plain(path))));
    for (destination, mount) in ours {
        list.push(oci_mount(destination, mount)?);
    }
    Ok(())
}

/// A path without slashes at its end.
fn plain(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// Number of names in a path.
fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

fn oci_mount(destination: &str, mount: &Mount) -> Result<Value, Error> {
    let kind = mount.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("bind");
    let mut options: Vec<Value> = mount.options.iter().map(|option| option.as_ref().into()).collect();
    // Without one of the two words runc takes the type for a file system's name.
    if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.push("rbind".into());
    }
    Ok(json::object_of([
        ("destination", Some(destination.into())),
        ("type", Some(kind.into())),
        ("source", Some(json::text(&mount.host_path)?.into())),
        ("options", Some(options.into())),
    ]))
}
