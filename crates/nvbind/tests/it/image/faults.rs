//! What goes wrong: registries, lines, disks, and `kill -9`.

use super::{heavy, images, refused, runnable, stored};
use crate::support::{Machine, stderr, stdout};
use nvbind_testkit::{Cut, CuttingProxy, Registry, check};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn what_the_registry_changed_is_found_and_nothing_of_it_is_kept() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "tampered", &[(200_000, 1), (100_000, 2)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    let manifest = serde_json::from_str::<Value>(&fs::read_to_string(layout.dir.join("index.json")).expect("index"))
        .expect("JSON");
    let manifest = manifest["manifests"][0]["digest"].as_str().expect("digest").to_owned();
    let document: Value =
        serde_json::from_slice(&fs::read(layout.blob_path(&manifest)).expect("manifest")).expect("JSON");
    let config = document["config"]["digest"].as_str().expect("digest").to_owned();
    for (what, digest, word) in [
        ("a layer", layout.layer_digest(1), "is damaged"),
        ("the configuration", config, "is damaged"),
        ("the manifest", manifest, "igest"),
    ] {
        let file = registry.blob_file(&digest);
        let good = fs::read(&file).expect("blob");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&file, bad).expect("tamper");
        let by_digest = format!("{}/x@{}", registry.host(), digest);
        let asked = if what == "the manifest" { &by_digest } else { &image };
        refused(&machine.output(&["image", "pull", asked]), 1, &[word]);
        assert!(images(&machine).is_empty(), "{what}");
        assert!(stored(&machine, "layers").is_empty(), "{what}");
        fs::write(&file, good).expect("restore");
    }
    machine.ok(&["image", "pull", &image]);
    assert!(stored(&machine, "incoming").is_empty());
}

#[test]
fn a_connection_that_is_cut_once_is_taken_up_where_it_was() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "cut", &[(6_000_000, 1)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let ranges_before = registry.answers_with(206);
    let proxy = CuttingProxy::start(&registry, Cut::Once(1_000_000));
    let image = format!("{}/x:1", proxy.host());
    machine.ok(&["image", "pull", &image]);
    assert_eq!(registry.requests_for(&layout.layer_digest(0)), 2);
    assert!(registry.answers_with(206) > ranges_before);
    assert_eq!(images(&machine).len(), 1);
}

#[test]
fn a_connection_that_is_always_cut_is_given_up_and_taken_up_later() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "cut", &[(6_000_000, 1)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let proxy = CuttingProxy::start(&registry, Cut::Always(100_000));
    let image = format!("{}/x:1", proxy.host());
    let output = machine.output(&["image", "pull", &image]);
    refused(&output, 1, &["was cut 5 times", "of ", "run it again"]);
    assert!(images(&machine).is_empty());
    let part = stored(&machine, "incoming");
    let length = fs::metadata(&part[0]).expect("what came").len();
    assert!(
        part.len() == 1 && (100_000..1_000_000).contains(&length),
        "{part:?} {length}"
    );
    // Under another name it is the same layer: what came is used.
    machine.ok(&["image", "pull", &format!("{}/x:1", registry.host())]);
    assert!(stored(&machine, "incoming").is_empty());
}

/// A mount that goes with the test.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).output();
    }
}

fn mount<'a>(arguments: &[&str], target: &'a Path) -> Mounted<'a> {
    fs::create_dir_all(target).expect("folder");
    check(Command::new("mount").args(arguments).arg(target));
    Mounted(target)
}

#[test]
fn a_full_disk_is_told_and_harms_nothing() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let small = heavy(&machine, "small", &[(1000, 1)]);
    registry.push(&small.dir, "test-amd64", "small:1");
    let large = heavy(&machine, "large", &[(3_000_000, 2), (3_000_000, 3)]);
    registry.push(&large.dir, "test-amd64", "large:1");
    let images_dir = machine.dir().join("state/images");
    let _mounted = mount(&["-t", "tmpfs", "-o", "size=4m", "none"], &images_dir);
    let (small, large) = (
        format!("{}/small:1", registry.host()),
        format!("{}/large:1", registry.host()),
    );
    machine.ok(&["image", "pull", &small]);
    // The first layer or the second, on its way or while it is unpacked.
    for _ in 0..2 {
        refused(
            &machine.output(&["image", "pull", &large]),
            1,
            &["No space left", "make room"],
        );
        assert_eq!(images(&machine).len(), 1);
    }
    machine.ok(&["image", "prune"]);
    assert_eq!(
        (stored(&machine, "layers").len(), stored(&machine, "incoming").len()),
        (1, 0)
    );
    check(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&images_dir));
    machine.ok(&["image", "pull", &large]);
    assert_eq!(images(&machine).len(), 2);
}

#[test]
fn a_read_only_store_is_told_and_serves_what_it_has() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    registry.push(&runnable(&machine).dir, "test-amd64", "x:1");
    registry.push(&heavy(&machine, "y", &[(10, 1)]).dir, "test-amd64", "y:1");
    let (image, other) = (format!("{}/x:1", registry.host()), format!("{}/y:1", registry.host()));
    machine.ok(&["image", "pull", &image]);
    let store = machine.dir().join("state/images");
    let source = store.display().to_string();
    let _mounted = mount(&["--bind", &source], &store);
    check(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&store));
    for arguments in [
        &["image", "pull", &other][..],
        &["image", "rm", &image],
        &["image", "prune", "--all"],
    ] {
        refused(&machine.output(arguments), 1, &["Read-only file system", "state.dir"]);
    }
    assert_eq!(machine.ok(&["run", &image]), "from the registry\n");
    assert_eq!(images(&machine).len(), 1);
}

#[test]
fn where_overlays_are_refused_images_are_copied() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = runnable(&machine);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    let parts = ["lower", "upper", "work"].map(|name| machine.dir().join("stack").join(name));
    parts.iter().for_each(|part| fs::create_dir_all(part).expect("folder"));
    let [lower, upper, work] = parts.map(|part| part.display().to_string());
    // An overlay cannot be the upper folder of another.
    let state = machine.dir().join("state");
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let _mounted = mount(&["-t", "overlay", "-o", &options, "none"], &state);
    let output = machine.output(&["-v", "run", &image]);
    assert_eq!(stdout(&output), "from the registry\n", "{}", stderr(&output));
    assert!(
        stderr(&output).contains("refuses an overlay") && stderr(&output).contains("copied"),
        "{}",
        stderr(&output)
    );
    let quiet = machine.output(&[
        "run",
        &image,
        "--",
        "sh",
        "-c",
        "ls /etc/hostname || cat /etc/motd; echo x > /marker",
    ]);
    assert_eq!(stdout(&quiet), "changed\n");
    assert!(!stderr(&quiet).contains("overlay"), "{}", stderr(&quiet));
    assert_eq!(machine.ok(&["run", "--user", "daemon", &image]), "from the registry\n");
    assert!(
        fs::read_dir(state.join("containers"))
            .expect("containers")
            .next()
            .is_none()
    );
    assert!(
        stored(&machine, "layers")
            .iter()
            .all(|layer| layer.join("whole").exists())
    );
    machine.ok(&["image", "rm", &image]);
    assert!(stored(&machine, "layers").is_empty());
}

/// System calls that change the store, or wait. strace counts each call of each thread for itself.
const EFFECTS: [&str; 21] = [
    "mkdir",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "write",
    "fsync",
    "syncfs",
    "flock",
    "connect",
    "writev",
    "epoll_wait",
    "clone3",
    "unshare",
    "mount",
    "chroot",
    "fchownat",
    "fchmodat",
    "utimensat",
    "ftruncate",
];

/// Pulls, killed as it enters the n-th of these calls; whether it was.
fn killed_pull(machine: &Machine, image: &str, call: &str, step: usize) -> bool {
    let nvbind = machine.nvbind();
    let mut strace = Command::new("strace");
    strace.envs(nvbind.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    strace
        .arg("-e")
        .arg(format!("inject={call}:signal=SIGKILL:when={step}"));
    strace.arg(nvbind.get_program()).args(["image", "pull", image]);
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    !strace.status().expect("strace").success()
}

#[test]
fn a_pull_killed_at_any_step_is_cleaned_up_or_taken_up() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "x", &[(70_000, 1), (30_000, 2)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    machine.ok(&["image", "ls"]);
    let mut steps = 0;
    for call in EFFECTS {
        let mut step = 1;
        while killed_pull(&machine, &image, call, step) {
            assert!(step < 500, "no end of {call}");
            match step % 2 {
                0 => machine.ok(&["image", "prune"]),
                _ => machine.ok(&["image", "pull", &image]),
            };
            let left = stored(&machine, "incoming");
            assert!(left.is_empty(), "{call} {step}: {left:?}");
            let layers = if images(&machine).is_empty() { 0 } else { 2 };
            assert_eq!(stored(&machine, "layers").len(), layers, "{call} {step}");
            if layers > 0 {
                machine.ok(&["image", "rm", &image]);
            }
            step += 1;
        }
        assert_eq!(images(&machine).len(), 1);
        machine.ok(&["image", "rm", &image]);
        steps += step - 1;
    }
    assert!(steps > 60, "only {steps} steps were seen");
}
