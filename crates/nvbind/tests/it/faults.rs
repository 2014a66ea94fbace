//! Faults of one GPU stay with that GPU: the others are shown and handed out, and what is cured is used again.

use crate::support::{Machine, listed_uuids, stderr, stdout};
use serde_json::Value;

/// The health of each GPU, by index.
fn health(machine: &Machine) -> Vec<String> {
    let info: Value = serde_json::from_str(&machine.ok(&["info", "--format", "json"])).expect("JSON");
    let gpus = info["gpus"].as_array().expect("gpus");
    let word = |gpu: &Value| gpu["health"].as_str().expect("health").to_owned();
    gpus.iter().map(word).collect()
}

/// The UUIDs that a container sees when it asks for these GPUs.
fn seen(machine: &Machine, gpus: &str) -> Vec<String> {
    let rootfs = machine.small_rootfs();
    listed_uuids(&machine.ok(&["run", "--gpu", gpus, "--rootfs", &rootfs, "--", "nvidia-smi", "-L"]))
}

#[test]
fn a_lost_gpu_is_left_out_and_named() {
    let machine = Machine::new("dgx-a100");
    let uuids = machine.uuids();
    machine.ok(&["sim", "lose", "4"]);

    let info = machine.output(&["info"]);
    assert!(info.status.success());
    let row = |text: &str, id: &str| {
        text.lines()
            .find(|line| line.starts_with(id))
            .unwrap_or_default()
            .to_owned()
    };
    let table = stdout(&info);
    assert!(
        row(&table, "gpu4 ").contains(" lost ") && row(&table, "gpu4 ").contains(&uuids[4]),
        "{table}"
    );
    assert!(row(&table, "gpu5 ").contains(" ok "), "{table}");
    assert!(stderr(&info).contains("GPU 4 is lost"), "{}", stderr(&info));

    let others: Vec<String> = uuids.iter().filter(|uuid| **uuid != uuids[4]).cloned().collect();
    assert_eq!(seen(&machine, "all"), others);
    assert_eq!(seen(&machine, "5"), uuids[5..6]);
    assert_eq!(seen(&machine, "count=7"), others);
    let rootfs = machine.small_rootfs();
    let lost = machine.output(&["run", "--gpu", "4", "--rootfs", &rootfs, "--", "true"]);
    assert_eq!(lost.status.code(), Some(5));
    let said = stderr(&lost);
    assert!(said.contains("GPU 4") && said.contains("lost from the bus"), "{said}");
    let spec = machine.ok(&["cdi", "generate", "--format", "json"]);
    assert!(spec.contains(&uuids[5]) && !spec.contains(&uuids[4]));

    machine.ok(&["sim", "restore", "4"]);
    assert_eq!(seen(&machine, "4"), uuids[4..5], "healthy again, used again");
}

#[test]
fn a_gpu_lost_under_a_container_takes_no_other_with_it() {
    let machine = Machine::new("l40s");
    let uuids = machine.uuids();
    let rootfs = machine.small_rootfs();
    let mut start = vec![
        "run", "--detach", "--name", "worker", "--gpu", "0,1", "--rootfs", &rootfs, "--",
    ];
    let script = "while :; do nvidia-smi --query-gpu=uuid,temperature.gpu --format=csv,noheader -i 1 && echo alive; sleep 0.1; done";
    start.extend(["bash", "-c", script]);
    machine.ok(&start);
    machine.ok(&["sim", "lose", "0"]);
    assert_eq!(health(&machine), ["lost", "ok", "ok", "ok"]);
    machine.ok(&["sim", "set", "1", "temperature=66"]);
    nvbind_testkit::wait_until("the other GPU to answer in the container", || {
        machine.ok(&["logs", "worker"]).contains(&format!("{}, 66", uuids[1]))
    });
    assert!(machine.ok(&["ps"]).contains("worker"));
    machine.ok(&["rm", "--force", "worker"]);
}

/// Fault, and what then is true of the GPU: its health, its uncorrected ECC errors.
const FAULTS: [(&[&str], &str, &str); 4] = [
    (&["xid", "2", "31"], "ok", "0"),
    (&["xid", "2", "48"], "ok", "1"),
    (&["set", "2", "ecc-uncorrected=7"], "ok", "7"),
    (&["xid", "2", "79"], "lost", ""),
];

#[test]
fn every_fault_shows_on_its_gpu_alone() {
    for (fault, word, errors) in FAULTS {
        let machine = Machine::new("dgx-a100");
        let mut command = vec!["sim"];
        command.extend(fault);
        machine.ok(&command);
        let mut expected = vec!["ok"; 8];
        expected[2] = word;
        assert_eq!(health(&machine), expected, "{fault:?}");
        if word == "lost" {
            continue;
        }
        let query = [
            "--query-gpu=ecc.errors.uncorrected.volatile.total",
            "--format=csv,noheader",
        ];
        let counts = stdout(&machine.smi(&query));
        let mut expected = vec!["0"; 8];
        expected[2] = errors;
        assert_eq!(counts.lines().collect::<Vec<_>>(), expected, "{fault:?}");
    }
}
