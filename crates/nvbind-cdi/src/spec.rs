//! A CDI spec file (Container Device Interface, SPEC.md).

use crate::Edits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One CDI spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Version of the specification that the content needs.
    pub cdi_version: String,
    /// `vendor/class`, as `nvidia.com/gpu`.
    pub kind: String,
    /// Annotations (CDI 0.6.0).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The devices by name.
    pub devices: Vec<Device>,
    /// Edits that every device of the spec brings along.
    #[serde(default, skip_serializing_if = "Edits::is_empty")]
    pub container_edits: Edits,
}

/// One device of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Name after the `=` of a qualified name.
    pub name: String,
    /// Annotations (CDI 0.6.0).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What the device needs.
    pub container_edits: Edits,
}
