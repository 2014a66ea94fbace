//! `nvbind run --runtime native`: what a container sees, what it cannot reach, and how it ends.

use crate::support::{Machine, listed_uuids, stderr, stdout};
use nvbind_testkit::{Terminal, wait_until};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

#[test]
fn a_container_sees_the_gpus_it_was_given_and_no_others() {
    let machine = Machine::new("dgx-a100");
    let uuids = machine.uuids();
    assert_eq!(uuids.len(), 8);
    let listing = machine.ok(&[
        "run",
        "--gpu",
        "2,5",
        "--rootfs",
        &machine.rootfs(),
        "--",
        "nvidia-smi",
        "-L",
    ]);
    assert_eq!(
        listed_uuids(&listing),
        [uuids[2].clone(), uuids[5].clone()],
        "{listing}"
    );
    let nodes = machine.ok(&[
        "run",
        "--gpu",
        "2,5",
        "--rootfs",
        &machine.rootfs(),
        "--",
        "sh",
        "-c",
        "ls /dev | grep nvidia[0-9]",
    ]);
    let mut wanted = [2, 5].map(|index: usize| format!("nvidia{}", machine.minors()[index]));
    wanted.sort();
    assert_eq!(nodes.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn every_way_to_name_a_gpu_gives_that_gpu() {
    let machine = Machine::new("hgx-h100");
    let uuids = machine.uuids();
    let rootfs = machine.rootfs();
    let names = ["3", "gpu3", "gpu:3", "nvidia.com/gpu=3", &uuids[3], &uuids[3][..14]];
    for name in names {
        let listing = machine.ok(&["run", "--gpu", name, "--rootfs", &rootfs, "--", "nvidia-smi", "-L"]);
        assert_eq!(listed_uuids(&listing), [uuids[3].clone()], "--gpu {name}: {listing}");
    }
    let counts = [
        ("all", 8),
        ("count=2", 2),
        ("model=H100,count=3", 3),
        ("memory>=40GiB", 8),
        ("0,0,1", 2),
    ];
    for (name, count) in counts {
        let listing = machine.ok(&["run", "--gpu", name, "--rootfs", &rootfs, "--", "nvidia-smi", "-L"]);
        assert_eq!(listed_uuids(&listing).len(), count, "--gpu {name}: {listing}");
    }
}

#[test]
fn nvidia_smi_prints_the_given_gpus_in_all_its_forms() {
    let machine = Machine::new("hgx-h100");
    let uuids = machine.uuids();
    let rootfs = machine.rootfs();
    let run = |arguments: &[&str]| {
        let mut all = vec!["run", "--gpu", "1,6", "--rootfs", &rootfs, "--", "nvidia-smi"];
        all.extend(arguments);
        machine.ok(&all)
    };
    assert_eq!(run(&[]).matches("NVIDIA H100").count(), 2);
    let xml = run(&["-q", "-x"]);
    assert!(xml.contains("<attached_gpus>2</attached_gpus>"), "{xml}");
    let csv = run(&[
        "--query-gpu=index,uuid,name,memory.total,utilization.gpu",
        "--format=csv",
    ]);
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows[0], "index, uuid, name, memory.total [MiB], utilization.gpu [%]");
    assert!(
        rows[1].starts_with(&format!("0, {}", uuids[1])) && rows[2].starts_with(&format!("1, {}", uuids[6])),
        "{csv}"
    );
}

#[test]
fn a_gpu_that_was_not_given_cannot_be_opened_even_by_a_node_the_container_makes() {
    let machine = Machine::new("dgx-a100");
    let rootfs = machine.rootfs();
    // A simulated node has no driver behind it: opening one that is allowed gives ENXIO, a denied one EPERM.
    let (given, other) = (machine.minors()[2], machine.minors()[0]);
    let script = format!(
        "mknod /tmp/other c 195 {other}; mknod /tmp/given c 195 {given}; cat /tmp/given; cat /tmp/other; cat /dev/nvidia{given}"
    );
    let output = machine.output(&["run", "--gpu", "2", "--rootfs", &rootfs, "--", "sh", "-c", &script]);
    let said = stderr(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].contains("/tmp/given") && lines[0].contains("No such device"),
        "{said}"
    );
    assert!(
        lines[1].contains("/tmp/other") && lines[1].contains("Operation not permitted"),
        "{said}"
    );
    assert!(
        lines[2].contains("/dev/nvidia") && lines[2].contains("No such device"),
        "{said}"
    );
}

#[test]
fn no_gpu_is_given_unless_it_is_asked_for() {
    let machine = Machine::new("t4");
    let nodes = machine.ok(&[
        "run",
        "--rootfs",
        &machine.rootfs(),
        "--",
        "sh",
        "-c",
        "ls /dev; command -v nvidia-smi || true",
    ]);
    assert!(!nodes.contains("nvidia"), "{nodes}");
}

#[test]
fn capabilities_choose_the_driver_files() {
    let machine = Machine::new("rtx4090");
    let rootfs = machine.rootfs();
    let libraries = |capabilities: &str| {
        let arguments = [
            "run",
            "--gpu",
            "0",
            "--capabilities",
            capabilities,
            "--rootfs",
            &rootfs,
            "--",
            "ldconfig",
            "-p",
        ];
        machine.ok(&arguments)
    };
    let utility = libraries("utility");
    assert!(
        utility.contains("libnvidia-ml.so.1") && !utility.contains("libcuda.so.1"),
        "{utility}"
    );
    let compute = libraries("compute");
    assert!(
        compute.contains("libcuda.so.1") && !compute.contains("libGLX_nvidia.so.0"),
        "{compute}"
    );
    let graphics = libraries("graphics");
    assert!(graphics.contains("libGLX_nvidia.so.0"), "{graphics}");
}

#[test]
fn exit_codes_and_signals_pass_through() {
    let machine = Machine::new("t4");
    let rootfs = machine.rootfs();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("bash -c 'kill -TERM $$'; exit $?", 143),
    ] {
        let output = machine.output(&["run", "--gpu", "0", "--rootfs", &rootfs, "--", "bash", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", stderr(&output));
    }
    let missing = machine.output(&["run", "--rootfs", &rootfs, "--", "no-such-program"]);
    assert_eq!(missing.status.code(), Some(127), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("no-such-program"), "{}", stderr(&missing));

    // The first process of a container has no default actions: nvbind stands in for them.
    let mut plain = machine.nvbind();
    let mut plain = plain
        .args(["run", "--rootfs", &rootfs, "--", "sleep", "1000"])
        .spawn()
        .expect("start nvbind");
    wait_until("the container", || {
        machine.ok(&["ps", "--format", "json"]).contains("running")
    });
    nvbind_testkit::check(Command::new("kill").args(["-TERM", &plain.id().to_string()]));
    assert_eq!(plain.wait().expect("nvbind ends").code(), Some(143));

    let script = "trap 'echo got TERM; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = machine.nvbind();
    child
        .args(["run", "--gpu", "0", "--rootfs", &rootfs, "--", "bash", "-c", script])
        .stdout(Stdio::piped());
    let mut child = child.spawn().expect("start nvbind");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    let mut said = String::new();
    out.read_line(&mut said).expect("the first line");
    nvbind_testkit::check(Command::new("kill").args(["-TERM", &child.id().to_string()]));
    out.read_to_string(&mut said).expect("the rest");
    assert_eq!(said, "ready\ngot TERM\n");
    assert_eq!(child.wait().expect("nvbind ends").code(), Some(3));
}

#[test]
fn standard_input_reaches_the_container() {
    let machine = Machine::new("t4");
    let mut child = machine.nvbind();
    child
        .args(["run", "--rootfs", &machine.rootfs(), "--", "wc", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = child.spawn().expect("start nvbind");
    child
        .stdin
        .take()
        .expect("stdin")
        .write_all(&[b'x'; 100_000])
        .expect("write");
    let output = child.wait_with_output().expect("nvbind ends");
    assert_eq!(stdout(&output).trim(), "100000");
}

#[test]
fn a_terminal_is_one_and_follows_its_size() {
    let machine = Machine::new("t4");
    let mut command = machine.nvbind();
    let script = "test -t 0 && test -t 1 && stty size; read line; stty size; exit 9";
    command.args(["run", "--tty", "--rootfs", &machine.rootfs(), "--", "sh", "-c", script]);
    let mut terminal = Terminal::start(&command, 33, 101);
    terminal.expect("33 101");
    terminal.resize(20, 60);
    terminal.send("go\n");
    terminal.expect("20 60");
    let (status, _) = terminal.finish();
    assert_eq!(status.code(), Some(9));
}

#[test]
fn the_options_of_run_shape_the_container() {
    let machine = Machine::new("t4");
    let rootfs = machine.rootfs();
    let data = machine.dir().join("data");
    std::fs::create_dir(&data).expect("data");
    std::fs::write(data.join("in"), "from the host\n").expect("data");
    let volume = format!("{}:/data", data.display());
    let read_only = format!("{}:/fixed:ro", data.display());
    let script = "echo $HELLO; pwd; id -u; hostname; cat /data/in; echo out > /data/out; \
        echo no > /fixed/no 2>/dev/null || echo read-only; ls /sys/class/net";
    let text = machine.ok(&[
        "run",
        "--rootfs",
        &rootfs,
        "-e",
        "HELLO=there",
        "-w",
        "/usr",
        "-u",
        "0:0",
        "--hostname",
        "box",
        "-v",
        &volume,
        "-v",
        &read_only,
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(text, "there\n/usr\n0\nbox\nfrom the host\nread-only\nlo\n");
    assert_eq!(std::fs::read_to_string(data.join("out")).expect("out"), "out\n");
    let nobody = machine.ok(&["run", "--rootfs", &rootfs, "--user", "nobody", "--", "id", "-un"]);
    assert_eq!(nobody, "nobody\n");
    let sealed = machine.output(&[
        "run",
        "--rootfs",
        &rootfs,
        "--read-only",
        "--gpu",
        "0",
        "--",
        "sh",
        "-c",
        "touch /x || nvidia-smi -L",
    ]);
    assert!(
        stdout(&sealed).contains("UUID: GPU-") && stderr(&sealed).contains("Read-only"),
        "{}",
        stderr(&sealed)
    );
}

#[test]
fn a_read_only_volume_is_read_only_all_the_way_down() {
    let machine = Machine::new("t4");
    let below = machine.dir().join("data/below");
    std::fs::create_dir_all(&below).expect("data");
    nvbind_testkit::check(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&below));
    let volume = format!("{}:/data:ro", machine.dir().join("data").display());
    let arguments = [
        "run",
        "--rootfs",
        &machine.rootfs(),
        "-v",
        &volume,
        "--",
        "touch",
        "/data/below/x",
    ];
    let output = machine.output(&arguments);
    nvbind_testkit::check(Command::new("umount").arg(&below));
    assert!(
        !output.status.success() && stderr(&output).contains("Read-only"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn memory_and_cpu_limits_hold() {
    let machine = Machine::new("t4");
    let rootfs = machine.rootfs();
    let limits = ["--memory", "64MiB", "--cpus", "0.5", "--rootfs", &rootfs, "--"];
    let hog = ["bash", "-c", "x=$(head -c 200M /dev/zero | tr '\\0' x); echo survived"];
    let output = machine.output(&[&["run"], &limits[..], &hog].concat());
    assert!(
        !output.status.success() && !stdout(&output).contains("survived"),
        "{}",
        stderr(&output)
    );
    machine.ok(&[&["run", "--detach"], &limits[..], &["sleep", "1000"]].concat());
    let listed: Value = serde_json::from_str(&machine.ok(&["ps", "--format", "json"])).expect("ps prints JSON");
    let cgroups = std::fs::read_to_string(format!("/proc/{}/cgroup", listed[0]["pid"])).expect("cgroup");
    let limit = |controller: &str, file: &str| {
        let line = cgroups.lines().find(|line| {
            line.split(':')
                .nth(1)
                .is_some_and(|names| names.split(',').any(|name| name == controller))
        });
        let folder = line.and_then(|line| line.split(':').nth(2)).expect("controller");
        std::fs::read_to_string(format!("/sys/fs/cgroup/{controller}{folder}/{file}")).expect("limit")
    };
    assert_eq!(limit("memory", "memory.limit_in_bytes").trim(), (64 << 20).to_string());
    assert_eq!(limit("cpu", "cpu.cfs_quota_us").trim(), "50000");
}

#[test]
fn a_detached_container_is_listed_read_stopped_and_removed() {
    let machine = Machine::new("l40s");
    let rootfs = machine.rootfs();
    let script = "nvidia-smi -L; while :; do sleep 0.1; done";
    machine.ok(&[
        "run", "--detach", "--name", "worker", "--gpu", "1", "--rootfs", &rootfs, "--", "bash", "-c", script,
    ]);
    let listed: Value = serde_json::from_str(&machine.ok(&["ps", "--format", "json"])).expect("ps prints JSON");
    let row = &listed.as_array().expect("rows")[0];
    assert_eq!(
        (row["name"].as_str(), row["status"].as_str()),
        (Some("worker"), Some("running")),
        "{listed}"
    );
    assert_eq!(
        row["devices"][0].as_str(),
        Some(machine.uuids()[1].as_str()),
        "{listed}"
    );
    wait_until("the container's log", || {
        machine.ok(&["logs", "worker"]).contains("UUID")
    });
    let again = machine.output(&["run", "--name", "worker", "--rootfs", &rootfs, "--", "true"]);
    assert_eq!(again.status.code(), Some(2), "{}", stderr(&again));
    assert!(stderr(&again).contains("worker"), "{}", stderr(&again));
    machine.ok(&["stop", "--time", "1", "worker"]);
    machine.ok(&["rm", "worker"]);
    assert_eq!(machine.ok(&["ps", "--all", "--format", "json"]).trim(), "[]");
    let gone = machine.output(&["logs", "worker"]);
    assert_eq!(gone.status.code(), Some(4), "{}", stderr(&gone));
}

#[test]
fn an_exclusive_gpu_is_not_given_twice() {
    let machine = Machine::new("l40s");
    let rootfs = machine.rootfs();
    let arguments = [
        "run",
        "--detach",
        "--name",
        "owner",
        "--isolation",
        "exclusive",
        "--gpu",
        "0",
        "--rootfs",
        &rootfs,
        "--",
        "sleep",
        "1000",
    ];
    machine.ok(&arguments);
    let second = machine.output(&["run", "--gpu", "0", "--rootfs", &rootfs, "--", "true"]);
    assert_eq!(second.status.code(), Some(1), "{}", stderr(&second));
    assert!(stderr(&second).contains("owner"), "{}", stderr(&second));
    machine.ok(&["run", "--gpu", "1", "--rootfs", &rootfs, "--", "true"]);
    machine.ok(&["rm", "--force", "owner"]);
    machine.ok(&["run", "--gpu", "0", "--rootfs", &rootfs, "--", "true"]);
}

#[test]
fn a_mig_device_is_given_by_name_and_by_uuid() {
    let machine = Machine::new("hgx-h100");
    let rootfs = machine.rootfs();
    machine.ok(&["sim", "mig", "0", "3g.40gb", "1g.10gb"]);
    let info: Value = serde_json::from_str(&machine.ok(&["info", "--format", "json"])).expect("JSON");
    let uuid = info["gpus"][0]["mig"]["devices"][1]["uuid"]
        .as_str()
        .expect("MIG uuid")
        .to_owned();
    for name in ["0:1", &uuid] {
        let listing = machine.ok(&["run", "--gpu", name, "--rootfs", &rootfs, "--", "nvidia-smi", "-L"]);
        assert!(
            listing.contains(&uuid) && listing.matches("UUID: MIG-").count() == 1,
            "--gpu {name}: {listing}"
        );
    }
    let whole = machine.output(&["run", "--gpu", "0", "--rootfs", &rootfs, "--", "true"]);
    assert_ne!(whole.status.code(), Some(0));
    assert!(stderr(&whole).contains("MIG"), "{}", stderr(&whole));
}

#[test]
fn what_an_image_requires_is_checked() {
    let machine = Machine::new("hgx-h100");
    let rootfs = machine.rootfs();
    let run = |gpu: &str, requirement: &str| {
        let requirement = format!("NVIDIA_REQUIRE_CUDA={requirement}");
        machine.output(&[
            "run",
            "--gpu",
            gpu,
            "--env",
            &requirement,
            "--rootfs",
            &rootfs,
            "--",
            "true",
        ])
    };
    for met in ["cuda>=12.0", "arch>=9.0,driver>=535", "cuda>=99 brand=nvidia"] {
        let output = run("0", met);
        assert!(output.status.success(), "{met}: {}", stderr(&output));
    }
    let output = run("0", "cuda>=99");
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("NVIDIA_REQUIRE_CUDA=cuda>=99 is not met: cuda is 12."),
        "{}",
        stderr(&output)
    );
    // Without a GPU nothing is required of it.
    assert!(run("none", "cuda>=99").status.success());
}
