//! What every container gets: the values of Docker's default container (moby `oci/defaults.go`, `oci/caps/defaults.go`)
//! where nothing else is said.

use serde_json::{Value, json};

/// Search path of a container that does not say otherwise.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Length of a CPU accounting period in microseconds (the kernel's own default).
pub(super) const CPU_PERIOD_US: u32 = 100_000;

/// Capabilities of root in a container.
pub(super) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Paths that a container cannot read.
pub(super) const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that a container cannot write.
pub(super) const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A mount of every container.
pub(super) struct DefaultMount {
    pub(super) target: &'static str,
    pub(super) kind: &'static str,
    pub(super) source: &'static str,
    pub(super) options: &'static [&'static str],
}

/// The mounts of every container, in order.
pub(super) const MOUNTS: [DefaultMount; 6] = [
    DefaultMount {
        target: "/proc",
        kind: "proc",
        source: "proc",
        options: &["nosuid", "noexec", "nodev"],
    },
    DefaultMount {
        target: "/dev",
        kind: "tmpfs",
        source: "tmpfs",
        options: &["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    DefaultMount {
        target: "/dev/pts",
        kind: "devpts",
        source: "devpts",
        options: &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    DefaultMount {
        target: "/sys",
        kind: "sysfs",
        source: "sysfs",
        options: &["nosuid", "noexec", "nodev", "ro"],
    },
    DefaultMount {
        target: "/dev/mqueue",
        kind: "mqueue",
        source: "mqueue",
        options: &["nosuid", "noexec", "nodev"],
    },
    // No size: the kernel's own bound (half of memory, charged to the container's limit). Docker's 64 MiB break the
    // data loaders of training frameworks.
    DefaultMount {
        target: "/dev/shm",
        kind: "tmpfs",
        source: "shm",
        options: &["nosuid", "noexec", "nodev", "mode=1777"],
    },
];

/// The container's own cgroup, on hosts with the unified hierarchy. On the older ones there is no such mount: `libcontainer`
/// 0.7 makes it writable whatever its options say, and a container could then lift its own limits.
pub(super) const CGROUP_MOUNT: DefaultMount = DefaultMount {
    target: "/sys/fs/cgroup",
    kind: "cgroup",
    source: "cgroup",
    options: &["ro", "nosuid", "noexec", "nodev", "relatime"],
};

/// Device nodes that may be opened (type, major, minor; `None` is any).
const OPEN_DEVICES: [(&str, u32, Option<u32>); 9] = [
    ("c", 1, Some(3)), // null
    ("c", 1, Some(5)), // zero
    ("c", 1, Some(7)), // full
    ("c", 1, Some(8)), // random
    ("c", 1, Some(9)), // urandom
    ("c", 5, Some(0)), // tty
    ("c", 5, Some(1)), // console
    ("c", 5, Some(2)), // ptmx
    ("c", 136, None),  // pts
];

/// The device cgroup: nothing, but the making of nodes and [`OPEN_DEVICES`].
pub(super) fn device_rules() -> Value {
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    rules.extend(["c", "b"].map(|kind| json!({ "allow": true, "type": kind, "access": "m" })));
    rules.extend(OPEN_DEVICES.iter().map(|(kind, major, minor)| match minor {
        Some(minor) => json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm" }),
        None => json!({ "allow": true, "type": kind, "major": major, "access": "rwm" }),
    }));
    Value::Array(rules)
}
