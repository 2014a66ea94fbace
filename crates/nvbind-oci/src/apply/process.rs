//! The container's environment and groups.

use super::json::{self, Object};
use crate::Error;
use serde_json::Value;

/// Sets variables: an entry of the same name is replaced where it stands, a further one of that name is dropped.
pub(super) fn add_env(root: &mut Object, entries: &[String]) -> Result<(), Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let list = json::array(json::object(root, "process")?, "env")?;
    for entry in entries {
        let mut placed = false;
        list.retain_mut(|old| {
            if old.as_str().map(name) != Some(name(entry)) {
                return true;
            }
            let first = !std::mem::replace(&mut placed, true);
            if first {
                *old = Value::from(entry.as_str());
            }
            first
        });
        if !placed {
            list.push(Value::from(entry.as_str()));
        }
    }
    Ok(())
}

/// Adds supplementary groups of the container's process.
pub(super) fn add_groups(root: &mut Object, groups: &[u32]) -> Result<(), Error> {
    // CDI's Go package leaves group 0 out: a node of root's group is no reason to put a process into it.
    let mut groups = groups.iter().filter(|gid| **gid != 0).peekable();
    if groups.peek().is_none() {
        return Ok(());
    }
    let user = json::object(json::object(root, "process")?, "user")?;
    let list = json::array(user, "additionalGids")?;
    for gid in groups {
        if !list.iter().any(|old| old.as_u64() == Some(u64::from(*gid))) {
            list.push((*gid).into());
        }
    }
    Ok(())
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}
