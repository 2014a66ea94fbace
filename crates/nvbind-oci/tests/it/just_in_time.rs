//! Hosts without a spec: the `nvbind` beside the shim is asked.

use crate::support::{HOOK, Host, SHIM, own_hook, script, stderr, write};
use nvbind_testkit::check;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// A folder with the shim, an `nvbind` and a runtime that does nothing.
fn install(host: &Host, nvbind: &str) {
    std::fs::create_dir_all(host.path("bin")).unwrap();
    check(Command::new("cp").arg(SHIM).arg(host.path("bin/nvbind-runtime")));
    script(&host.path("bin/nvbind"), nvbind);
    script(&host.path("bin/runc"), "exit 0");
}

fn create(host: &Host, env: &str) -> Output {
    let bundle = host.bundle("true", &[env]);
    let mut shim = Command::new(host.path("bin/nvbind-runtime"));
    shim.args(["create", "--bundle"])
        .arg(bundle)
        .arg("x")
        .env("NVBIND_CONFIG", host.path("config.toml"));
    shim.env("NVBIND_HOOK_PATH", HOOK)
        .env("LD_LIBRARY_PATH", "/x")
        .env("PATH", host.path("bin").display().to_string() + ":/bin:/usr/bin");
    shim.output().unwrap()
}

fn recording(host: &Host) -> String {
    let spec = host.spec(&json!([own_hook(HOOK)]));
    write(&host.path("spec.json"), spec.to_string());
    let (args, env) = (host.path("args"), host.path("env"));
    format!(
        "echo \"$@\" > {}; env > {}; cat {}",
        args.display(),
        env.display(),
        host.path("spec.json").display()
    )
}

fn paths(config: &Value) -> Vec<&str> {
    config["linux"]["devices"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|device| device["path"].as_str().unwrap())
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn without_a_spec_the_devices_are_those_of_now() {
    let host = Host::new();
    std::fs::remove_file(host.path("cdi/nvidia.json")).unwrap();
    install(&host, &recording(&host));
    let out = create(&host, "NVIDIA_VISIBLE_DEVICES=0,--output=/x,GPU-1");
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(
        read(&host.path("args")),
        format!(
            "cdi generate --format=json --device-id=0 --device-id=--output=/x --device-id=GPU-1 --hook-path={HOOK}\n"
        )
    );
    assert_eq!(
        paths(&host.config()),
        ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia1"]
    );
    let env = read(&host.path("env"));
    assert!(
        env.contains("NVBIND_CONFIG=") && !env.contains("LD_LIBRARY_PATH"),
        "{env}"
    );
}

#[test]
fn a_stale_spec_is_not_used() {
    let host = Host::new();
    install(&host, &recording(&host));
    create(&host, "NVIDIA_VISIBLE_DEVICES=0");
    assert!(!host.path("args").exists());
    let stale = read(&host.path("cdi/nvidia.json"))
        .replace("libcuda.so.535.1\",\"containerPath", "libcuda.so.1.1\",\"containerPath");
    let stale = stale.replace("lib/libcuda.so.535.1\",\"o", "lib/libcuda.so.1.1\",\"o");
    write(&host.path("cdi/nvidia.json"), stale);
    std::fs::rename(host.path("lib/libcuda.so.535.1"), host.path("lib/libcuda.so.550.1")).unwrap();
    create(&host, "NVIDIA_VISIBLE_DEVICES=0");
    assert!(host.path("args").exists());
}

#[test]
fn a_name_that_the_spec_does_not_have_is_asked_for_and_none_too() {
    let host = Host::new();
    install(&host, &recording(&host));
    create(&host, "NVIDIA_VISIBLE_DEVICES=gpu0");
    assert!(read(&host.path("args")).contains("--device-id=gpu0"));
    std::fs::remove_file(host.path("cdi/nvidia.json")).unwrap();
    create(&host, "NVIDIA_VISIBLE_DEVICES=none");
    assert!(read(&host.path("args")).contains("--device-id=none"));
    assert_eq!(paths(&host.config()), Vec::<&str>::new());
    assert_eq!(
        host.config()["mounts"].as_array().unwrap().last().unwrap()["destination"],
        "/opt/driver/lib/libcuda.so.535.1"
    );
}

#[test]
fn what_nvbind_says_is_what_the_user_reads() {
    let host = Host::new();
    install(
        &host,
        "echo 'warning first' >&2; echo \"nvbind: no GPU or MIG device '9' on this host\" >&2; exit 4",
    );
    let out = create(&host, "NVIDIA_VISIBLE_DEVICES=9");
    assert_eq!(out.status.code(), Some(4));
    assert_eq!(stderr(&out), "nvbind-runtime: no GPU or MIG device '9' on this host\n");
    install(&host, "echo '{ \"cdiVersion\": '");
    let out = create(&host, "NVIDIA_VISIBLE_DEVICES=9");
    assert_eq!(out.status.code(), Some(5));
    assert!(stderr(&out).contains("cannot ask"), "{}", stderr(&out));
    std::fs::remove_file(host.path("bin/nvbind")).unwrap();
    let out = create(&host, "NVIDIA_VISIBLE_DEVICES=9");
    assert!(
        stderr(&out).contains("neither beside nvbind-runtime nor on PATH"),
        "{}",
        stderr(&out)
    );
}
