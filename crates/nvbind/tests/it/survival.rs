//! `systemctl daemon-reload` sets the device rules of every cgroup anew, from what the container's configuration told systemd:
//! a device that is not declared there is gone from then on. docker's and containerd's side is in nvbind-engine's tests.

use crate::support::Machine;
use nvbind_testkit::{PodmanEnv, assert_declared, check, small_rootfs};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The one configuration below a folder that is a container's with GPUs.
fn configuration(folder: &Path) -> Value {
    let found = check(Command::new("find").arg(folder).args(["-name", "config.json"]));
    let read = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).expect(path)).expect(path) };
    let with_gpus = |config: &Value| config.to_string().contains("/dev/nvidia");
    found
        .lines()
        .map(read)
        .find(with_gpus)
        .unwrap_or_else(|| panic!("no configuration in:\n{found}"))
}

/// What a container with GPU 1 has.
fn nodes(machine: &Machine) -> [String; 3] {
    let gpu = format!("/dev/nvidia{}", machine.minors()[1]);
    [gpu, "/dev/nvidiactl".to_owned(), "/dev/nvidia-uvm".to_owned()]
}

#[test]
fn native_containers_declare_their_devices() {
    let machine = Machine::new("dgx-a100");
    let rootfs = machine.rootfs();
    machine.ok(&[
        "run", "-d", "--name", "native", "--gpu", "1", "--rootfs", &rootfs, "--", "sleep", "1000",
    ]);
    assert_declared(&configuration(&machine.dir().join("state")), &nodes(&machine));
    machine.ok(&["rm", "--force", "native"]);
}

#[test]
fn podmans_containers_declare_their_devices() {
    let machine = Machine::new("dgx-a100");
    let podman = PodmanEnv::new();
    podman.import(&small_rootfs(), "small:nvbind");
    let nvbind = |words: &[&str]| check(machine.nvbind().envs(podman.vars()).args(words));
    nvbind(&[
        "run",
        "--runtime",
        "podman",
        "-d",
        "--name",
        "podman",
        "--gpu",
        "1",
        "small:nvbind",
        "--",
        "sleep",
        "1000",
    ]);
    assert_declared(&configuration(podman.path()), &nodes(&machine));
    nvbind(&["rm", "--force", "podman"]);
}
