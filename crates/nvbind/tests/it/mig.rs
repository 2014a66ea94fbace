//! MIG from end to end: `nvidia-smi` cuts a GPU, nvbind hands the parts out, and what is destroyed is gone.

use crate::support::{Machine, listed_uuids, stderr, stdout};
use serde_json::Value;

/// Runs NVIDIA's `nvidia-smi`; panics when it fails.
fn smi(machine: &Machine, arguments: &[&str]) -> String {
    let output = machine.smi(arguments);
    let text = stdout(&output);
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// Runs a command in a container that gets this device.
fn run(machine: &Machine, gpu: &str, command: &[&str]) -> String {
    let rootfs = machine.small_rootfs();
    let mut all = vec!["run", "--gpu", gpu, "--rootfs", &rootfs, "--"];
    all.extend(command);
    machine.ok(&all)
}

/// The UUIDs of the MIG devices of GPU 0 that `nvbind info` shows.
fn migs(machine: &Machine) -> Vec<String> {
    let info: Value = serde_json::from_str(&machine.ok(&["info", "--format", "json"])).expect("JSON");
    let devices = info["gpus"][0]["mig"]["devices"].as_array().expect("MIG devices");
    let uuid = |device: &Value| device["uuid"].as_str().expect("uuid").to_owned();
    devices.iter().map(uuid).collect()
}

/// The names of the devices in the spec that `nvbind cdi generate` prints.
fn names(machine: &Machine, strategy: &str) -> Vec<String> {
    let spec = machine.ok(&[
        "cdi",
        "generate",
        "--format",
        "json",
        "--device-name-strategy",
        strategy,
    ]);
    let spec: Value = serde_json::from_str(&spec).expect("JSON");
    let devices = spec["devices"].as_array().expect("devices");
    let name = |device: &Value| device["name"].as_str().expect("name").to_owned();
    devices.iter().map(name).collect()
}

#[test]
fn what_nvidia_smi_makes_a_container_gets_and_what_it_destroys_is_gone() {
    let machine = Machine::new("hgx-h100");
    smi(&machine, &["-i", "0", "-mig", "1"]);
    smi(&machine, &["mig", "-i", "0", "-cgi", "9,19", "-C"]);
    let made = migs(&machine);
    assert_eq!(made.len(), 2);

    let listing = run(&machine, "0:1", &["nvidia-smi", "-L"]);
    let lines: Vec<&str> = listing.lines().collect();
    assert!(
        lines[0].starts_with("GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-"),
        "{listing}"
    );
    assert_eq!(lines[1], format!("  MIG 1g.10gb     Device  0: (UUID: {})", made[1]));
    assert_eq!(lines.len(), 2, "{listing}");
    let gpu = &machine.uuids()[0];
    let path = format!("MIG-{gpu}/7/0");
    for name in [&made[1], "mig0:1", "nvidia.com/gpu=0:1", &path] {
        assert_eq!(run(&machine, name, &["nvidia-smi", "-L"]), listing, "--gpu {name}");
    }
    // GPU instance 7 and its compute instance 0: 3 + 7 * 9, and one more.
    let nodes = run(&machine, "0:1", &["ls", "/dev/nvidia-caps"]);
    assert_eq!(nodes, "nvidia-cap66\nnvidia-cap67\n");

    assert!(names(&machine, "index").contains(&"0:1".to_owned()));
    assert!(names(&machine, "type-index").contains(&"mig0:1".to_owned()));
    assert!(names(&machine, "uuid").contains(&made[1]));

    smi(&machine, &["mig", "-i", "0", "-dci", "-gi", "7"]);
    smi(&machine, &["mig", "-i", "0", "-dgi", "-gi", "7"]);
    assert_eq!(migs(&machine), made[..1]);
    assert!(!names(&machine, "index").contains(&"0:1".to_owned()));
    assert!(!names(&machine, "uuid").contains(&made[1]));
    let rootfs = machine.small_rootfs();
    let gone = machine.output(&["run", "--gpu", &made[1], "--rootfs", &rootfs, "--", "true"]);
    assert_eq!(gone.status.code(), Some(4), "{}", stderr(&gone));
}

#[test]
fn compute_instances_of_one_gpu_instance_are_devices_of_their_own() {
    let machine = Machine::new("dgx-a100");
    smi(&machine, &["-i", "0", "-mig", "1"]);
    smi(&machine, &["mig", "-i", "0", "-cgi", "3g.40gb"]);
    smi(&machine, &["mig", "-i", "0", "-cci", "0,1"]);
    let made = migs(&machine);
    let table = machine.ok(&["info"]);
    assert!(
        table.contains("MIG 1c.3g.40gb") && table.contains("MIG 2c.3g.40gb"),
        "{table}"
    );
    for (index, name) in ["1c.3g.40gb", "2c.3g.40gb"].iter().enumerate() {
        let listing = run(&machine, &format!("0:{index}"), &["nvidia-smi", "-L"]);
        assert_eq!(listed_uuids(&listing)[1..], made[index..=index], "{listing}");
        assert!(listing.contains(&format!("MIG {name}")), "{listing}");
    }
    let both = run(&machine, "0:0,0:1", &["nvidia-smi", "-L"]);
    assert_eq!(listed_uuids(&both)[1..], made[..], "{both}");
}

/// A MIG device is one binding: its neighbours on the same GPU are free.
#[test]
fn an_exclusive_mig_device_leaves_its_neighbours_free() {
    let machine = Machine::new("hgx-h100");
    machine.ok(&["sim", "mig", "0", "3g.40gb/1c/2c", "1g.10gb"]);
    let rootfs = machine.small_rootfs();
    let mut holder = vec!["run", "--detach", "--name", "holder", "--isolation", "exclusive"];
    holder.extend(["--gpu", "0:0", "--rootfs", &rootfs, "--", "sleep", "1000"]);
    machine.ok(&holder);
    let second = machine.output(&["run", "--gpu", "0:0", "--rootfs", &rootfs, "--", "true"]);
    assert_eq!(second.status.code(), Some(1), "{}", stderr(&second));
    assert!(stderr(&second).contains("holder"), "{}", stderr(&second));
    run(&machine, "0:1,0:2", &["true"]);
    machine.ok(&["rm", "--force", "holder"]);
    run(&machine, "0:0", &["true"]);
}

/// The container has neither `mig/config` nor a state that it could write.
#[test]
fn a_container_cannot_change_the_layout() {
    let machine = Machine::new("hgx-h100");
    machine.ok(&["sim", "mig", "0", "3g.40gb", "1g.10gb"]);
    let before = migs(&machine);
    let script = "nvidia-smi mig -lgi; nvidia-smi mig -dci; nvidia-smi -i 0 -mig 0; nvidia-smi mig -cgi 19; true";
    let said = run(&machine, "0:0", &["sh", "-c", script]);
    assert!(said.matches("Insufficient Permissions").count() >= 4, "{said}");
    assert!(!said.contains("Successfully"), "{said}");
    assert_eq!(migs(&machine), before);
}

#[test]
fn the_simulator_takes_and_shows_the_same_words() {
    let machine = Machine::new("hgx-h100");
    machine.ok(&["sim", "mig", "0", "3g.40gb/1c/2c", "1g.10gb:3"]);
    let shown = machine.ok(&["sim", "show"]);
    assert!(shown.contains("mig 3g.40gb:4/1c/2c 1g.10gb:3 "), "{shown}");
    machine.ok(&["sim", "mig", "0", "--add", "2g.20gb/-"]);
    machine.ok(&["sim", "mig", "0", "--destroy", "2/0", "10"]);
    let shown = machine.ok(&["sim", "show"]);
    assert!(shown.contains("mig 3g.40gb:4/2c 2g.20gb:0/- "), "{shown}");
    machine.ok(&[
        "sim",
        "process",
        "add",
        "0",
        "77",
        "--gpu-instance",
        "2",
        "--compute-instance",
        "1",
    ]);
    let busy = machine.output(&["sim", "mig", "0", "off"]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(stderr(&busy).contains("process 77 runs on"), "{}", stderr(&busy));
    machine.ok(&["sim", "process", "rm", "0", "77"]);
    machine.ok(&["sim", "mig", "0", "off"]);
    let missing = machine.output(&["sim", "mig", "0", "--destroy", "2"]);
    assert_ne!(missing.status.code(), Some(0));
    let without = Machine::new("l40s");
    let refused = without.output(&["sim", "mig", "0", "on"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("NVIDIA L40S has no MIG"),
        "{}",
        stderr(&refused)
    );
}
