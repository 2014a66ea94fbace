//! The simulated machine: every profile under NVIDIA's own `nvidia-smi`, and a state that changes while programs run.

use crate::support::{Machine, stdout};
use nvbind_testkit::check;
use std::process::Command;

#[test]
fn every_profile_is_a_machine_to_nvidia_smi() {
    for profile in [
        "dgx-a100",
        "hgx-h100",
        "hgx-b200",
        "l40s",
        "t4",
        "rtx5090",
        "rtx4090",
        "laptop-rtx4060",
    ] {
        let machine = Machine::new(profile);
        let uuids = machine.uuids();
        let listing = stdout(&machine.smi(&["-L"]));
        assert_eq!(crate::support::listed_uuids(&listing), uuids, "{profile}: {listing}");
        let plain = machine.smi(&[]);
        assert!(
            plain.status.success() && stdout(&plain).contains("Driver Version"),
            "{profile}: {}",
            stdout(&plain)
        );
        let xml = machine.dir().join("q.xml");
        std::fs::write(&xml, machine.smi(&["-q", "-x"]).stdout).expect("write");
        let count = check(
            Command::new("xmllint")
                .args(["--nonet", "--xpath", "count(/nvidia_smi_log/gpu)"])
                .arg(&xml),
        );
        assert_eq!(count.trim(), uuids.len().to_string(), "{profile}");
        let query = [
            "--query-gpu=index,uuid,name,memory.total,utilization.gpu",
            "--format=csv,noheader",
        ];
        let csv = stdout(&machine.smi(&query));
        assert_eq!(csv.lines().count(), uuids.len(), "{profile}: {csv}");
        assert!(!csv.contains("N/A") && !csv.contains("Error"), "{profile}: {csv}");
    }
}

#[test]
fn the_state_changes_under_a_running_container() {
    let machine = Machine::new("hgx-h100");
    let rootfs = machine.rootfs();
    let script =
        "while :; do nvidia-smi --query-gpu=utilization.gpu,temperature.gpu --format=csv,noheader; sleep 0.1; done";
    machine.ok(&[
        "run", "--detach", "--name", "watcher", "--gpu", "3", "--rootfs", &rootfs, "--", "bash", "-c", script,
    ]);
    machine.ok(&["sim", "set", "3", "utilization=87", "temperature=71"]);
    nvbind_testkit::wait_until("the new state in the container", || {
        machine.ok(&["logs", "watcher"]).contains("87 %, 71")
    });
    machine.ok(&["rm", "--force", "watcher"]);
}

#[test]
fn a_lost_gpu_is_lost_to_all() {
    let machine = Machine::new("dgx-a100");
    machine.ok(&["sim", "lose", "4"]);
    let info: serde_json::Value = serde_json::from_str(&machine.ok(&["info", "--format", "json"])).expect("JSON");
    assert_eq!(info["gpus"][4]["health"], "lost", "{info}");
    let listing = machine.smi(&["-L"]);
    assert!(stdout(&listing).matches("UUID").count() == 7, "{}", stdout(&listing));
    machine.ok(&["sim", "restore", "4"]);
    assert_eq!(stdout(&machine.smi(&["-L"])).matches("UUID").count(), 8);
}
