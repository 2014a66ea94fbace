//! The lowest version of the CDI specification that a spec's content needs.

use crate::{Edits, IntelRdt, Spec};

/// Every released version, oldest first.
pub(crate) const RELEASED: [&str; 10] = [
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

/// The oldest version that engines still read.
const EARLIEST: &str = "0.3.0";

/// Whether a spec uses something that a version brought.
type IsNeeded = fn(&Spec) -> bool;

/// What a version brought, newest first (0.8.0 and 1.0.0 brought nothing that a spec could need).
const NEEDS: [(&str, IsNeeded); 5] = [
    ("1.1.0", |spec| {
        spec.any_edits(|edits| !edits.net_devices.is_empty() || edits.intel_rdt.as_ref().is_some_and(has_1_1_fields))
    }),
    ("0.7.0", |spec| {
        spec.any_edits(|edits| edits.intel_rdt.is_some() || !edits.additional_gids.is_empty())
    }),
    ("0.6.0", |spec| has_annotations(spec) || has_dotted_class(spec)),
    ("0.5.0", |spec| has_digit_first(spec) || spec.any_edits(has_host_path)),
    ("0.4.0", |spec| {
        spec.any_edits(|edits| edits.mounts.iter().any(|mount| is_given(mount.kind.as_deref())))
    }),
];

impl Spec {
    /// The lowest version of the CDI specification that has everything this spec uses.
    pub fn required_version(&self) -> &'static str {
        let needed = NEEDS.iter().find(|(_, is_needed)| is_needed(self));
        needed.map_or(EARLIEST, |(version, _)| version)
    }

    fn any_edits(&self, test: impl Fn(&Edits) -> bool) -> bool {
        test(&self.container_edits) || self.devices.iter().any(|device| test(&device.container_edits))
    }
}

/// Position of a version among those released; `None` for others.
pub(crate) fn rank(version: &str) -> Option<usize> {
    let version = version.strip_prefix('v').unwrap_or(version);
    RELEASED.iter().position(|released| *released == version)
}

pub(crate) fn has_1_1_fields(rdt: &IntelRdt) -> bool {
    !rdt.schemata.is_empty() || rdt.enable_monitoring.is_some()
}

fn has_annotations(spec: &Spec) -> bool {
    !spec.annotations.is_empty() || spec.devices.iter().any(|device| !device.annotations.is_empty())
}

fn has_dotted_class(spec: &Spec) -> bool {
    spec.kind.split_once('/').is_some_and(|(_, class)| class.contains('.'))
}

fn has_digit_first(spec: &Spec) -> bool {
    spec.devices
        .iter()
        .any(|device| !device.name.starts_with(|first: char| first.is_ascii_alphabetic()))
}

fn has_host_path(edits: &Edits) -> bool {
    edits
        .device_nodes
        .iter()
        .any(|node| node.host_path.as_ref().is_some_and(|path| !path.as_os_str().is_empty()))
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A spec of one device `gpu0`, with `change` merged into it.
    fn version(change: &Value) -> &'static str {
        let node = json!({ "deviceNodes": [{ "path": "/dev/x" }] });
        let mut spec = json!({ "cdiVersion": "0.3.0", "kind": "nvidia.com/gpu",
            "devices": [{ "name": "gpu0", "containerEdits": node }] });
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value::<Spec>(spec).unwrap().required_version()
    }

    #[test]
    fn table() {
        let device = |name: &str, edits: Value| json!({ "devices": [{ "name": name, "containerEdits": edits }] });
        let common = |edits: Value| json!({ "containerEdits": edits });
        let mount = |kind: &str| json!({ "mounts": [{ "hostPath": "/a", "containerPath": "/a", "type": kind }] });
        let cases = [
            (json!({}), "0.3.0"),
            (common(mount("")), "0.3.0"),
            (common(mount("bind")), "0.4.0"),
            (device("gpu0", mount("bind")), "0.4.0"),
            (device("0", json!({ "env": ["A=b"] })), "0.5.0"),
            (
                device(
                    "gpu0",
                    json!({ "deviceNodes": [{ "path": "/dev/x", "hostPath": "/r/dev/x" }] }),
                ),
                "0.5.0",
            ),
            (
                device(
                    "gpu0",
                    json!({ "deviceNodes": [{ "path": "/dev/x", "hostPath": "", "gid": 44 }] }),
                ),
                "0.3.0",
            ),
            (json!({ "annotations": { "a": "b" } }), "0.6.0"),
            (
                json!({ "devices": [{ "name": "g", "annotations": { "a": "b" }, "containerEdits": {} }] }),
                "0.6.0",
            ),
            (json!({ "kind": "nvidia.com/gpu.coherent" }), "0.6.0"),
            (common(json!({ "additionalGids": [44] })), "0.7.0"),
            (
                common(json!({ "intelRdt": { "closID": "x", "enableCMT": true } })),
                "0.7.0",
            ),
            (device("g", json!({ "intelRdt": { "schemata": ["L3:0=f"] } })), "1.1.0"),
            (common(json!({ "intelRdt": { "enableMonitoring": false } })), "1.1.0"),
            (
                device(
                    "0",
                    json!({ "netDevices": [{ "hostInterfaceName": "ib0", "name": "ib0" }] }),
                ),
                "1.1.0",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(version(&change), expected, "{change}");
        }
    }

    #[test]
    fn ranks() {
        assert!(rank("0.10.0").is_none());
        assert!(rank("v0.6.0") < rank("0.7.0"));
    }
}
