//! The lowest version of the CDI specification that a spec's content needs.

use crate::{Edits, Error, IntelRdt, Spec};

/// Every released version, oldest first.
pub(crate) const RELEASED: [&str; 10] = [
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

/// The oldest version that engines still read.
const EARLIEST: &str = "0.3.0";

/// The version that brought annotations, and classes with a dot.
const ANNOTATIONS: &str = "0.6.0";

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
    (ANNOTATIONS, |spec| has_annotations(spec) || has_dotted_class(spec)),
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

    /// Sets the version to the lowest that the content needs. Annotations are a help and no need: where nothing else calls
    /// for a version that has them, they are left out.
    pub(crate) fn settle_version(&mut self) {
        let is_needed = |(version, is_needed): &&(&str, IsNeeded)| *version != ANNOTATIONS && is_needed(self);
        let needed = NEEDS.iter().find(is_needed).map_or(EARLIEST, |(version, _)| version);
        if rank(needed) < rank(ANNOTATIONS) {
            self.clear_annotations();
        }
        self.cdi_version = self.required_version().to_owned();
    }

    /// Raises the version to what the content needs, if it is lower.
    pub fn raise_version(&mut self) {
        let needed = self.required_version();
        if rank(&self.cdi_version) < rank(needed) {
            self.cdi_version = needed.to_owned();
        }
    }

    fn clear_annotations(&mut self) {
        self.annotations.clear();
        self.devices.iter_mut().for_each(|device| device.annotations.clear());
    }

    /// Leaves out what an engine of an older version cannot read and containers can do without: supplementary groups
    /// before 0.7.0, annotations before 0.6.0, devices named by a digit before 0.5.0.
    ///
    /// Fails when the spec still needs more than `version`, or when there is no such version.
    pub fn limit_version(&mut self, version: &str) -> Result<(), Error> {
        let limit = rank(version).ok_or_else(|| Error::UnknownVersion(version.to_owned()))?;
        if Some(limit) < rank("0.7.0") {
            self.container_edits.additional_gids.clear();
            self.devices
                .iter_mut()
                .for_each(|device| device.container_edits.additional_gids.clear());
        }
        if Some(limit) < rank(ANNOTATIONS) {
            self.clear_annotations();
        }
        if Some(limit) < rank("0.5.0") {
            self.devices
                .retain(|device| device.name.starts_with(|first: char| first.is_ascii_alphabetic()));
        }
        let needed = self.required_version();
        if rank(needed) > Some(limit) {
            return Err(Error::NeedsVersion {
                needed,
                limit: version.to_owned(),
            });
        }
        self.cdi_version = needed.to_owned();
        Ok(())
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

    #[test]
    fn an_older_engine_gets_what_it_can_read() {
        let edits = serde_json::json!({ "additionalGids": [44] });
        let text = serde_json::json!({
            "cdiVersion": "0.7.0", "kind": "nvidia.com/gpu", "containerEdits": { "env": ["A=b"] },
            "devices": [{ "name": "0", "containerEdits": edits }, { "name": "all", "containerEdits": edits }],
        });
        let spec: Spec = serde_json::from_value(text).unwrap();
        let limited = |version: &str| {
            let mut spec = spec.clone();
            spec.limit_version(version)
                .map(|()| (spec.cdi_version, spec.devices.len()))
        };
        assert_eq!(limited("1.0.0").unwrap(), ("0.7.0".to_owned(), 2));
        assert_eq!(limited("0.5.0").unwrap(), ("0.5.0".to_owned(), 2));
        assert_eq!(limited("0.4.0").unwrap(), ("0.3.0".to_owned(), 1));
        assert!(matches!(limited("0.9.9"), Err(Error::UnknownVersion(_))));
        let mut moved = spec.clone();
        moved.devices[1].container_edits = serde_json::from_value(serde_json::json!({
            "deviceNodes": [{ "path": "/dev/nvidia0", "hostPath": "/driver/dev/nvidia0" }],
        }))
        .unwrap();
        assert!(matches!(
            moved.limit_version("0.4.0"),
            Err(Error::NeedsVersion { needed: "0.5.0", .. })
        ));
    }
}
