//! The rules of the CDI specification that a spec must keep, with the place where it does not.

use crate::name::{is_device, is_vendor_or_class, is_word};
use crate::version::{has_1_1_fields, rank};
use crate::{DeviceNode, Edits, Hook, IntelRdt, Mount, NetDevice, Spec};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Stages at which a hook can run.
const HOOK_NAMES: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// Device types: block, character, unbuffered character, pipe; empty means as on the host.
const NODE_TYPES: [&str; 5] = ["b", "c", "u", "p", ""];

/// Largest size of all annotations of one object together, in bytes (Kubernetes' limit, which CDI took over).
const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// Length of a Linux path, the limit of a class of service's name.
const PATH_MAX: usize = 4096;

/// A rule that a spec breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Invalid {
    /// Where, as `devices[3].containerEdits.mounts[0].hostPath`.
    pub place: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

type Checked = Result<(), Invalid>;

/// A rule about what lies at `place`, seen from whoever checks it: the way there is put before it only when it fails.
fn require(holds: bool, place: &str, problem: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    Err(Invalid {
        place: place.to_owned(),
        problem: problem(),
    })
}

impl Invalid {
    fn within(mut self, outer: &str) -> Self {
        let dot = if self.place.is_empty() { "" } else { "." };
        self.place = format!("{outer}{dot}{}", self.place);
        self
    }
}

impl Spec {
    /// Checks the spec by the rules of the CDI specification.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.validate_version()?;
        self.validate_kind()?;
        validate_annotations(&self.annotations)?;
        require(!self.devices.is_empty(), "devices", || {
            "is empty: a spec needs a device".into()
        })?;
        let mut names = HashSet::new();
        each(&self.devices, "devices", |device| {
            let name = &device.name;
            require(is_device(name), "name", || {
                format!("'{name}' is no device name: use letters, digits and - _ . : between letters or digits")
            })?;
            require(names.insert(name), "name", || format!("'{name}' is defined twice"))?;
            validate_annotations(&device.annotations)?;
            let edits = &device.container_edits;
            require(!edits.is_empty(), "containerEdits", || {
                format!("device '{name}' has no edits")
            })?;
            self.validate_edits(edits)
        })?;
        self.validate_edits(&self.container_edits)
    }

    fn validate_version(&self) -> Checked {
        let (version, needed) = (&self.cdi_version, self.required_version());
        let declared = rank(version);
        require(declared.is_some(), "cdiVersion", || {
            format!("'{version}' is no version of the CDI specification")
        })?;
        require(declared >= rank(needed), "cdiVersion", || {
            format!("{version} is too low: the content needs {needed}")
        })
    }

    fn validate_kind(&self) -> Checked {
        let kind = &self.kind;
        let Some((vendor, class)) = kind.split_once('/') else {
            return require(false, "kind", || format!("'{kind}' is not of the form vendor/class"));
        };
        let rule = "use letters, digits and - _ . from a letter to a letter or digit";
        require(is_vendor_or_class(vendor), "kind", || {
            format!("'{vendor}' is no vendor name: {rule}")
        })?;
        require(is_vendor_or_class(class), "kind", || {
            format!("'{class}' is no class name: {rule}")
        })
    }

    fn validate_edits(&self, edits: &Edits) -> Checked {
        let check = || {
            validate_env(&edits.env)?;
            each(&edits.device_nodes, "deviceNodes", validate_node)?;
            each(&edits.hooks, "hooks", validate_hook)?;
            each(&edits.mounts, "mounts", validate_mount)?;
            validate_net_devices(&edits.net_devices)?;
            edits.intel_rdt.as_ref().map_or(Ok(()), |rdt| self.validate_rdt(rdt))
        };
        check().map_err(|invalid: Invalid| invalid.within("containerEdits"))
    }

    fn validate_rdt(&self, rdt: &IntelRdt) -> Checked {
        let name = rdt.clos_id.as_deref().unwrap_or_default();
        let is_file_name = name.len() < PATH_MAX && name != "." && name != ".." && !name.contains(['/', '\n']);
        // "/" stands for the root class.
        require(name == "/" || is_file_name, "intelRdt.closID", || {
            format!("'{name}' is no file name")
        })?;
        let old_fields = rdt.enable_cmt.is_some() || rdt.enable_mbm.is_some();
        let is_1_1 = rank(&self.cdi_version) >= rank("1.1.0");
        require(!(is_1_1 && old_fields), "intelRdt", || {
            "enableCMT and enableMBM ended with CDI 1.0.0".into()
        })?;
        require(is_1_1 || !has_1_1_fields(rdt), "intelRdt", || {
            "schemata needs CDI 1.1.0".into()
        })
    }
}

fn each<'a, T>(list: &'a [T], field: &str, mut check: impl FnMut(&'a T) -> Checked) -> Checked {
    let mut numbered = list.iter().enumerate();
    numbered.try_for_each(|(number, item)| check(item).map_err(|invalid| invalid.within(&format!("{field}[{number}]"))))
}

fn validate_env(env: &[String]) -> Checked {
    each(env, "env", |entry| {
        let is_assignment = entry.find('=').is_some_and(|position| position > 0);
        require(is_assignment, "", || format!("'{entry}' is not NAME=value"))
    })
}

fn validate_node(node: &DeviceNode) -> Checked {
    require_path(&node.path, "path")?;
    let kind = node.kind.as_deref().unwrap_or_default();
    require(NODE_TYPES.contains(&kind), "type", || {
        format!("'{kind}' is none of b, c, u, p")
    })?;
    for (field, number) in [("major", node.major), ("minor", node.minor)] {
        // The device cgroup reads -1 as "any".
        require(number.unwrap_or(0) >= 0, field, || "is negative".into())?;
    }
    let access = node.permissions.as_deref().unwrap_or_default();
    let is_access = access == "none" || access.chars().all(|letter| "rwm".contains(letter));
    require(is_access, "permissions", || {
        format!("'{access}' is not some of r, w, m, or none")
    })
}

fn validate_mount(mount: &Mount) -> Checked {
    // No absolute path: the source of a mount with a type of its own can be a word, as `tmpfs`.
    require(!mount.host_path.as_os_str().is_empty(), "hostPath", || {
        "is empty".into()
    })?;
    require_path(&mount.container_path, "containerPath")
}

fn validate_hook(hook: &Hook) -> Checked {
    let name = hook.hook_name.as_str();
    require(HOOK_NAMES.contains(&name), "hookName", || {
        format!("'{name}' is none of {}", HOOK_NAMES.join(", "))
    })?;
    require_path(&hook.path, "path")?;
    require(hook.timeout.unwrap_or(0) >= 0, "timeout", || "is negative".into())?;
    validate_env(&hook.env)
}

fn validate_net_devices(devices: &[NetDevice]) -> Checked {
    let (mut on_host, mut in_container) = (HashSet::new(), HashSet::new());
    each(devices, "netDevices", |device| {
        let names = [
            ("hostInterfaceName", &device.host_interface_name, &mut on_host),
            ("name", &device.name, &mut in_container),
        ];
        for (field, name, seen) in names {
            require(!name.is_empty(), field, || "is empty".into())?;
            require(seen.insert(name), field, || format!("'{name}' is used twice"))?;
        }
        Ok(())
    })
}

/// Paths of nodes, targets and hooks are absolute: a relative one would mean whatever folder the engine is in.
fn require_path(path: &Path, field: &str) -> Checked {
    require(!path.as_os_str().is_empty(), field, || "is empty".into())?;
    // Unlike the first part of a path, its first byte is known at once.
    require(path.as_os_str().as_encoded_bytes().starts_with(b"/"), field, || {
        format!("'{}' is not an absolute path", path.display())
    })
}

fn validate_annotations(annotations: &BTreeMap<String, String>) -> Checked {
    for key in annotations.keys() {
        let (prefix, name) = key
            .split_once('/')
            .map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        let is_key = name.len() <= 63 && is_word(name, "-_.") && prefix.is_none_or(is_dns_subdomain);
        require(is_key, "annotations", || {
            format!("'{key}' is no annotation key: use [dns.name/]name")
        })?;
    }
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    require(bytes <= MAX_ANNOTATION_BYTES, "annotations", || {
        "are larger than 256 KiB together".into()
    })
}

fn is_dns_subdomain(name: &str) -> bool {
    let is_label = |label: &str| is_word(label, "-") && !label.contains(|c: char| c.is_ascii_uppercase());
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
