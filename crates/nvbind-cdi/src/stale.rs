//! Whether a spec still describes this host.

use crate::{DeviceNode, Edits, Spec};
use foldhash::fast::FixedState;
use rustix::fs::{FileType, Stat, major, minor, stat};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;

/// Paths that were looked at. The specs are root's: nobody makes them collide.
type Seen<'a> = HashSet<&'a OsStr, FixedState>;

impl Spec {
    /// What on this host is no longer as the spec says: a mount's source, a device node or a hook is gone, or a node
    /// has another type or other numbers. `None` when everything is in its place.
    pub fn stale(&self) -> Option<String> {
        let mut seen = Seen::default();
        let mut all = std::iter::once(&self.container_edits).chain(self.devices.iter().map(|d| &d.container_edits));
        all.find_map(|edits| edits.stale(&mut seen))
    }
}

impl Edits {
    /// As [`Spec::stale`]; what stands in `seen` was looked at before.
    fn stale<'a>(&'a self, seen: &mut Seen<'a>) -> Option<String> {
        // The source of a mount with a type of its own can be a word, as `tmpfs`.
        let sources = self
            .mounts
            .iter()
            .map(|mount| &mount.host_path)
            .filter(|path| path.as_os_str().as_encoded_bytes().starts_with(b"/"));
        let mut files = sources.chain(self.hooks.iter().map(|hook| &hook.path));
        let gone = files.find(|path| seen.insert(path.as_os_str()) && stat(path.as_path()).is_err());
        if let Some(path) = gone {
            return Some(format!("{} is gone", path.display()));
        }
        let mut nodes = self
            .device_nodes
            .iter()
            .filter(|node| seen.insert(node.on_host().as_os_str()));
        nodes.find_map(DeviceNode::stale)
    }
}

impl DeviceNode {
    /// The node's path on the host.
    pub fn on_host(&self) -> &Path {
        self.host_path
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or(&self.path)
    }

    fn stale(&self) -> Option<String> {
        let path = self.on_host();
        let Ok(found) = stat(path) else {
            return Some(format!("device node {} is gone", path.display()));
        };
        let is_same = self.has_type_of(&found) && self.has_numbers_of(&found);
        (!is_same).then(|| format!("device node {} is another one than it was", path.display()))
    }

    fn has_type_of(&self, found: &Stat) -> bool {
        let file_type = FileType::from_raw_mode(found.st_mode);
        match self.kind.as_deref() {
            Some("c" | "u") => file_type == FileType::CharacterDevice,
            Some("b") => file_type == FileType::BlockDevice,
            Some("p") => file_type == FileType::Fifo,
            _ => true,
        }
    }

    fn has_numbers_of(&self, found: &Stat) -> bool {
        let is_same = |spec: Option<i64>, host: u32| spec.is_none_or(|number| number == i64::from(host));
        is_same(self.major, major(found.st_rdev)) && is_same(self.minor, minor(found.st_rdev))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn stale(device: &Value, common: &Value) -> Option<String> {
        let spec = json!({ "cdiVersion": "0.5.0", "kind": "a/b", "devices": [{ "name": "0", "containerEdits": device }],
            "containerEdits": common });
        serde_json::from_value::<Spec>(spec).unwrap().stale()
    }

    #[test]
    fn what_is_there_is_fresh() {
        let null = json!({ "deviceNodes": [{ "path": "/dev/n", "hostPath": "/dev/null", "type": "c", "major": 1, "minor": 3 }] });
        let common = json!({ "mounts": [{ "hostPath": "/etc", "containerPath": "/x" }],
            "hooks": [{ "hookName": "prestart", "path": "/bin/true" }], "deviceNodes": [{ "path": "/dev/null" }] });
        assert_eq!(stale(&null, &common), None);
    }

    #[test]
    fn what_is_gone_or_changed_is_stale() {
        let node = |node: Value| stale(&json!({ "deviceNodes": [node] }), &json!({})).unwrap();
        assert_eq!(
            node(json!({ "path": "/nonexistent" })),
            "device node /nonexistent is gone"
        );
        let other = "device node /dev/null is another one than it was";
        assert_eq!(node(json!({ "path": "/dev/null", "minor": 4 })), other);
        assert_eq!(node(json!({ "path": "/dev/null", "major": 195 })), other);
        assert_eq!(node(json!({ "path": "/dev/null", "type": "b" })), other);
        let mount = json!({ "mounts": [{ "hostPath": "/nonexistent", "containerPath": "/x" }] });
        assert_eq!(stale(&json!({}), &mount).unwrap(), "/nonexistent is gone");
        let hook = json!({ "hooks": [{ "hookName": "prestart", "path": "/nonexistent" }] });
        assert_eq!(stale(&json!({}), &hook).unwrap(), "/nonexistent is gone");
    }
}
