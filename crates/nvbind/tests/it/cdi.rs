//! `nvbind cdi` in every mode, on simulated machines that have what the modes look for.

use crate::support::{Machine, stdout};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn spec(machine: &Machine, arguments: &[&str]) -> Value {
    let mut all = vec!["cdi", "generate", "--format", "json"];
    all.extend(arguments);
    serde_json::from_str(&machine.ok(&all)).expect("JSON")
}

fn names(spec: &Value) -> Vec<&str> {
    let devices = spec["devices"].as_array().expect("devices").iter();
    devices.map(|device| device["name"].as_str().expect("name")).collect()
}

/// The nodes of a device.
fn nodes<'a>(spec: &'a Value, name: &str) -> Vec<&'a str> {
    let device = spec["devices"]
        .as_array()
        .expect("devices")
        .iter()
        .find(|device| device["name"] == name);
    let nodes = device.unwrap_or_else(|| panic!("no {name}"))["containerEdits"]["deviceNodes"].as_array();
    nodes
        .into_iter()
        .flatten()
        .map(|node| node["path"].as_str().expect("path"))
        .collect()
}

fn failure(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    )
}

#[test]
fn each_mode_finds_its_devices() {
    let machine = Machine::without_driver("hgx-h100");
    for (mode, kind, count, first) in [
        ("gds", "nvidia.com/gds", 16, "/dev/nvidia-fs0"),
        ("mofed", "nvidia.com/mofed", 9, "/dev/infiniband/rdma_cm"),
        ("gdrcopy", "nvidia.com/gdrcopy", 1, "/dev/gdrdrv"),
        ("nvswitch", "nvidia.com/nvswitch", 5, "/dev/nvidia-nvswitch0"),
        (
            "imex",
            "nvidia.com/imex-channel",
            4,
            "/dev/nvidia-caps-imex-channels/channel0",
        ),
    ] {
        let spec = spec(&machine, &["--mode", mode]);
        assert_eq!(spec["kind"], kind);
        let nodes = nodes(&spec, "all");
        assert_eq!((nodes.len(), nodes[0]), (count, first), "{mode}: {nodes:?}");
        assert_eq!(spec.get("containerEdits"), None, "{mode}");
    }
    let gds = spec(&machine, &["--mode", "gds"]);
    let mounts = gds["devices"][0]["containerEdits"]["mounts"]
        .as_array()
        .expect("mounts");
    let paths: Vec<_> = mounts
        .iter()
        .map(|mount| mount["containerPath"].as_str().expect("path"))
        .collect();
    assert_eq!(paths, ["/run/udev", "/etc/cufile.json"]);
    let imex = spec(
        &machine,
        &["--mode=imex", "--device-id=channel3,1", "--no-all-device", "--class=x"],
    );
    assert_eq!(
        (names(&imex), &imex["kind"]),
        (vec!["1", "3"], &Value::from("nvidia.com/x"))
    );
}

#[test]
fn management_brings_every_node_of_the_driver() {
    let machine = Machine::without_driver("hgx-h100");
    machine.ok(&["sim", "mig", "0", "1g.10gb"]);
    let spec = spec(&machine, &["--mode", "management"]);
    assert_eq!(spec["kind"], "management.nvidia.com/gpu");
    assert_eq!(names(&spec), ["all"]);
    let nodes = nodes(&spec, "all");
    for node in [
        "/dev/nvidia7",
        "/dev/nvidiactl",
        "/dev/nvidia-uvm",
        "/dev/nvidia-caps/nvidia-cap1",
        "/dev/nvidia-caps-imex-channels/channel0",
    ] {
        assert!(nodes.contains(&node), "{node} in {nodes:?}");
    }
    assert!(
        !nodes
            .iter()
            .any(|node| node.contains("nvswitch") || node.contains("nvidia-fs"))
    );
    assert_eq!(spec["containerEdits"].get("deviceNodes"), None);
    let hook = spec["containerEdits"]["hooks"][0].to_string();
    assert!(!hook.contains("--no-device-node-modification") && hook.contains("libnvidia-ml.so.1"));
}

#[test]
fn what_a_mode_does_not_find_is_said() {
    let machine = Machine::without_driver("t4");
    for (arguments, code, text) in [
        (
            &["--mode=gds"][..],
            4,
            "nothing for --mode gds on this host: no /dev/nvidia-fs*; load the kernel module nvidia-fs",
        ),
        (&["--mode=wsl"], 5, "no libdxcore.so"),
        (&["--mode=csv"], 2, "csv is for Tegra"),
        (&["--device-id=9"], 4, "no GPU or MIG device '9'"),
        (&["--feature-flag=x"], 2, "--feature-flag does not take 'x'"),
    ] {
        let mut all = vec!["cdi", "generate"];
        all.extend(arguments);
        let (found, said) = failure(&machine.output(&all));
        assert_eq!((found, said.lines().count()), (Some(code), 1), "{arguments:?}: {said}");
        assert!(said.contains(text), "{said}");
    }
    let machine = Machine::without_driver("hgx-h100");
    let output = machine.output(&["cdi", "generate", "--mode=imex", "--device-id=7"]);
    assert_eq!(
        failure(&output),
        (
            Some(4),
            "nvbind: no GPU or MIG device '7' on this host: there are the IMEX channels 0, 1, 2, 3".into()
        )
    );
}

#[test]
fn the_toolkits_variables_are_heard_and_flags_win() {
    let machine = Machine::without_driver("t4");
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = machine.nvbind();
        command
            .args(["cdi", "generate"])
            .args(arguments)
            .envs(variables.iter().copied());
        let output = command.output().expect("nvbind");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output)
    };
    let variables = [
        ("NVIDIA_CTK_CDI_GENERATE_OUTPUT_FORMAT", "json"),
        ("NVIDIA_CTK_CDI_GENERATE_DEVICE_NAME_STRATEGIES", "type-index"),
        ("NVIDIA_CTK_CDI_GENERATE_DEVICE_IDS", "1,2"),
        ("NVIDIA_CTK_CDI_GENERATE_NO_ALL_DEVICE", "true"),
        ("NVIDIA_CTK_CDI_GENERATE_VENDOR", "example.com"),
        ("NVIDIA_CTK_CDI_GENERATE_CLASS", "g"),
        ("NVIDIA_CTK_CDI_GENERATE_DISABLED_HOOKS", "all"),
        ("NVIDIA_CTK_CDI_GENERATE_ENABLED_HOOKS", "create-symlinks"),
        (
            "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS",
            "disable-ipc-discoverer,no-additional-gids-for-device-nodes",
        ),
        ("NVIDIA_CTK_CDI_HOOK_PATH", "/opt/hook"),
        ("NVIDIA_CTK_CDI_OUTPUT_FILE_PATH", ""),
        ("NVIDIA_CTK_CDI_GENERATE_LIBRARY_SEARCH_PATHS", ""),
    ];
    let heard: Value = serde_json::from_str(&run(&variables, &[])).expect("JSON");
    assert_eq!(
        (&heard["kind"], names(&heard)),
        (&Value::from("example.com/g"), vec!["gpu1", "gpu2"])
    );
    let common = heard["containerEdits"].to_string();
    assert!(!common.contains("persistenced/socket") && !heard.to_string().contains("additionalGids"));
    let hook = &heard["containerEdits"]["hooks"][0];
    assert_eq!(hook["path"], "/opt/hook");
    let args = hook["args"].as_array().expect("args");
    assert!(
        args[2..]
            .iter()
            .all(|arg| arg.as_str().expect("text").contains("link="))
    );
    let flags = [
        "--format=json",
        "--device-id=all",
        "--device-name-strategy=index",
        "--vendor=nvidia.com",
        "--class=gpu",
    ];
    let won: Value = serde_json::from_str(&run(&variables, &flags)).expect("JSON");
    assert_eq!(
        (&won["kind"], names(&won)),
        (&Value::from("nvidia.com/gpu"), vec!["0", "1", "2", "3"])
    );
    // The toolkit's root counts where nothing of ours says otherwise: not on a simulated machine.
    run(&[("NVIDIA_CTK_DRIVER_ROOT", "/nowhere")], &[]);
    let root = machine.ok(&["sim", "path"]);
    let there = Command::new(env!("CARGO_BIN_EXE_nvbind"))
        .args(["cdi", "generate", "--mode=management", "--format=json"])
        .env("NVIDIA_CTK_DRIVER_ROOT", root.trim())
        .env_remove("NVBIND_SIM")
        .output()
        .expect("nvbind");
    assert!(
        stdout(&there).contains(&format!("{}/dev/nvidiactl", root.trim())),
        "{there:?}"
    );
}

#[test]
fn coherent_gpus_are_told_apart() {
    let machine = Machine::without_driver("t4");
    let folder = machine.dir().join("specs");
    std::fs::create_dir(&folder).expect("folder");
    let file = folder.join("nvidia.json");
    let path = file.display().to_string();
    machine.ok(&[
        "cdi",
        "generate",
        "--feature-flag=enable-coherent-annotations",
        "--output",
        &path,
    ]);
    let mut files: Vec<_> = folder
        .read_dir()
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["nvidia.json", "nvidia.noncoherent.json"]);
    let text = std::fs::read_to_string(folder.join("nvidia.noncoherent.json")).expect("spec");
    let part: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(part["kind"], "nvidia.com/gpu.noncoherent");
    assert_eq!(part["devices"][0]["annotations"]["gpu.nvidia.com/coherent"], "false");
    machine.ok(&[
        "cdi",
        "validate",
        &path,
        &folder.join("nvidia.noncoherent.json").display().to_string(),
    ]);
}

#[test]
fn a_spec_moves_to_another_root() {
    let machine = Machine::without_driver("t4");
    let root = machine.ok(&["sim", "path"]);
    let file = machine.dir().join("moved.json").display().to_string();
    let made = machine.ok(&["cdi", "generate"]);
    let mut child = machine
        .nvbind()
        .args([
            "cdi",
            "transform",
            "root",
            "--from",
            root.trim(),
            "--to",
            "/run/nvidia/driver",
            "--output",
            &file,
        ])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nvbind");
    child
        .stdin
        .take()
        .expect("stdin")
        .write_all(made.as_bytes())
        .expect("write");
    assert!(child.wait().expect("nvbind").success());
    let moved = std::fs::read_to_string(&file).expect("spec");
    assert!(!moved.contains(root.trim()) && moved.contains("\"/run/nvidia/driver/dev/nvidia0\""));
    let back = machine.ok(&[
        "cdi",
        "transform",
        "root",
        "--from=/run/nvidia/driver",
        "--to",
        root.trim(),
        "--input",
        &file,
    ]);
    assert_eq!(back, made);
    for (arguments, code) in [
        (&["--from", "x"][..], 2),
        (&["--from", "/x", "--relative-to", "moon"], 2),
        (&["--from", "/x", "--input", "/nowhere.json"], 4),
        (&["--from", "/x"], 4),
    ] {
        let mut command = machine.nvbind();
        command
            .args(["cdi", "transform", "root"])
            .args(arguments)
            .stdin(Stdio::null());
        let (found, said) = failure(&command.output().expect("nvbind"));
        assert_eq!((found, said.lines().count()), (Some(code), 1), "{arguments:?}: {said}");
    }
}

#[test]
fn no_specs_is_an_answer_with_advice() {
    let machine = Machine::without_driver("t4");
    let output = machine.output(&["cdi", "list"]);
    assert_eq!(stdout(&output), "");
    let (code, said) = failure(&output);
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");
    assert!(
        said.contains("no CDI specs in ") && said.contains("nvbind cdi generate --output "),
        "{said}"
    );
}

#[test]
fn a_container_in_wsl2_sees_the_gpu() {
    let machine = Machine::new("wsl2-rtx4070");
    let uuids = machine.uuids();
    assert_eq!(uuids.len(), 1);
    let rootfs = machine.rootfs();
    let listed = machine.ok(&[
        "run",
        "--runtime=native",
        "--gpu=0",
        "--rootfs",
        &rootfs,
        "--",
        "nvidia-smi",
        "-L",
    ]);
    assert_eq!(crate::support::listed_uuids(&listed), uuids, "{listed}");
    let node = machine.ok(&[
        "run",
        "--runtime=native",
        "--gpu=all",
        "--rootfs",
        &rootfs,
        "--",
        "sh",
        "-c",
        "ls -l /dev/dxg; ls /dev",
    ]);
    assert!(node.contains("10, 126") && !node.contains("nvidia"), "{node}");
}
