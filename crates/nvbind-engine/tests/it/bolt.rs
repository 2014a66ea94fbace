//! Containers by Bolt: its command line as it was recorded from Bolt 0.1.0, real podman below it.

use crate::common::{Ended, IMAGE, engine_run, finish, shim};
use nvbind_testkit::{FakeGpus, PodmanEnv, small_rootfs, temp_dir};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// `bolt run IMAGE -n NAME [-e K=V]... [-v A:B]...` calls `podman --version` and
/// `podman run --name NAME [-e K=V]... [-v A:B]... IMAGE`, shows the output when it has ended, and ends with 0 or 1.
const BOLT: &str = r#"#!/bin/sh
[ "$1" = run ] && [ "$3" = -n ] || exit 2
image=$2 name=$4
shift 4
podman --version >/dev/null || exit 1
output=$(podman run --name "$name" "$@" "$image") || { echo "bolt: podman failed" >&2; exit 1; }
printf '%s\n' "$output"
"#;

/// A store whose image runs `script`: `bolt run` cannot be told a command.
fn store(script: &str) -> PodmanEnv {
    let store = PodmanEnv::new();
    store.import(&small_rootfs(), "base");
    let dockerfile = format!("FROM localhost/base\nCMD {}\n", serde_json::json!(["sh", "-c", script]));
    let dir = temp_dir("build");
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    let mut build = store.podman();
    build
        .args(["build", "--quiet", "--network=host", "--tag", IMAGE])
        .arg(dir.path());
    nvbind_testkit::check(&mut build);
    store
}

/// `engine-run bolt run` with the stand-in for Bolt first on PATH.
fn run(store: &PodmanEnv, dir: &Path, name: &str) -> Command {
    let bolt = dir.join("bolt");
    std::fs::write(&bolt, BOLT).unwrap();
    std::fs::set_permissions(&bolt, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = engine_run("bolt");
    command.envs(store.vars()).env("PATH", path);
    command
        .args(["run", "--name", name, "--binding", name, "--work-dir"])
        .arg(dir.join("work"))
        .arg("--shim")
        .arg(shim());
    command
}

fn line(ended: &Ended) -> &str {
    ended.stderr.lines().last().unwrap_or_default()
}

#[test]
fn bolt_run_starts_its_container_through_the_shim() {
    let store =
        store("ls /dev/nvidia*; echo $A; ls /sys/class/net; cat /mnt/work/containers.conf | grep -c nvbind-runtime");
    let dir = temp_dir("bolt");
    let gpus = FakeGpus::new(4);
    let mut command = run(&store, dir.path(), "b-gpu");
    command.arg("--shim").arg(gpus.runtime(&shim()));
    command.args([
        "--gpu",
        &gpus.uuid(2),
        "-e",
        "A=one",
        "-v",
        &format!("{}:/mnt:ro", dir.path().display()),
        IMAGE,
    ]);
    let ended = finish(&mut command, b"");
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "/dev/nvidia2\none\nlo\n1\n"),
        "{}",
        ended.stderr
    );
    let left = nvbind_testkit::check(store.podman().args(["ps", "--all", "--quiet"]));
    assert_eq!(left, "", "bolt leaves the container, nvbind does not");
}

#[test]
fn a_failure_is_bolts_own() {
    let store = store("exit 3");
    let dir = temp_dir("bolt");
    assert_eq!(finish(run(&store, dir.path(), "b-fail").arg(IMAGE), b"").code, Some(1));
}

#[test]
fn what_cannot_be_done_is_said() {
    let store = PodmanEnv::new();
    let dir = temp_dir("bolt");
    let ended = finish(run(&store, dir.path(), "b-1").args([IMAGE, "ls"]), b"");
    assert_eq!(ended.code, Some(2));
    assert!(
        line(&ended).contains("'bolt run' cannot pass on a command: "),
        "{}",
        ended.stderr
    );

    let ended = finish(
        run(&store, dir.path(), "b-2").env("NVBIND_FROM_BOLT", "1").arg(IMAGE),
        b"",
    );
    assert_eq!(ended.code, Some(2));
    assert!(
        line(&ended).contains("calling bolt again would never end"),
        "{}",
        ended.stderr
    );

    for (path, missing) in [("/nonexistent", "podman"), ("/usr/bin:/bin", "bolt")] {
        let ended = finish(run(&store, dir.path(), "b-3").env("PATH", path).arg(IMAGE), b"");
        assert_eq!(ended.code, Some(5));
        assert!(
            line(&ended).contains(&format!("{missing} is not installed")),
            "{}",
            ended.stderr
        );
    }
}
