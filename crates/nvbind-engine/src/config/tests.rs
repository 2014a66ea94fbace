use super::*;
use nvbind_workload::{Isolation, Network};

fn place() -> Place {
    Place {
        rootfs: "/root".into(),
        cgroup: "/nvbind-a".to_owned(),
        user: User::default(),
        open_files: 1024,
        rootless: None,
        unified_cgroups: false,
        resolver_files: vec!["/etc/resolv.conf".into()],
    }
}

fn workload() -> Workload {
    let mut workload = Workload::new("box");
    workload.command = vec!["true".to_owned()];
    workload
}

/// Compares with a file beside this one; `NVBIND_UPDATE_SNAPSHOTS=1` writes it.
fn assert_snapshot(name: &str, value: &Value) {
    let path = nvbind_testkit::checkout()
        .join("crates/nvbind-engine/src/config/snapshots")
        .join(name);
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("NVBIND_UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(known, text, "{} differs", path.display());
}

#[test]
fn the_plainest_container() {
    assert_snapshot("plain.json", &build(&workload(), &place()));
}

#[test]
fn everything_that_can_be_said() {
    let mut workload = workload();
    workload.command = vec!["sh".to_owned(), "-c".to_owned(), "exit".to_owned()];
    workload.env = [("A", "1"), ("PATH", "/opt/bin"), ("A", "2")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec();
    workload.workdir = Some("/srv".into());
    workload.tty = true;
    workload.network = Network::Host;
    workload.memory_bytes = Some(1 << 30);
    workload.cpus = Some(1.5);
    workload.isolation = Isolation::Exclusive;
    workload.hostname = Some("node".to_owned());
    workload.read_only = true;
    workload.volumes = ["/data/deep:/mnt/a/b", "/data:/mnt:ro"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    let user = User {
        uid: 1000,
        gid: 100,
        groups: vec![44],
    };
    let mut value = build(
        &workload,
        &Place {
            user,
            unified_cgroups: true,
            ..place()
        },
    );
    // The same in every container: shown in the plain one.
    value["linux"].as_object_mut().unwrap().remove("seccomp");
    assert_snapshot("full.json", &value);
}

#[test]
fn a_long_name_is_cut_to_what_the_kernel_takes() {
    let mut workload = workload();
    workload.name = "ü".repeat(40);
    assert_eq!(hostname(&workload).len(), 64);
}

#[test]
fn small_and_strange_cpu_limits_stay_in_bounds() {
    assert_eq!(cpu_quota(0.5), 50_000);
    assert_eq!(cpu_quota(0.000_1), 1000);
    assert_eq!(cpu_quota(f64::INFINITY), i64::MAX);
}

#[test]
fn the_runtime_understands_the_configuration() {
    let spec: libcontainer::oci_spec::runtime::Spec = serde_json::from_value(build(&workload(), &place())).unwrap();
    assert_eq!(serde_json::to_value(spec.process()).unwrap()["args"], json!(["true"]));
}

#[test]
fn without_root_there_are_no_cgroups_and_no_ids_but_those_mapped() {
    let rootless = |ids| Place {
        rootless: Some(ids),
        ..place()
    };
    let config = build(&workload(), &rootless(1));
    assert!(config["linux"].get("resources").is_none());
    assert!(!config["mounts"].to_string().contains("gid=5"));
    assert!(
        build(&workload(), &rootless(65537))["mounts"]
            .to_string()
            .contains("gid=5")
    );
    let host = Workload {
        network: Network::Host,
        ..workload()
    };
    let mounts = build(&host, &rootless(1))["mounts"].to_string();
    assert!(mounts.contains(r#""destination":"/sys","type":"bind""#), "{mounts}");
}
