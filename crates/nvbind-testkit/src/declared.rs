//! What a container's configuration says of its devices.

use serde_json::Value;

/// Asserts that the container's configuration names each node as a device and as a device that may be opened, and so that
/// systemd knows it: what is added to a cgroup behind its back is gone after `systemctl daemon-reload`.
pub fn assert_declared(config: &Value, nodes: &[impl AsRef<str>]) {
    let list = |pointer: &str| {
        config
            .pointer(pointer)
            .and_then(|list| list.as_array())
            .cloned()
            .unwrap_or_default()
    };
    let (devices, rules) = (list("/linux/devices"), list("/linux/resources/devices"));
    for node in nodes.iter().map(AsRef::as_ref) {
        let device = devices.iter().find(|device| device["path"] == node);
        let device = device.unwrap_or_else(|| panic!("{node} is not among {devices:?}"));
        let allows = |rule: &Value| {
            rule["allow"] == true
                && ["type", "major", "minor"].iter().all(|key| rule[key] == device[key])
                && rule["access"].as_str().is_some_and(|access| access.contains("rw"))
        };
        assert!(rules.iter().any(allows), "no rule for {device} among {rules:?}");
    }
}
