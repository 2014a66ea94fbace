//! What a container needs for its devices (`containerEdits` of the CDI specification, SPEC.md section "OCI Edits").

use crate::mount_options::{self, MountOptions};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Changes to a container: the sum of what its devices need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edits {
    /// Environment entries, `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Device nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_nodes: Vec<DeviceNode>,
    /// Network devices moved into the container (CDI 1.1.0).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net_devices: Vec<NetDevice>,
    /// OCI hooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Bind mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Cache and memory bandwidth allocation (CDI 0.7.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// Supplementary groups (CDI 0.7.0).
    #[serde(default, rename = "additionalGids", skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// A device node to make in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// Path in the container.
    pub path: PathBuf,
    /// Path on the host when it differs (CDI 0.5.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<PathBuf>,
    /// `c` or `b`; taken from the host node when absent.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Major number; taken from the host node when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    /// Minor number; taken from the host node when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    /// Permission bits (decimal in JSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Cgroup access: some of `r`, `w`, `m`; `rw` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
    /// Owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// A network device of the host that becomes the container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetDevice {
    /// Interface name on the host.
    pub host_interface_name: String,
    /// Interface name in the container.
    pub name: String,
}

/// Intel Resource Director Technology: a class of service for the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntelRdt {
    /// Name of the class of service.
    #[serde(default, rename = "closID", skip_serializing_if = "Option::is_none")]
    pub clos_id: Option<String>,
    /// L3 cache schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// Memory bandwidth schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// Schemata lines (CDI 1.1.0).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// Whether a monitoring group is made (CDI 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_monitoring: Option<bool>,
    /// Cache monitoring (until CDI 1.0.0).
    #[serde(default, rename = "enableCMT", skip_serializing_if = "Option::is_none")]
    pub enable_cmt: Option<bool>,
    /// Bandwidth monitoring (until CDI 1.0.0).
    #[serde(default, rename = "enableMBM", skip_serializing_if = "Option::is_none")]
    pub enable_mbm: Option<bool>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// Source on the host.
    pub host_path: PathBuf,
    /// Target in the container.
    pub container_path: PathBuf,
    /// Mount options, as `ro`, `nosuid`, `rbind`.
    #[serde(
        default,
        skip_serializing_if = "mount_options::is_empty",
        deserialize_with = "mount_options::read"
    )]
    pub options: MountOptions,
    /// File system type (CDI 0.4.0).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// An OCI hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// `createContainer`, `createRuntime`, `startContainer`, `prestart`, `poststart` or `poststop`.
    pub hook_name: String,
    /// Absolute path of the program.
    pub path: PathBuf,
    /// Arguments, the program's own name first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment. Never empty in a spec of ours: an absent list lets a hook inherit the image's variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds after which the hook is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

impl Edits {
    /// Adds the edits of another device: entries that are already there are not repeated.
    pub fn merge(&mut self, other: Edits) {
        if self.is_empty() {
            *self = other;
            return;
        }
        extend_new(&mut self.env, other.env);
        // By the path's text first, which differs mostly: whole entries compare slowly, and there can be hundreds.
        extend_with(&mut self.device_nodes, other.device_nodes, |a, b| {
            a.path.as_os_str() == b.path.as_os_str() && a == b
        });
        extend_new(&mut self.net_devices, other.net_devices);
        extend_new(&mut self.hooks, other.hooks);
        extend_with(&mut self.mounts, other.mounts, |a, b| {
            a.container_path.as_os_str() == b.container_path.as_os_str() && a == b
        });
        self.intel_rdt = other.intel_rdt.or_else(|| self.intel_rdt.take());
        extend_new(&mut self.additional_gids, other.additional_gids);
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn extend_new<T: PartialEq>(list: &mut Vec<T>, new: Vec<T>) {
    extend_with(list, new, T::eq);
}

fn extend_with<T>(list: &mut Vec<T>, new: Vec<T>, is_same: impl Fn(&T, &T) -> bool) {
    for item in new {
        if !list.iter().any(|known| is_same(known, &item)) {
            list.push(item);
        }
    }
}
