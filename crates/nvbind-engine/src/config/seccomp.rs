//! The system calls that a container may not make: the ones that Docker's default profile (moby `profiles/seccomp`) refuses
//! by name to a container without added capabilities, and sockets to the hypervisor. Written as a deny list, because the
//! filter is compiled on every start; calls that neither list knows are allowed here and refused there.

use serde_json::{Value, json};

/// `EPERM`.
const NOT_PERMITTED: u32 = 1;
/// `ENOSYS`: the C library then falls back to the older call.
const NOT_THERE: u32 = 38;

/// Calls that are refused whatever their arguments.
const DENIED: [&str; 55] = [
    // the kernel itself: other kernels, modules, programs in it
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "query_module",
    "get_kernel_syms",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "reboot",
    "syslog",
    "_sysctl",
    "uselib",
    "nfsservctl",
    // mounts and namespaces
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "move_mount",
    "mount_setattr",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "setns",
    "unshare",
    "sysfs",
    "ustat",
    "quotactl",
    "quotactl_fd",
    "swapon",
    "swapoff",
    // the kernel's keyring is not namespaced
    "add_key",
    "request_key",
    "keyctl",
    // other processes and files beyond the root
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "lookup_dcookie",
    "open_by_handle_at",
    "fanotify_init",
    "acct",
    // hardware, clocks, names of the host
    "ioperm",
    "iopl",
    "vm86",
    "vm86old",
    "vhangup",
    "settimeofday",
    "stime",
    "clock_settime",
    "clock_settime64",
    "setdomainname",
];

/// Asynchronous calls that go around the filter.
const UNFILTERED: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// `CLONE_NEW*` of `clone(2)`: cgroup, uts, ipc, user, pid, net, mount.
const CLONE_NAMESPACES: [u64; 7] = [
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
    0x0002_0000,
];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [&str; 2] = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];

/// `AF_VSOCK`: sockets to the hypervisor, which no network namespace confines.
const VSOCK: u64 = 40;

/// `linux.seccomp` of every container.
pub(super) fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ARCHITECTURES,
        "syscalls": rules(),
    })
}

fn rules() -> Vec<Value> {
    let names: Vec<&str> = DENIED
        .iter()
        .chain(&UNFILTERED)
        .copied()
        .chain(["sethostname"])
        .collect();
    let mut rules = vec![
        json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": NOT_PERMITTED }),
        // Its flags lie in memory, where a filter cannot look.
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": NOT_THERE }),
        json!({
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": NOT_PERMITTED,
            "args": [{ "index": 0, "value": VSOCK, "op": "SCMP_CMP_EQ" }],
        }),
    ];
    rules.extend(CLONE_NAMESPACES.map(|flag| {
        json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": NOT_PERMITTED,
            "args": [{ "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ" }],
        })
    }));
    rules
}
