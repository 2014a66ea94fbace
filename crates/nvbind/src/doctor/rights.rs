//! What keeps containers from the GPU that no driver knows of: SELinux, user namespaces, the caller's own rights.

use super::engine::{EngineKind, find};
use super::{Finding, Site};
use rustix::process::geteuid;

/// The SELinux boolean that lets confined containers use what `/dev/nvidia*` is labelled as (container-selinux).
const BOOLEAN: &str = "fs/selinux/booleans/container_use_xserver_devices";
/// Kernel settings that forbid user namespaces: file below `/proc/sys`, the value that does, how it is allowed.
const USER_NAMESPACES: [(&str, &str, &str); 3] = [
    (
        "user/max_user_namespaces",
        "0",
        "sysctl -w user.max_user_namespaces=15000",
    ),
    (
        "kernel/unprivileged_userns_clone",
        "0",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for the engine",
    ),
];

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let mut findings: Vec<Finding> = selinux(site).into_iter().collect();
    findings.extend(user_namespaces(site));
    if !geteuid().is_root() {
        findings.extend(own_rights(site));
        findings.extend(identities(site));
    }
    findings
}

fn selinux(site: &Site) -> Option<Finding> {
    let read = |path: &str| std::fs::read_to_string(site.roots.sys.join(path)).ok();
    let is_enforcing = read("fs/selinux/enforce")?.trim() == "1";
    // "current pending"
    let is_allowed = read(BOOLEAN).is_some_and(|text| text.starts_with('1'));
    if !is_enforcing || is_allowed {
        return None;
    }
    let message = "SELinux keeps confined containers from /dev/nvidia* ('Insufficient Permissions')";
    let confines = |kind| matches!(kind, EngineKind::Podman | EngineKind::Crio);
    // docker confines containers only when it is told to.
    let finding = match site.engines.iter().any(|engine| confines(engine.kind)) {
        true => Finding::trouble("rights.selinux", message),
        false => Finding::advice("rights.selinux", message),
    };
    Some(finding.command("setsebool -P container_use_xserver_devices 1"))
}

fn user_namespaces(site: &Site) -> Vec<Finding> {
    let is_set = |(file, value, _): &&(&str, &str, &str)| {
        site.text(&format!("/proc/sys/{file}"))
            .is_some_and(|text| text.trim() == *value)
    };
    let finding = |(file, value, command): &(&str, &str, &str)| {
        let message = format!(
            "{} is {value}: ordinary users cannot start rootless containers",
            file.replace('/', ".")
        );
        Finding::advice("rights.namespaces", message).command(*command)
    };
    USER_NAMESPACES.iter().filter(is_set).map(finding).collect()
}

/// An ordinary user reaches the GPU only through nodes that are open to them.
fn own_rights(site: &Site) -> Option<Finding> {
    let is_closed = |node: &&nvbind_gpu::KernelNode| {
        let path = site.roots.dev_path(&node.path);
        let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
        node.kind != nvbind_gpu::NodeKind::Capability && path.exists() && rustix::fs::access(&path, access).is_err()
    };
    let closed = site.nodes.iter().find(is_closed)?;
    let message = format!(
        "you may not open {}: rootless containers cannot use the GPU",
        closed.path.display()
    );
    Some(
        Finding::trouble("rights.nodes", message)
            .command("usermod -aG video $USER (the group of the node), then log in again"),
    )
}

/// Rootless engines map a range of users, which has to be given.
fn identities(site: &Site) -> Vec<Finding> {
    let uid = geteuid().as_raw().to_string();
    let users = site.text("/etc/passwd").unwrap_or_default();
    let name = users
        .lines()
        .find(|line| line.split(':').nth(2) == Some(uid.as_str()))
        .and_then(|line| line.split(':').next())
        .unwrap_or(uid.as_str());
    let mut findings = Vec::new();
    for file in ["/etc/subuid", "/etc/subgid"] {
        if !has_range(&site.text(file).unwrap_or_default(), name, &uid) {
            let message = format!("{file} has no range for {name}: rootless containers have one user only");
            findings.push(Finding::advice("rights.ranges", message).command(format!(
                "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
            )));
        }
    }
    if find(&site.host_root, "newuidmap").is_none() {
        let message = "newuidmap is not installed: rootless engines cannot map users";
        findings.push(Finding::advice("rights.ranges", message).command("apt install uidmap"));
    }
    findings
}

/// Lines as `name:100000:65536`.
fn has_range(text: &str, name: &str, uid: &str) -> bool {
    text.lines().any(|line| {
        let mut parts = line.split(':');
        let owner = parts.next().unwrap_or_default();
        (owner == name || owner == uid)
            && parts
                .nth(1)
                .and_then(|count| count.parse::<u32>().ok())
                .is_some_and(|count| count > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::engine::Engine;
    use super::super::testing::{Fake, levels, only};
    use super::*;

    #[test]
    fn selinux_is_asked_for_its_boolean_and_never_turned_off() {
        let fake = Fake::with_driver("535.1.1");
        assert!(levels(&check(&fake.site()), "rights.selinux").is_empty());
        fake.file("sys/fs/selinux/enforce", "1");
        fake.file("sys/fs/selinux/booleans/container_use_xserver_devices", "0 0");
        let finding = only(check(&fake.site()), "rights.selinux");
        assert_eq!(finding.level, Level::Advice);
        assert_eq!(
            finding.command.as_deref(),
            Some("setsebool -P container_use_xserver_devices 1")
        );
        let mut site = fake.site();
        site.engines = vec![Engine {
            kind: EngineKind::Podman,
            version: None,
        }];
        assert_eq!(only(check(&site), "rights.selinux").level, Level::Trouble);
        fake.file("sys/fs/selinux/booleans/container_use_xserver_devices", "1 1");
        assert!(levels(&check(&fake.site()), "rights.selinux").is_empty());
        fake.file("sys/fs/selinux/enforce", "0");
        assert!(levels(&check(&fake.site()), "rights.selinux").is_empty());
    }

    #[test]
    fn user_namespaces_that_are_forbidden() {
        for (file, value, _) in USER_NAMESPACES {
            let fake = Fake::with_driver("535.1.1");
            fake.file(&format!("proc/sys/{file}"), &format!("{value}\n"));
            assert_eq!(only(check(&fake.site()), "rights.namespaces").level, Level::Advice);
            fake.file(&format!("proc/sys/{file}"), "7\n");
            assert!(levels(&check(&fake.site()), "rights.namespaces").is_empty());
        }
    }

    #[test]
    fn ranges_of_users() {
        let text = "root:0:0\nann:100000:65536\n1001:165536:65536\n";
        assert!(has_range(text, "ann", "1000") && has_range(text, "bob", "1001"));
        assert!(!has_range(text, "root", "0") && !has_range(text, "eve", "1002") && !has_range("", "ann", "1000"));
    }
}
