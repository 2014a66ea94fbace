//! NVIDIA's own `nvidia-smi` takes the library for the real one.

use nvbind_sim::state::{Process, ProcessKind};
use nvbind_sim::{command, profile, state};
use roxmltree::{Document, ParsingOptions};

use crate::machine::Machine;

fn process(pid: u32, kind: ProcessKind) -> Process {
    Process {
        pid,
        name: format!("/usr/bin/work-{pid}"),
        memory_mib: 256,
        kind,
        gpu_instance: None,
        compute_instance: None,
    }
}

/// `-q -x` names a DTD, which is not an attack here.
fn parse(text: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).unwrap()
}

#[test]
fn every_profile_is_printed_whole() {
    for profile in profile::all().iter().filter(|profile| !profile.wsl) {
        let machine = Machine::with_nvidia_smi(&profile.name);
        let gpus = state::read(machine.path()).unwrap().gpus;

        let table = machine.smi::<&str>(&[]);
        assert!(
            table.contains("Driver Version: 535.") && table.contains("CUDA Version:"),
            "{table}"
        );
        assert_eq!(table.matches("00000000:").count(), gpus.len(), "{table}");

        let list = machine.smi(&["-L"]);
        let expected = gpus
            .iter()
            .enumerate()
            .map(|(index, gpu)| format!("GPU {index}: {} (UUID: {})\n", profile.model.name, gpu.uuid));
        assert_eq!(list, expected.collect::<String>());

        let xml = machine.smi(&["-q", "-x"]);
        let document = parse(&xml);
        let texts = |name: &str| {
            let nodes = document.descendants().filter(|node| node.has_tag_name(name));
            nodes
                .map(|node| node.text().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts("attached_gpus"), [gpus.len().to_string()]);
        assert_eq!(
            texts("uuid"),
            gpus.iter().map(|gpu| gpu.uuid.clone()).collect::<Vec<_>>()
        );
        assert_eq!(
            texts("minor_number"),
            gpus.iter().map(|gpu| gpu.minor.to_string()).collect::<Vec<_>>()
        );
        let generation = profile.model.pcie_generation.to_string();
        assert!(texts("max_host_link_gen").iter().all(|value| *value == generation));

        let query = [
            "--query-gpu=index,uuid,name,memory.total,utilization.gpu",
            "--format=csv",
        ];
        let csv = machine.smi(&query);
        let rows = gpus.iter().enumerate().map(|(index, gpu)| {
            let (name, memory) = (&profile.model.name, profile.model.memory_mib);
            format!("{index}, {}, {name}, {memory} MiB, 0 %\n", gpu.uuid)
        });
        let header = "index, uuid, name, memory.total [MiB], utilization.gpu [%]\n";
        assert_eq!(csv, rows.fold(header.to_owned(), |csv, row| csv + &row));
    }
}

#[test]
fn changes_are_seen_by_the_next_query() {
    let machine = Machine::with_nvidia_smi("l40s");
    let query = || {
        machine.smi(&[
            "--query-gpu=utilization.gpu,temperature.gpu,power.draw",
            "--format=csv,noheader",
        ])
    };
    assert_eq!(query().lines().nth(2), Some("0 %, 30, 34.00 W"));
    command::set(machine.path(), "2", "utilization", "97").unwrap();
    command::set(machine.path(), "2", "temperature", "71").unwrap();
    command::set(machine.path(), "2", "power", "301").unwrap();
    assert_eq!(query().lines().nth(2), Some("97 %, 71, 301.00 W"));
    assert_eq!(query().lines().nth(1), Some("0 %, 30, 34.00 W"));
}

#[test]
fn processes_are_listed_with_their_kind() {
    let machine = Machine::with_nvidia_smi("t4");
    command::process_add(machine.path(), "1", &process(71, ProcessKind::Compute)).unwrap();
    command::process_add(machine.path(), "1", &process(72, ProcessKind::Compute)).unwrap();
    command::process_add(machine.path(), "3", &process(73, ProcessKind::Graphics)).unwrap();
    let table = machine.smi::<&str>(&[]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.contains("work-"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_eq!(
        rows[0],
        ["|", "1", "N/A", "N/A", "71", "C", "/usr/bin/work-71", "256MiB", "|"]
    );
    assert_eq!(
        rows[1],
        ["|", "1", "N/A", "N/A", "72", "C", "/usr/bin/work-72", "256MiB", "|"]
    );
    assert_eq!(
        rows[2],
        ["|", "3", "N/A", "N/A", "73", "G", "/usr/bin/work-73", "256MiB", "|"]
    );
    let apps = machine.smi(&["--query-compute-apps=pid,name,used_memory", "--format=csv,noheader"]);
    assert!(apps.contains("71, /usr/bin/work-71, 256 MiB"), "{apps}");
}

#[test]
fn mig_devices_are_listed() {
    let machine = Machine::with_nvidia_smi("hgx-h100");
    command::mig_layout(machine.path(), "0", &["3g.40gb", "1g.10gb"]).unwrap();
    let gpus = state::read(machine.path()).unwrap().gpus;
    let list = machine.smi(&["-L"]);
    for (index, mig) in nvbind_sim::mig::devices(&gpus[0]).enumerate() {
        let (name, uuid) = (&mig.gpu_instance.profile, &mig.compute_instance.uuid);
        let line = format!("  MIG {name}     Device  {index}: (UUID: {uuid})");
        assert!(list.contains(&line), "{list}");
    }
    let xml = machine.smi(&["-q", "-x", "-i", "0"]);
    let document = parse(&xml);
    let migs = document
        .descendants()
        .filter(|node| node.has_tag_name("mig_device"))
        .count();
    assert_eq!(migs, 2, "{xml}");
    let instances = machine.smi(&["mig", "-lgi"]);
    assert!(
        instances.contains("MIG 3g.40gb") && instances.contains("4:4"),
        "{instances}"
    );
    let compute = machine.smi(&["mig", "-lci"]);
    assert!(compute.contains("MIG 1g.10gb"), "{compute}");
}

#[test]
fn topology_is_the_machines() {
    let machine = Machine::with_nvidia_smi("dgx-a100");
    let matrix = machine.smi(&["topo", "-m"]);
    let row: Vec<&str> = matrix
        .lines()
        .find(|line| line.starts_with("GPU0"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[..4], ["GPU0", "X", "NV12", "NV12"], "{matrix}");
    assert_eq!(row[9..11], ["48-63,176-191", "3"], "{matrix}");
    let machine = Machine::with_nvidia_smi("l40s");
    let matrix = machine.smi(&["topo", "-m"]);
    let row: Vec<&str> = matrix
        .lines()
        .find(|line| line.starts_with("GPU0"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[..5], ["GPU0", "X", "NODE", "SYS", "SYS"], "{matrix}");
}

#[test]
fn settings_that_nvidia_smi_makes_last() {
    let machine = Machine::with_nvidia_smi("dgx-a100");
    machine.smi(&["-i", "1", "-pl", "250"]);
    machine.smi(&["-i", "1", "-mig", "1"]);
    machine.smi(&["-i", "2", "-c", "EXCLUSIVE_PROCESS"]);
    let gpus = state::read(machine.path()).unwrap().gpus;
    assert_eq!(gpus[1].power_limit_w, 250);
    assert!(gpus[1].mig_enabled);
    assert_eq!(gpus[2].compute_mode, state::ComputeMode::ExclusiveProcess);
}

#[test]
fn a_lost_gpu_is_told() {
    let machine = Machine::with_nvidia_smi("t4");
    command::lose(machine.path(), "1").unwrap();
    let output = machine.smi_command::<&str>(&["-L"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("GPU is lost"), "{text}");
}
