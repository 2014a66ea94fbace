//! The OCI `config.json` of a workload: a pure function from what is wanted to what the container runtime reads.

mod defaults;
mod seccomp;
#[cfg(test)]
mod tests;

use defaults::DefaultMount;
use nvbind_workload::{Network, Volume, Workload};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What [`build`] needs to know beside the workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Root file system on the host.
    pub rootfs: PathBuf,
    /// Cgroup path below each hierarchy's root.
    pub cgroup: String,
    /// Who the command runs as.
    pub user: User,
    /// Limit of open files (`RLIMIT_NOFILE`, soft and hard).
    pub open_files: u64,
    /// Whether the host has the unified cgroup hierarchy only (v2): the container then gets a cgroup namespace.
    pub unified_cgroups: bool,
    /// User ids that there are when nvbind is an ordinary user's: there are then no cgroups, and no devices to make.
    pub rootless: Option<u32>,
    /// Name resolution files of the host that a container on the host's network shares (`/etc/resolv.conf`, `/etc/hosts`).
    pub resolver_files: Vec<PathBuf>,
}

/// Who a command runs as, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The `config.json` of a container without any device edits.
pub fn build(workload: &Workload, place: &Place) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": place.rootfs, "readonly": workload.read_only },
        "hostname": hostname(workload),
        "process": process(workload, place),
        "mounts": mounts(workload, place),
        "linux": linux(workload, place),
    })
}

/// The kernel takes 64 bytes.
fn hostname(workload: &Workload) -> &str {
    let name = workload.hostname.as_deref().unwrap_or(&workload.name);
    let end = (0..=name.len().min(64))
        .rev()
        .find(|end| name.is_char_boundary(*end))
        .unwrap_or(0);
    &name[..end]
}

fn process(workload: &Workload, place: &Place) -> Value {
    let capabilities = &defaults::CAPABILITIES;
    // A user other than root holds no capability; the bounding set is what a file capability may give back.
    let held: &[&str] = if place.user.uid == 0 { capabilities } else { &[] };
    json!({
        "terminal": workload.tty,
        "user": { "uid": place.user.uid, "gid": place.user.gid, "additionalGids": place.user.groups },
        "args": workload.command,
        "env": environment(workload),
        "cwd": workload.workdir.as_deref().unwrap_or(Path::new("/")),
        "capabilities": { "bounding": capabilities, "effective": held, "permitted": held, "inheritable": [], "ambient": [] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": place.open_files, "hard": place.open_files }],
        "noNewPrivileges": true,
    })
}

/// The search path and terminal type, then the workload's own entries; the last entry of a name wins.
fn environment(workload: &Workload) -> Vec<String> {
    let mut entries = vec![("PATH", defaults::PATH)];
    if workload.tty {
        entries.push(("TERM", "xterm"));
    }
    for (name, value) in &workload.env {
        entries.retain(|(known, _)| known != name);
        entries.push((name, value));
    }
    entries.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn mounts(workload: &Workload, place: &Place) -> Vec<Value> {
    let shares_network = workload.network == Network::Host;
    let cgroup = Some(&defaults::CGROUP_MOUNT).filter(|_| place.unified_cgroups);
    let defaults = defaults::MOUNTS
        .iter()
        .chain(cgroup)
        .map(|mount| default_mount(mount, shares_network, place.rootless));
    let resolver = place
        .resolver_files
        .iter()
        .filter(|_| shares_network)
        .map(|file| bind(file, file, true));
    let mut volumes: Vec<&Volume> = workload.volumes.iter().collect();
    // A volume inside another volume's target must be mounted after it.
    volumes.sort_by_key(|volume| volume.target.components().count());
    let volumes = volumes
        .into_iter()
        .map(|volume| bind(&volume.source, &volume.target, volume.read_only));
    defaults.chain(resolver).chain(volumes).collect()
}

fn default_mount(mount: &DefaultMount, shares_network: bool, rootless: Option<u32>) -> Value {
    // A new sysfs shows a network namespace, and only that namespace's root may mount it.
    if mount.kind == "sysfs" && shares_network && rootless.is_some() {
        let options = ["rbind", "rprivate", "nosuid", "noexec", "nodev", "rro"];
        return json!({ "destination": mount.target, "type": "bind", "source": mount.target, "options": options });
    }
    let is_mapped = |option: &&&str| match option.strip_prefix("gid=").and_then(|gid| gid.parse::<u32>().ok()) {
        Some(gid) => rootless.is_none_or(|ids| gid < ids),
        None => true,
    };
    let options: Vec<&&str> = mount.options.iter().filter(is_mapped).collect();
    json!({ "destination": mount.target, "type": mount.kind, "source": mount.source, "options": options })
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Value {
    // Of file systems below the volume, too.
    let access = if read_only { "rro" } else { "rw" };
    json!({ "destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate", access] })
}

fn linux(workload: &Workload, place: &Place) -> Value {
    let mut linux = json!({
        "cgroupsPath": place.cgroup,
        "namespaces": namespaces(workload, place),
        "resources": resources(workload),
        "seccomp": seccomp::profile(),
        "maskedPaths": defaults::MASKED_PATHS,
        "readonlyPaths": defaults::READ_ONLY_PATHS,
    });
    if let (Some(_), Some(members)) = (place.rootless, linux.as_object_mut()) {
        members.shift_remove("resources");
    }
    linux
}

fn namespaces(workload: &Workload, place: &Place) -> Vec<Value> {
    let mut kinds = vec!["pid", "ipc", "uts", "mount"];
    // Without root, nvbind itself goes into one first.
    if workload.network == Network::None && place.rootless.is_none() {
        kinds.push("network");
    }
    if place.unified_cgroups {
        kinds.push("cgroup");
    }
    kinds.into_iter().map(|kind| json!({ "type": kind })).collect()
}

fn resources(workload: &Workload) -> Value {
    let mut resources = Map::new();
    resources.insert("devices".to_owned(), defaults::device_rules());
    if let Some(bytes) = workload.memory_bytes {
        // Memory and swap together: a limit that swap can get around is none.
        resources.insert("memory".to_owned(), json!({ "limit": bytes, "swap": bytes }));
    }
    if let Some(cpus) = workload.cpus {
        resources.insert(
            "cpu".to_owned(),
            json!({ "quota": cpu_quota(cpus), "period": defaults::CPU_PERIOD_US }),
        );
    }
    Value::Object(resources)
}

/// Microseconds of CPU time per period; the kernel takes no less than 1 ms.
#[allow(clippy::cast_possible_truncation)] // a float beyond i64 saturates, and the kernel then refuses it
fn cpu_quota(cpus: f64) -> i64 {
    ((cpus * defaults::CPU_PERIOD_US as f64).round() as i64).max(1000)
}
