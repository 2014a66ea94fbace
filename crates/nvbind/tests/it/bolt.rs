//! The exact calls that the Bolt container runtime makes.

use crate::support::{Machine, listed_uuids, stderr, stdout};
use serde_json::Value;

#[test]
fn the_questions_that_bolt_asks() {
    let machine = Machine::new("rtx4090");
    assert!(machine.output(&["--version"]).status.success());
    let text = machine.ok(&["info"]);
    assert_eq!(
        text.matches("GPU").count(),
        machine.uuids().len(),
        "Bolt counts the word in:\n{text}"
    );
    assert!(!machine.ok(&["info", "--json"]).is_empty());
    let gpus: Value = serde_json::from_str(&machine.ok(&["info", "--gpus", "--format=json"])).expect("JSON");
    let gpu = &gpus.as_array().expect("an array at top level")[0];
    for field in ["id", "name", "compute_capability", "driver_version", "uuid"] {
        assert!(gpu[field].is_string(), "{field}: {gpu}");
    }
    assert!(gpu["memory_mb"].as_u64().is_some_and(|memory| memory > 20_000), "{gpu}");
    let check = machine.output(&["info", "--driver-check"]);
    assert!(
        check.status.success() && !stdout(&check).is_empty(),
        "{}",
        stderr(&check)
    );
}

#[test]
fn the_run_that_bolt_makes() {
    let machine = Machine::new("rtx4090");
    let rootfs = machine.rootfs();
    let gpus: Value = serde_json::from_str(&machine.ok(&["info", "--gpus", "--format=json"])).expect("JSON");
    let id = gpus[0]["id"].as_str().expect("id");
    let listing = machine.ok(&[
        "run",
        "--name",
        "c-1234",
        "--runtime",
        "bolt",
        "--profile",
        "gaming",
        "--driver",
        "auto",
        "--gpu",
        id,
        "--rootless",
        "--rootfs",
        &rootfs,
        "--env",
        "NVIDIA_DRIVER_CAPABILITIES=all",
        "--env",
        "PULSE_RUNTIME_PATH=/run/user/1000/pulse",
        "--env",
        "NVIDIA_VISIBLE_DEVICES=all",
        "--gaming",
        "--isolation",
        "exclusive",
        "steam-game:latest",
        "--",
        "nvidia-smi",
        "-L",
    ]);
    assert_eq!(listed_uuids(&listing), machine.uuids()[..1], "{listing}");
    let libraries = machine.ok(&[
        "run",
        "--name",
        "c-1235",
        "--runtime",
        "bolt",
        "--profile",
        "gaming",
        "--driver",
        "auto",
        "--gpu",
        id,
        "--rootless",
        "--rootfs",
        &rootfs,
        "--gaming",
        "--isolation",
        "exclusive",
        "steam-game:latest",
        "--",
        "ldconfig",
        "-p",
    ]);
    assert!(libraries.contains("libGLX_nvidia.so.0"), "{libraries}");
}
