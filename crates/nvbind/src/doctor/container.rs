//! Do the containers that run still have their GPUs, and are they of this driver?

use super::site::below;
use super::{Finding, Site};
use rustix::fs::{FileType, major, minor, stat};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Libraries by whose names a container's driver version is known.
const VERSIONED: [&str; 2] = ["/libcuda.so.", "/libnvidia-ml.so."];
/// How engines name the cgroups of containers: before and behind the id, and what restarts one.
const ENGINES: [(&str, &str, &str); 7] = [
    ("docker-", ".scope", "docker restart"),
    ("libpod-", ".scope", "podman restart"),
    ("cri-containerd-", ".scope", "crictl stop"),
    ("crio-", ".scope", "crictl stop"),
    ("nvbind-", "", "nvbind stop"),
    ("libpod-", "", "podman restart"),
    ("", "", "docker restart"),
];

/// A container with NVIDIA device nodes.
#[derive(Debug)]
struct Container {
    pid: u32,
    /// Cgroup path of the device controller (v1) or of the one hierarchy (v2).
    cgroup: String,
    /// Whether `cgroup` is of the v1 device controller.
    is_v1: bool,
    /// Its nodes with their numbers.
    nodes: Vec<(PathBuf, u32, u32)>,
    /// Driver version of the libraries that are mounted in it.
    driver: Option<String>,
}

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let containers = containers(site);
    let mut findings: Vec<Finding> = containers
        .iter()
        .flat_map(|container| {
            [
                lost_rights(site, container),
                rights_at_risk(site, container),
                other_driver(site, container),
            ]
        })
        .flatten()
        .collect();
    if findings.is_empty() && !containers.is_empty() {
        findings.push(Finding::ok(
            "containers",
            format!("{} running container(s) have their GPUs", containers.len()),
        ));
    }
    findings
}

/// The first process of each mount namespace other than the host's that has NVIDIA nodes in its `/dev`.
fn containers(site: &Site) -> Vec<Container> {
    let proc = site.path("/proc");
    let mount_namespace = |pid: &Path| fs::read_link(pid.join("ns/mnt")).ok();
    let host = mount_namespace(&proc.join("1"));
    let entries = fs::read_dir(&proc).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let mut found = BTreeMap::new();
    for pid in pids {
        let folder = proc.join(pid.to_string());
        let Some(namespace) = mount_namespace(&folder).filter(|found| Some(found) != host.as_ref()) else {
            continue;
        };
        if let Some(container) = container(pid, &folder).filter(|_| !found.contains_key(&namespace)) {
            found.insert(namespace, container);
        }
    }
    let mut containers: Vec<Container> = found.into_values().collect();
    containers.sort_by_key(|container| container.pid);
    containers
}

fn container(pid: u32, folder: &Path) -> Option<Container> {
    let nodes = nodes(&folder.join("root/dev"));
    let mounts = fs::read_to_string(folder.join("mountinfo")).ok()?;
    // A service with its own mounts sees the host's nodes too, but none of them is mounted by an engine.
    if nodes.is_empty() || !is_of_engine(&mounts) {
        return None;
    }
    let (cgroup, is_v1) = device_cgroup(&fs::read_to_string(folder.join("cgroup")).ok()?)?;
    Some(Container {
        pid,
        cgroup,
        is_v1,
        nodes,
        driver: driver_of(&mounts),
    })
}

/// The driver's libraries are mounted one by one only into containers.
fn is_of_engine(mounts: &str) -> bool {
    driver_of(mounts).is_some()
}

fn nodes(dev: &Path) -> Vec<(PathBuf, u32, u32)> {
    let entries = fs::read_dir(dev).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut nodes: Vec<(PathBuf, u32, u32)> = names
        .filter(|name| name.starts_with("nvidia"))
        .filter_map(|name| {
            let found = stat(dev.join(&name)).ok()?;
            let is_node = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
            is_node.then(|| (Path::new("/dev").join(name), major(found.st_rdev), minor(found.st_rdev)))
        })
        .collect();
    nodes.sort();
    nodes
}

/// From `/proc/PID/cgroup`: `9:devices:/docker/1a2b` in v1 and hybrid layouts, `0::/system.slice/docker-1a2b.scope` in v2.
fn device_cgroup(text: &str) -> Option<(String, bool)> {
    let mut lines = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    });
    let v1 = lines
        .clone()
        .find(|(controllers, _)| controllers.split(',').any(|word| word == "devices"));
    match v1 {
        Some((_, path)) => Some((path.to_owned(), true)),
        None => lines
            .find(|(controllers, _)| controllers.is_empty())
            .map(|(_, path)| (path.to_owned(), false)),
    }
}

/// The driver version in the mount points of a `mountinfo`.
fn driver_of(mounts: &str) -> Option<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let version = |point: &str| {
        let suffix = VERSIONED.iter().find_map(|name| Some(point.rsplit_once(name)?.1))?;
        (suffix.contains('.') && suffix.starts_with(|c: char| c.is_ascii_digit())).then(|| suffix.to_owned())
    };
    points.filter_map(version).next()
}

/// The v1 device controller says what is allowed now: a manager that applied its own list again took the GPUs away.
fn lost_rights(site: &Site, container: &Container) -> Option<Finding> {
    if !container.is_v1 {
        return None;
    }
    let folder = below(&site.path("/sys/fs/cgroup/devices"), Path::new(&container.cgroup));
    let list = fs::read_to_string(folder.join("devices.list")).ok()?;
    let (node, ..) = container
        .nodes
        .iter()
        .find(|(_, major, minor)| !is_allowed(&list, *major, *minor))?;
    let message = format!(
        "{} has {} and may not open it any more ('Failed to initialize NVML: Unknown Error'): its device rules were applied anew without it",
        named(container),
        node.display()
    );
    Some(Finding::trouble("containers.devices", message).command(format!(
        "{}; start it with nvbind or by CDI, and it keeps them",
        restart(container)
    )))
}

/// Lines as `c 195:* rwm`, `a *:* rwm`.
fn is_allowed(list: &str, major: u32, minor: u32) -> bool {
    let fits = |word: &str, number: u32| word == "*" || word.parse() == Ok(number);
    list.lines().any(|line| {
        let mut words = line.split(' ');
        let (kind, numbers, access) = (words.next(), words.next(), words.next().unwrap_or_default());
        let is_match = numbers
            .and_then(|numbers| numbers.split_once(':'))
            .is_some_and(|(a, b)| fits(a, major) && fits(b, minor));
        matches!(kind, Some("a" | "c")) && is_match && access.contains('r')
    })
}

/// Where systemd made the container's scope, it applies its own list of devices at the next daemon-reload.
fn rights_at_risk(site: &Site, container: &Container) -> Option<Finding> {
    let scope = Path::new(&container.cgroup).file_name()?.to_str()?;
    if !scope.ends_with(".scope") {
        return None;
    }
    let unit = unit_text(&site.path("/run/systemd/transient"), scope)?;
    if !unit.contains("DevicePolicy=strict") && !unit.contains("DevicePolicy=closed") {
        return None;
    }
    let mut unknown = container.nodes.iter().filter(|(path, major, minor)| {
        let names = [
            path.display().to_string(),
            format!("/dev/char/{major}:{minor}"),
            format!("/dev/char/{major}:*"),
        ];
        !unit.contains("DeviceAllow=char-nvidia") && !names.iter().any(|name| has_word(&unit, name))
    });
    let (node, ..) = unknown.next()?;
    let message = format!(
        "{} has {}, and systemd does not know of it: the container loses it at the next systemctl daemon-reload",
        named(container),
        node.display()
    );
    Some(Finding::trouble("containers.reload", message).command(format!(
        "start it with nvbind-runtime or by CDI instead of a hook: {}",
        restart(container)
    )))
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || c == '=')
        .any(|other| other == word)
}

/// A transient unit and its drop-ins.
fn unit_text(folder: &Path, scope: &str) -> Option<String> {
    let mut text = fs::read_to_string(folder.join(scope)).ok()?;
    for entry in fs::read_dir(folder.join(format!("{scope}.d")))
        .into_iter()
        .flatten()
        .flatten()
    {
        text.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
    }
    Some(text)
}

/// A container keeps the libraries that it was started with; the kernel's module may be another by now.
fn other_driver(site: &Site, container: &Container) -> Option<Finding> {
    let module = site
        .kernel
        .driver
        .version
        .as_deref()
        .filter(|_| site.kernel.driver.kind.is_nvidia())?;
    let mounted = container.driver.as_deref().filter(|mounted| *mounted != module)?;
    let message = format!(
        "{} was started with driver {mounted}, the host has {module}: it must be restarted",
        named(container)
    );
    Some(Finding::trouble("containers.driver", message).command(restart(container)))
}

/// What a person knows it by.
fn named(container: &Container) -> String {
    match id(container) {
        Some((id, _)) => format!("container {id} (process {})", container.pid),
        None => format!("the container of process {}", container.pid),
    }
}

fn restart(container: &Container) -> String {
    match id(container) {
        Some((id, command)) => format!("{command} {id}"),
        None => format!("restart the container of process {}", container.pid),
    }
}

/// Its id, shortened as engines do, and the command that restarts it.
fn id(container: &Container) -> Option<(&str, &'static str)> {
    let name = container
        .cgroup
        .split('/')
        .rev()
        .find(|part| !part.is_empty() && *part != "container")?;
    let engine = |(before, behind, command): &(&str, &str, &'static str)| {
        let id = name.strip_prefix(before)?.strip_suffix(behind)?;
        let is_id = id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        is_id.then(|| (id.get(..12).unwrap_or(id), *command))
    };
    ENGINES.iter().find_map(engine)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::{Fake, levels};
    use super::*;

    const ID: &str = "4f0c1d2e3a4b5c6d7e8f90";

    fn some(cgroup: &str, is_v1: bool) -> Container {
        Container {
            pid: 77,
            cgroup: cgroup.to_owned(),
            is_v1,
            nodes: vec![("/dev/nvidia0".into(), 195, 0), ("/dev/nvidiactl".into(), 195, 255)],
            driver: Some("535.1.1".to_owned()),
        }
    }

    #[test]
    fn rules_of_the_device_controller() {
        let allowed = |list: &str| is_allowed(list, 195, 2);
        assert!(allowed("c 1:3 rwm\nc 195:2 rw\n") && allowed("a *:* rwm\n") && allowed("c 195:* rwm\n"));
        assert!(!allowed("c 195:3 rwm\n") && !allowed("b 195:2 rwm\n") && !allowed("c 195:2 m\n") && !allowed(""));
    }

    #[test]
    fn cgroups_and_versions_are_read_from_procfs() {
        assert_eq!(
            device_cgroup("10:cpu:/a\n9:devices:/docker/1a\n0::/\n"),
            Some(("/docker/1a".into(), true))
        );
        assert_eq!(
            device_cgroup("0::/system.slice/docker-1a.scope\n"),
            Some(("/system.slice/docker-1a.scope".into(), false))
        );
        let mount = |point: &str| format!("1 2 8:1 /usr/lib/x {point} ro - ext4 /dev/sda1 ro\n");
        assert_eq!(
            driver_of(&mount("/usr/lib/libcuda.so.535.1.1")).as_deref(),
            Some("535.1.1")
        );
        assert_eq!(driver_of(&mount("/usr/lib/libcuda.so.1")), None);
        assert_eq!(driver_of(&mount("/usr/lib/libfoo.so.535.1.1")), None);
    }

    #[test]
    fn engines_are_known_by_the_names_of_cgroups() {
        let command = |cgroup: &str| restart(&some(cgroup, true));
        assert_eq!(
            command(&format!("/docker/{ID}")),
            format!("docker restart {}", &ID[..12])
        );
        assert_eq!(
            command(&format!("/system.slice/docker-{ID}.scope")),
            format!("docker restart {}", &ID[..12])
        );
        assert_eq!(
            command(&format!("/machine.slice/libpod-{ID}.scope/container")),
            format!("podman restart {}", &ID[..12])
        );
        assert_eq!(command(&format!("/nvbind-{ID}")), format!("nvbind stop {}", &ID[..12]));
        assert_eq!(command("/user.slice"), "restart the container of process 77");
    }

    #[test]
    fn a_container_that_lost_its_rights() {
        let fake = Fake::with_driver("535.1.1");
        let cgroup = format!("/docker/{ID}");
        let list = format!("sys/fs/cgroup/devices{cgroup}/devices.list");
        fake.file(&list, "c 1:3 rwm\nc 195:* rwm\n");
        assert!(lost_rights(&fake.site(), &some(&cgroup, true)).is_none());
        fake.file(&list, "c 1:3 rwm\nc 195:255 rwm\n");
        let finding = lost_rights(&fake.site(), &some(&cgroup, true)).unwrap();
        assert!(
            finding.message.contains("/dev/nvidia0 and may not open it"),
            "{finding:?}"
        );
    }

    #[test]
    fn a_scope_that_does_not_list_the_nodes() {
        let fake = Fake::with_driver("535.1.1");
        let cgroup = format!("/system.slice/docker-{ID}.scope");
        let unit = format!("run/systemd/transient/docker-{ID}.scope");
        let at_risk = |text: &str| {
            fake.file(&unit, text);
            rights_at_risk(&fake.site(), &some(&cgroup, false)).is_some()
        };
        assert!(!at_risk("[Scope]\nDevicePolicy=auto\n"));
        assert!(at_risk(
            "[Scope]\nDevicePolicy=strict\nDeviceAllow=/dev/char/1:3 rwm\nDeviceAllow=/dev/char/195:2 rwm\n"
        ));
        let listed = "DeviceAllow=/dev/char/195:0 rwm\nDeviceAllow=/dev/nvidiactl rwm\n";
        assert!(!at_risk(&format!("[Scope]\nDevicePolicy=strict\n{listed}")));
        assert!(!at_risk(
            "[Scope]\nDevicePolicy=strict\nDeviceAllow=char-nvidia-frontend rwm\n"
        ));
    }

    #[test]
    fn a_container_of_another_driver() {
        let fake = Fake::with_driver("550.2.2");
        let finding = other_driver(&fake.site(), &some(&format!("/docker/{ID}"), true)).unwrap();
        assert!(finding.level == Level::Trouble && finding.message.contains("535.1.1, the host has 550.2.2"));
        assert!(other_driver(&Fake::with_driver("535.1.1").site(), &some("/docker/1", true)).is_none());
    }

    #[test]
    fn without_processes_there_is_nothing_to_say() {
        assert!(levels(&check(&Fake::with_driver("535.1.1").site()), "containers").is_empty());
    }
}
