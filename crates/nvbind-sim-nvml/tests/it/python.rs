//! Programs that no one here wrote: pynvml and nvitop take the library for the real one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nvbind_sim::{command, mig, profile, state};
use serde_json::{Value, json};

use crate::machine::Machine;

/// The Python of the virtual environment with pynvml and nvitop, made once per machine.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = nvbind_testkit::cache_dir().join("python");
        let script = nvbind_testkit::checkout().join("scripts/fetch-python-tools.sh");
        nvbind_testkit::check(Command::new(script).arg(&folder));
        folder.join("bin/python")
    })
}

/// What a script of this folder prints on the machine.
fn run(machine: &Machine, script: &str) -> String {
    let path = nvbind_testkit::checkout()
        .join("crates/nvbind-sim-nvml/tests/it/python")
        .join(script);
    let mut command = Command::new(python());
    command.arg(path).env("LD_LIBRARY_PATH", machine.libraries());
    nvbind_testkit::check(&mut command)
}

fn nvitop(machine: &Machine) -> String {
    let mut command = Command::new(python());
    command
        .args(["-m", "nvitop", "--once"])
        .env("LD_LIBRARY_PATH", machine.libraries());
    // Its width, without a terminal.
    command.env("COLUMNS", "79").env("PYTHONIOENCODING", "utf-8");
    nvbind_testkit::check(&mut command)
}

#[test]
fn pynvml_sees_every_machine() {
    for profile in profile::all() {
        let machine = Machine::new(&profile.name);
        if !profile.model.mig.is_empty() {
            let of = |slices| &profile.model.mig.iter().find(|mig| mig.slices == slices).unwrap().name;
            let shared = format!("{}/1c/2c", of(3));
            command::mig_layout(machine.path(), "0", &[shared.as_str(), of(1).as_str()]).unwrap();
        }
        let state = state::read(machine.path()).unwrap();
        let gpus: Vec<Value> = state
            .gpus
            .iter()
            .map(|gpu| {
                let migs: Vec<Value> = mig::devices(gpu).map(|device| mig_seen(&state, &device)).collect();
                json!({
                    "name": profile.model.name,
                    "uuid": gpu.uuid,
                    "bus": format!("0000{}", gpu.bus.to_uppercase()),
                    "minor": gpu.minor,
                    "memory": profile.model.memory_mib << 20,
                    "temperature": gpu.temperature,
                    "power": gpu.power_mw,
                    "migs": migs,
                })
            })
            .collect();
        let expected = json!({ "driver": profile.driver_version, "gpus": gpus });
        let seen: Value = serde_json::from_str(&run(&machine, "enumerate.py")).unwrap();
        assert_eq!(seen, expected, "{}", profile.name);
    }
}

fn mig_seen(state: &state::State, device: &mig::MigDevice<'_>) -> Value {
    let profile = state.mig_profile(&device.gpu_instance.profile).unwrap();
    let model = &state.profile.model;
    let compute = mig::compute_instance::profiles(model, profile);
    let own = compute
        .iter()
        .find(|known| known.id == device.compute_instance.profile)
        .unwrap();
    json!({
        "name": format!("{} MIG {}", model.name, own.name),
        "uuid": device.compute_instance.uuid,
        "memory": profile.memory_mib << 20,
        "gpu_instance": device.gpu_instance.id,
        "compute_instance": device.compute_instance.id,
        "multiprocessors": own.multiprocessors,
    })
}

#[test]
fn a_layout_that_pynvml_makes_is_nvidia_smis() {
    let machine = Machine::with_nvidia_smi("hgx-h100");
    let told = run(&machine, "make_mig.py");
    let expected = [
        "NVMLError_NotSupported",          // MIG mode is off
        "NVMLError_InsufficientResources", // 7g beside others
        "NVMLError_InvalidArgument",       // no such profile
        "NVMLError_InsufficientResources", // the slice is taken
        "NVMLError_InUse",                 // a GPU instance with compute instances
        "NVMLError_InUse",                 // MIG mode with instances
        "NVMLError_NotFound",              // no such instance
        "NVMLError_InsufficientResources", // 3c beside two of 1c
        "3",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    let listed = machine.smi(&["-L"]);
    let migs: Vec<&str> = listed.lines().filter(|line| line.contains("MIG ")).collect();
    let names: Vec<&str> = migs.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["1c.3g.40gb", "1c.3g.40gb", "1g.10gb"], "{listed}");
    let after = listed.lines().skip_while(|line| !line.starts_with("GPU 1:")).nth(1);
    assert_eq!(after, migs.first().copied(), "on GPU 1: {listed}");
    assert!(
        machine.smi(&["mig", "-lgi"]).contains("3:1"),
        "at the slice that was named"
    );
}

#[test]
fn nvitop_prints_every_machine() {
    for profile in profile::all() {
        let machine = Machine::new(&profile.name);
        let page = nvitop(&machine);
        assert!(
            page.contains(&format!("Driver Version: {}", profile.driver_version)),
            "{page}"
        );
        let gpus = state::read(machine.path()).unwrap().gpus;
        for (index, gpu) in gpus.iter().enumerate() {
            let bus = format!("0000{}", gpu.bus.to_uppercase());
            let lines: Vec<&str> = page.lines().skip_while(|line| !line.contains(&bus)).collect();
            let start = format!("│ {index:>3}  ");
            assert!(lines[0].starts_with(&start), "{index}: {page}");
            // The column holds the end of a long name.
            let name = profile.model.name.trim_start_matches("NVIDIA ");
            let name: Vec<char> = name.chars().collect();
            let tail: String = name[name.len() - name.len().min(8)..].iter().collect();
            assert!(lines[0].contains(&tail), "{tail}: {page}");
            assert!(
                lines[1].contains(&format!("/ {} ", memory(profile.model.memory_mib))),
                "{page}"
            );
        }
    }
}

#[test]
fn nvitop_prints_mig_devices() {
    let machine = Machine::new("hgx-h100");
    command::mig_layout(machine.path(), "0", &["3g.40gb/1c/2c", "1g.10gb"]).unwrap();
    let page = nvitop(&machine);
    for row in [
        "0:0   1c.3g.40gb @ GI/CI: 2/0 │        0B / 39.50GiB",
        "0:1   2c.3g.40gb @ GI/CI: 2/1 │        0B / 39.50GiB",
        "0:2      1g.10gb @ GI/CI: 7/0 │        0B /  9984MiB",
    ] {
        let row = row.split_whitespace().collect::<Vec<_>>().join(" ");
        let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&row), "{row}: {page}");
    }
}

/// How nvitop writes a size: MiB up to 20 GiB, then GiB with four digits.
fn memory(mib: u64) -> String {
    let gib = mib as f64 / 1024.0;
    match gib {
        ..20.0 => format!("{mib}MiB"),
        20.0..100.0 => format!("{gib:.2}GiB"),
        _ => format!("{gib:.1}GiB"),
    }
}
