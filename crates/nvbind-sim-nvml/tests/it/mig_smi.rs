//! NVIDIA's own `nvidia-smi mig` makes, lists and destroys instances.

use nvbind_sim::state::{self, Process, ProcessKind};
use nvbind_sim::{command, mig};

use crate::machine::Machine;

/// The output and exit code of an `nvidia-smi` that may refuse.
fn try_smi(machine: &Machine, arguments: &[&str]) -> (String, i32) {
    let output = machine.smi_command(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, output.status.code().unwrap_or(-1))
}

/// The cells of the rows of a table that begin with a GPU index.
fn rows(table: &str) -> Vec<String> {
    let cells = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_row = |line: &String| line.starts_with("| 0 ");
    table.lines().map(cells).filter(is_row).collect()
}

#[test]
fn the_profiles_of_an_h100_are_listed() {
    let machine = Machine::with_nvidia_smi("hgx-h100");
    machine.smi(&["-i", "0", "-mig", "1"]);
    let profiles = rows(&machine.smi(&["mig", "-i", "0", "-lgip"]));
    assert_eq!(profiles[0], "| 0 MIG 1g.10gb 19 7/7 9.75 No 16 1 0 |");
    assert_eq!(profiles[4], "| 0 MIG 3g.40gb 9 2/2 39.50 No 60 3 0 |");
    let placements = machine.smi(&["mig", "-i", "0", "-lgipp"]);
    assert!(
        placements.contains("Profile ID 15 Placements: {0,2,4,6}:2"),
        "{placements}"
    );
    assert!(placements.contains("Profile ID  9 Placements: {0,4}:4"), "{placements}");
}

#[test]
fn instances_are_made_listed_and_destroyed() {
    let machine = Machine::with_nvidia_smi("hgx-h100");
    let smi = |arguments: &[&str]| machine.smi(arguments);
    smi(&["-i", "0", "-mig", "1"]);
    let made = smi(&["mig", "-i", "0", "-cgi", "9,19", "-C"]);
    let expected = "\
Successfully created GPU instance ID  2 on GPU  0 using profile MIG 3g.40gb (ID  9)
Successfully created compute instance ID  0 on GPU  0 GPU instance ID  2 using profile MIG 3g.40gb (ID  2)
Successfully created GPU instance ID  7 on GPU  0 using profile MIG 1g.10gb (ID 19)
Successfully created compute instance ID  0 on GPU  0 GPU instance ID  7 using profile MIG 1g.10gb (ID  0)
";
    assert_eq!(made, expected);
    assert_eq!(
        rows(&smi(&["mig", "-lgi"])),
        ["| 0 MIG 1g.10gb 19 7 0:1 |", "| 0 MIG 3g.40gb 9 2 4:4 |"]
    );
    assert_eq!(
        rows(&smi(&["mig", "-lci"])),
        ["| 0 7 MIG 1g.10gb 0 0 0:1 |", "| 0 2 MIG 3g.40gb 2 0 0:3 |"]
    );
    let gpu = state::read(machine.path()).unwrap().gpus[0].clone();
    let listed = smi(&["-L"]);
    for (index, device) in mig::devices(&gpu).enumerate() {
        let (name, uuid) = (&device.gpu_instance.profile, &device.compute_instance.uuid);
        let line = format!("  MIG {name}     Device  {index}: (UUID: {uuid})");
        assert!(listed.contains(&line), "{listed}");
    }
    let table = rows(&smi(&["-i", "0"]));
    assert!(
        table
            .iter()
            .any(|row| row.starts_with("| 0 2 0 0 | 0MiB / 40448MiB | 60")),
        "{table:?}"
    );
    assert!(
        table
            .iter()
            .any(|row| row.starts_with("| 0 7 0 1 | 0MiB / 9984MiB | 16")),
        "{table:?}"
    );

    let (early, code) = try_smi(&machine, &["mig", "-dgi", "-i", "0", "-gi", "2"]);
    assert!(
        early.contains("Unable to destroy GPU instance ID  2 from GPU  0: In use by another client"),
        "{early}"
    );
    assert_eq!(code, 19);
    smi(&["mig", "-dci", "-i", "0"]);
    let (early, _) = try_smi(&machine, &["-i", "0", "-mig", "0"]);
    assert!(early.contains("Unable to disable MIG Mode"), "{early}");
    smi(&["mig", "-dgi", "-i", "0"]);
    assert!(smi(&["-i", "0", "-mig", "0"]).contains("Disabled MIG Mode"));
    assert!(!smi(&["-L"]).contains("MIG "));
}

#[test]
fn compute_instances_share_a_gpu_instance() {
    let machine = Machine::with_nvidia_smi("dgx-a100");
    let smi = |arguments: &[&str]| machine.smi(arguments);
    smi(&["-i", "0", "-mig", "1"]);
    smi(&["mig", "-i", "0", "-cgi", "3g.40gb:0"]);
    assert_eq!(
        rows(&smi(&["mig", "-lcip", "-gi", "1"])),
        [
            "| 0 1 MIG 1c.3g.40gb 0 3/3 14 2 0 0 |",
            "| 0 1 MIG 2c.3g.40gb 1 1/1 28 2 0 0 |",
            "| 0 1 MIG 3g.40gb 2* 1/1 42 2 0 0 |"
        ]
    );
    assert_eq!(
        smi(&["mig", "-lcipp", "-gi", "1"]),
        "GPU  0 GI  1 Profile ID  0 Placements: {0,1,2}:1\n\
         GPU  0 GI  1 Profile ID  1 Placements: {0,1}:2\n\
         GPU  0 GI  1 Profile ID  2 Placement : {0}:3\n"
    );
    smi(&["mig", "-cci", "0,1", "-gi", "1"]);
    assert_eq!(
        rows(&smi(&["mig", "-lci"])),
        ["| 0 1 MIG 1c.3g.40gb 0 0 0:1 |", "| 0 1 MIG 2c.3g.40gb 1 1 1:2 |"]
    );
    let free: Vec<String> = rows(&smi(&["mig", "-lcip", "-gi", "1"]));
    assert!(free.iter().all(|row| row.contains(" 0/")), "{free:?}");
    let listed = smi(&["-L"]);
    assert!(listed.contains("MIG 1c.3g.40gb  Device  0: (UUID: MIG-"), "{listed}");
    assert!(listed.contains("MIG 2c.3g.40gb  Device  1: (UUID: MIG-"), "{listed}");
    let (full, code) = try_smi(&machine, &["mig", "-cci", "0", "-gi", "1"]);
    assert!(full.contains("Insufficient Resources"), "{full}");
    assert_eq!(code, 23);
    smi(&["mig", "-dci", "-ci", "0", "-gi", "1"]);
    assert_eq!(rows(&smi(&["mig", "-lci"])), ["| 0 1 MIG 2c.3g.40gb 1 1 1:2 |"]);
}

#[test]
fn what_runs_on_an_instance_keeps_it() {
    let machine = Machine::with_nvidia_smi("hgx-h100");
    command::mig_layout(machine.path(), "0", &["3g.40gb/1c/2c"]).unwrap();
    let process = Process {
        pid: 4711,
        name: "/usr/bin/train".into(),
        memory_mib: 512,
        kind: ProcessKind::Compute,
        gpu_instance: Some(2),
        compute_instance: Some(1),
    };
    command::process_add(machine.path(), "0", &process).unwrap();
    let table = machine.smi(&["-i", "0"]);
    let row: Vec<&str> = table
        .lines()
        .find(|line| line.contains("train"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row, ["|", "0", "2", "1", "4711", "C", "/usr/bin/train", "512MiB", "|"]);
    let (refused, code) = try_smi(&machine, &["mig", "-dci", "-gi", "2", "-ci", "1"]);
    assert!(refused.contains("In use by another client"), "{refused}");
    assert_eq!(code, 19);
    machine.smi(&["mig", "-dci", "-gi", "2", "-ci", "0"]);
    command::process_remove(machine.path(), "0", 4711).unwrap();
    machine.smi(&["mig", "-dci", "-gi", "2", "-ci", "1"]);
}

#[test]
fn a_busy_gpu_changes_its_mode_later() {
    let machine = Machine::with_nvidia_smi("dgx-a100");
    let process = Process {
        pid: 12,
        name: "serve".into(),
        memory_mib: 1,
        kind: ProcessKind::Compute,
        gpu_instance: None,
        compute_instance: None,
    };
    command::process_add(machine.path(), "3", &process).unwrap();
    let (warning, _) = try_smi(&machine, &["-i", "3", "-mig", "1"]);
    assert!(warning.contains("MIG mode is in pending enable state"), "{warning}");
    let query = [
        "-i",
        "3",
        "--query-gpu=mig.mode.current,mig.mode.pending",
        "--format=csv,noheader",
    ];
    assert_eq!(machine.smi(&query), "Disabled, Enabled\n");
    command::process_remove(machine.path(), "3", 12).unwrap();
    machine.smi(&["-i", "3", "-mig", "1"]);
    assert_eq!(machine.smi(&query), "Enabled, Enabled\n");
}

/// In a container that was not given `mig/config`, as for a user who is not root.
#[test]
fn who_may_not_configure_is_told() {
    let machine = Machine::with_nvidia_smi("hgx-h100");
    command::mig_layout(machine.path(), "0", &["3g.40gb"]).unwrap();
    std::fs::remove_file(machine.path().join("dev/nvidia-caps/nvidia-cap1")).unwrap();
    for arguments in [
        ["mig", "-i", "0", "-lgi"],
        ["mig", "-i", "0", "-dci"],
        ["-i", "1", "-mig", "1"],
    ] {
        let (refused, code) = try_smi(&machine, &arguments);
        assert!(refused.contains("Insufficient Permissions"), "{arguments:?}: {refused}");
        assert_eq!(code, 4, "{arguments:?}");
    }
    assert!(
        machine.smi(&["-L"]).contains("MIG 3g.40gb"),
        "a device that is given is seen"
    );
}

#[test]
fn gpus_without_mig_refuse() {
    let machine = Machine::with_nvidia_smi("l40s");
    let refused = machine.smi(&["-i", "0", "-mig", "1"]);
    assert!(
        refused.contains("Unable to enable MIG Mode for GPU 00000000:21:00.0: Not Supported"),
        "{refused}"
    );
}
