//! Containers of an ordinary user: nvbind makes a user namespace in which it is root, and goes on as root does.
//!
//! The calling process goes there itself, so that everything that it starts and all files that it makes are on the same side.
//! What root has and this root has not: cgroups that are not delegated, device nodes of its own, and the other users.

use crate::image::overlay;
use crate::native::{Error, cgroup};
use nix::sched::{CloneFlags, unshare};
use nvbind_cdi::{DeviceNode, Edits, Mount};
use rustix::mount::{MountFlags, mount};
use rustix::process::{getgid, getuid};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The setuid programs that map more ids than the user's own (shadow; subuid(5)), and where ranges are written down.
const MAPPERS: [(&str, &str); 2] = [("newuidmap", "/etc/subuid"), ("newgidmap", "/etc/subgid")];
/// Where they are looked for: not on a `PATH` that others may have set.
const MAPPER_DIRS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];
/// Waits until the namespace is there, then maps. Arguments: both programs, each with its own, separated by `--`.
const MAP: &str = r#"read -r go || exit 0
while [ $# -gt 0 ]; do
    line=; while [ $# -gt 0 ] && [ "$1" != -- ]; do line="$line $1"; shift; done
    [ $# -gt 0 ] && shift
    $line || exit 1
done"#;
/// Kernel settings that keep ordinary users from making user namespaces: the file, the value that does, what to do.
const SWITCHES: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "ask the administrator for 'sysctl -w kernel.unprivileged_userns_clone=1'",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "ask the administrator for 'sysctl -w user.max_user_namespaces=10000'",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "ask the administrator for an AppArmor profile that lets nvbind, or for 'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0'",
    ),
];

/// How a device node is bound.
const NODE_OPTIONS: [&str; 4] = ["nosuid", "noexec", "rbind", "rprivate"];

/// What a container of an ordinary user can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rootless {
    /// User ids that containers have; 1 is the user's own alone, as root.
    pub ids: u32,
}

/// Makes the calling process, which must have one thread, root of a user namespace. Root needs none, and once it is there
/// nothing more is done.
pub(super) fn enter() -> Result<(), Error> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => make(),
    }
}

/// Makes the calling process, which must have one thread, able to change what containers and images of an ordinary user
/// consist of, for as long as it runs; root is able as it is. Other engines are not to be asked from there on.
pub fn own_files() -> Result<(), Error> {
    enter()
}

/// What containers can have where nvbind is root of a user namespace only; `None` where it is root of the host.
pub(super) fn current() -> Option<Rootless> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    overlay::in_user_namespace().then(|| Rootless { ids: count(&map) })
}

/// Edits as a user namespace can carry them out: it cannot make device nodes, so the host's are bound.
pub(super) fn edits(edits: &Edits, rootless: Rootless) -> Edits {
    let mut edits = edits.clone();
    let bound = |node: &DeviceNode| Mount {
        host_path: node.host_path.clone().unwrap_or_else(|| node.path.clone()),
        container_path: node.path.clone(),
        options: NODE_OPTIONS.map(Into::into).to_vec().into(),
        kind: Some("bind".to_owned()),
    };
    let nodes: Vec<Mount> = edits.device_nodes.iter().map(bound).collect();
    edits.device_nodes.clear();
    edits.mounts.splice(0..0, nodes);
    // The user's own groups stay; others cannot be had.
    edits
        .additional_gids
        .retain(|gid| rootless.ids > 1 && *gid < rootless.ids);
    edits
}

fn make() -> Result<(), Error> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let mappers = Mappers::start(uid, gid);
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| refused(error.into()))?;
    // Without the programs, or where they fail, there is the user's own id.
    if !mappers.is_some_and(Mappers::finish) {
        map_own(uid, gid).map_err(refused)?;
    }
    overlay::own_mounts().map_err(refused)?;
    hide_cgroups_v1().map_err(refused)
}

/// One id each, which the kernel lets everyone map.
fn map_own(uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1\n"))
}

/// On a host with cgroups of version 1 `libcontainer` would insist on them; no user may use them. Version 2 it goes without.
fn hide_cgroups_v1() -> io::Result<()> {
    if cgroup::unified() || !Path::new(cgroup::ROOT).exists() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    Ok(mount("cgroup2", cgroup::ROOT, "cgroup2", MountFlags::empty(), None)?)
}

fn refused(source: io::Error) -> Error {
    let setting = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let switch = SWITCHES.iter().find(|(path, value, _)| setting(path).trim() == *value);
    let remedy = switch.map_or(
        "run nvbind with sudo, or use --runtime podman or docker".to_owned(),
        |(path, value, remedy)| format!("{path} is {value}: {remedy}"),
    );
    Error::UserNamespace { source, remedy }
}

/// A child that stayed outside, from where alone more ids can be mapped.
struct Mappers {
    child: Child,
}

impl Mappers {
    /// Starts it, where there are the programs and ranges for this user.
    fn start(uid: u32, gid: u32) -> Option<Self> {
        let name = user_name(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid);
        let mut arguments = Vec::new();
        for ((program, file), own) in MAPPERS.into_iter().zip([uid, gid]) {
            let ranges = ranges(&fs::read_to_string(file).unwrap_or_default(), name.as_deref(), uid);
            if ranges.is_empty() {
                return None;
            }
            arguments.push(find(program)?.display().to_string());
            arguments.push(std::process::id().to_string());
            arguments.extend(map_arguments(own, &ranges));
            arguments.push("--".to_owned());
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", MAP, "sh"]).args(arguments);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().ok().map(|child| Self { child })
    }

    /// Lets it map; whether it did.
    fn finish(mut self) -> bool {
        let go = self.child.stdin.take().map(|mut stdin| stdin.write_all(b"go\n"));
        let ended = self.child.wait().is_ok_and(|status| status.success());
        ended && go.is_some_and(|written| written.is_ok()) && current().is_some_and(|mapped| mapped.ids > 1)
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let mut candidates = MAPPER_DIRS.iter().map(|dir| Path::new(dir).join(program));
    candidates.find(|path| path.is_file())
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(entry)
}

/// The ranges of a user in subuid(5) or subgid(5): `name:first:count`, where the name may be the number.
fn ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let entry = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (Some(owner) == name || owner == number).then_some(range)
    };
    text.lines().filter_map(entry).filter(|(_, count)| *count > 0).collect()
}

/// Root is the user, and the ranges follow.
fn map_arguments(own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut words = vec![0, own, 1];
    let mut next = 1u32;
    for (first, count) in ranges {
        words.extend([next, *first, *count]);
        next = next.saturating_add(*count);
    }
    words.iter().map(u32::to_string).collect()
}

/// How many ids a map (user_namespaces(7)) has, from 0 on without a gap.
fn count(map: &str) -> u32 {
    let range = |line: &str| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Some((*numbers.first()?, *numbers.get(2)?))
    };
    let mut ranges: Vec<(u32, u32)> = map.lines().filter_map(range).collect();
    ranges.sort_unstable();
    let join = |end: u32, (first, length): &(u32, u32)| match *first == end {
        true => end.saturating_add(*length),
        false => end,
    };
    ranges.iter().fold(0, join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "root:1:2\nada:100000:65536\n# ada:7:7\n1000:300000:10\nada:x:y\nada:9:0\n";
        assert_eq!(ranges(text, Some("ada"), 1000), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(ranges(text, None, 1000), [(300_000, 10)]);
        assert!(ranges(text, Some("eve"), 1001).is_empty());
        assert_eq!(
            user_name("root:x:0:0::/:/bin/sh\nada:x:1000:1::/:", 1000).as_deref(),
            Some("ada")
        );
    }

    #[test]
    fn root_is_the_user_and_the_ranges_follow() {
        assert_eq!(
            map_arguments(1000, &[(100_000, 65536), (300_000, 10)]).join(" "),
            "0 1000 1 1 100000 65536 65537 300000 10"
        );
    }

    #[test]
    fn ids_are_counted_up_to_the_first_gap() {
        assert_eq!(count("0 1000 1\n1 100000 65536\n"), 65537);
        assert_eq!(count("         0       1000          1\n"), 1);
        assert_eq!(count("0 0 4294967295\n"), u32::MAX);
        assert_eq!(count("5 1000 1\n"), 0);
        assert_eq!(count(""), 0);
    }
}
