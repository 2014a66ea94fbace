//! The same through the engines that people have: runc, docker, podman and containerd, each started for real.

use crate::support::{Machine, companions, listed_uuids, stderr, stdout};
use nvbind_testkit::{Containerd, Dockerd, DockerdOptions, PodmanEnv, Terminal, check, debian_rootfs};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Lists the GPUs, then makes the node of one that was not given and opens it.
fn see(machine: &Machine) -> String {
    format!(
        "nvidia-smi -L; mknod /tmp/other c 195 {} && cat /tmp/other",
        machine.minors()[7]
    )
}

/// Two GPUs and no others, and the node of another cannot be opened.
fn assert_two_of_eight(machine: &Machine, output: &Output) {
    let uuids = machine.uuids();
    assert_eq!(
        listed_uuids(&stdout(output)),
        [uuids[1].clone(), uuids[4].clone()],
        "{}{}",
        stdout(output),
        stderr(output)
    );
    assert!(stderr(output).contains("Operation not permitted"), "{}", stderr(output));
}

#[test]
fn runc_with_the_shim() {
    let machine = Machine::new("dgx-a100");
    machine.cdi_spec();
    let bundle = machine.dir().join("bundle");
    let rootfs = machine.rootfs();
    let run = |arguments: &[&str], devices: &str, id: &str| {
        write_bundle(&bundle, &rootfs, arguments, devices);
        let mut command = Command::new(companions().0);
        command
            .envs(machine.vars())
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(id);
        command
    };
    let output = run(&["sh", "-c", &see(&machine)], "1,4", "nvbind-it-runc")
        .output()
        .expect("nvbind-runtime");
    assert_two_of_eight(&machine, &output);
    let code = run(&["sh", "-c", "exit 7"], "all", "nvbind-it-code")
        .status()
        .expect("nvbind-runtime");
    assert_eq!(code.code(), Some(7));
    let mut cat = run(&["cat"], "0", "nvbind-it-cat");
    let mut cat = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nvbind-runtime");
    cat.stdin.take().expect("stdin").write_all(b"through\n").expect("write");
    assert_eq!(stdout(&cat.wait_with_output().expect("cat")), "through\n");
    for void in ["", "void"] {
        let output = run(&["sh", "-c", "ls /dev"], void, "nvbind-it-void")
            .output()
            .expect("nvbind-runtime");
        assert!(
            output.status.success() && !stdout(&output).contains("nvidia"),
            "{}{}",
            stdout(&output),
            stderr(&output)
        );
    }
    let none = run(&["sh", "-c", "ls /dev /usr/bin/nvidia-smi"], "none", "nvbind-it-none")
        .output()
        .expect("nvbind-runtime");
    assert!(
        stdout(&none).contains("/usr/bin/nvidia-smi") && !stdout(&none).contains("nvidia0"),
        "{}{}",
        stdout(&none),
        stderr(&none)
    );
}

fn write_bundle(bundle: &Path, rootfs: &str, arguments: &[&str], devices: &str) {
    let _ = std::fs::remove_dir_all(bundle);
    std::fs::create_dir_all(bundle).expect("bundle");
    check(Command::new("runc").arg("spec").current_dir(bundle));
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect("config.json")).expect("JSON");
    config["root"] = json!({ "path": rootfs, "readonly": false });
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(arguments);
    let set = [&config["process"]["capabilities"]["bounding"], &json!(["CAP_MKNOD"])];
    let capabilities: Vec<Value> = set
        .iter()
        .flat_map(|list| list.as_array().cloned().unwrap_or_default())
        .collect();
    for kind in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][kind] = json!(capabilities);
    }
    let environment = config["process"]["env"].as_array_mut().expect("env");
    environment.push(json!(format!("NVIDIA_VISIBLE_DEVICES={devices}")));
    std::fs::write(&path, config.to_string()).expect("config.json");
}

fn dockerd(machine: &Machine) -> Dockerd {
    machine.cdi_spec();
    let env = machine
        .vars()
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let daemon = Dockerd::start(&DockerdOptions {
        runtimes: vec![("nvbind".into(), companions().0)],
        default_runtime: None,
        env,
    });
    daemon.import(&debian_rootfs(), "debian:nvbind");
    daemon
}

#[test]
fn docker_with_the_runtime() {
    let machine = Machine::new("dgx-a100");
    let daemon = dockerd(&machine);
    let docker = |arguments: &[&str], devices: &str| {
        let mut command = daemon.client();
        command
            .args(["run", "--rm", "--network=none", "--runtime=nvbind", "-e"])
            .arg(format!("NVIDIA_VISIBLE_DEVICES={devices}"));
        command.args(arguments);
        command
    };
    let output = docker(&["debian:nvbind", "sh", "-c", &see(&machine)], "1,4")
        .output()
        .expect("docker");
    assert_two_of_eight(&machine, &output);
    assert_eq!(
        docker(&["debian:nvbind", "sh", "-c", "exit 7"], "0")
            .status()
            .expect("docker")
            .code(),
        Some(7)
    );
    let mut cat = docker(&["-i", "debian:nvbind", "wc", "-c"], "0");
    let mut cat = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker");
    cat.stdin
        .take()
        .expect("stdin")
        .write_all(&[b'x'; 70_000])
        .expect("write");
    assert_eq!(stdout(&cat.wait_with_output().expect("cat")).trim(), "70000");
    let mut terminal = Terminal::start(
        &docker(
            &["-it", "debian:nvbind", "sh", "-c", "test -t 0 && nvidia-smi -L; exit 5"],
            "2",
        ),
        24,
        80,
    );
    terminal.expect(&machine.uuids()[2]);
    assert_eq!(terminal.finish().0.code(), Some(5));
    let unknown = docker(&["debian:nvbind", "true"], "99").output().expect("docker");
    assert!(
        !unknown.status.success() && stderr(&unknown).contains("99"),
        "{}",
        stderr(&unknown)
    );
}

#[test]
fn nvbind_run_with_docker() {
    let machine = Machine::new("dgx-a100");
    let daemon = dockerd(&machine);
    let nvbind = |arguments: &[&str]| {
        let mut command = machine.nvbind();
        command
            .env("DOCKER_HOST", daemon.host())
            .args(["run", "--runtime", "docker"])
            .args(arguments);
        command
    };
    let output = nvbind(&["--gpu", "1,4", "debian:nvbind", "--", "sh", "-c", &see(&machine)])
        .output()
        .expect("nvbind");
    assert_two_of_eight(&machine, &output);
    assert_eq!(
        nvbind(&["--gpu", "0", "debian:nvbind", "--", "sh", "-c", "exit 7"])
            .status()
            .expect("nvbind")
            .code(),
        Some(7)
    );
    let missing = nvbind(&["--gpu", "0", "no-such-image:1", "--", "true"])
        .output()
        .expect("nvbind");
    assert_eq!(missing.status.code(), Some(4), "{}", stderr(&missing));
}

#[test]
fn podman_with_the_spec() {
    let machine = Machine::new("dgx-a100");
    let podman = PodmanEnv::new();
    podman.import(&debian_rootfs(), "debian:nvbind");
    // Podman of Debian 12 looks in /etc/cdi and /var/run/cdi and nowhere else: a vendor of the test's own keeps the names apart.
    let vendor = format!("test{}.nvbind.io", std::process::id());
    let spec = Removed(format!("/var/run/cdi/nvbind-it-{}.yaml", std::process::id()));
    std::fs::create_dir_all("/var/run/cdi").expect("/var/run/cdi");
    machine.ok(&[
        "cdi",
        "generate",
        "--cdi-version",
        "0.5.0",
        "--vendor",
        &vendor,
        "--output",
        &spec.0,
    ]);
    let run = |arguments: &[&str]| {
        let mut command = podman.podman();
        command
            .args(["run", "--rm", "--cap-add=MKNOD"])
            .arg(format!("--device={vendor}/gpu=1"))
            .arg(format!("--device={vendor}/gpu=4"));
        command.args(arguments);
        command
    };
    let output = run(&["debian:nvbind", "sh", "-c", &see(&machine)])
        .output()
        .expect("podman");
    assert_two_of_eight(&machine, &output);
    assert_eq!(
        run(&["debian:nvbind", "sh", "-c", "exit 7"])
            .status()
            .expect("podman")
            .code(),
        Some(7)
    );
    let mut cat = run(&["-i", "debian:nvbind", "wc", "-c"]);
    let mut cat = cat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("podman");
    cat.stdin
        .take()
        .expect("stdin")
        .write_all(&[b'x'; 70_000])
        .expect("write");
    assert_eq!(stdout(&cat.wait_with_output().expect("cat")).trim(), "70000");
}

struct Removed(String);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn nvbind_run_with_podman() {
    let machine = Machine::new("dgx-a100");
    let podman = PodmanEnv::new();
    podman.import(&debian_rootfs(), "debian:nvbind");
    let nvbind = |arguments: &[&str]| {
        let mut command = machine.nvbind();
        command
            .envs(podman.vars())
            .args(["run", "--runtime", "podman"])
            .args(arguments);
        command
    };
    let output = nvbind(&["--gpu", "1,4", "debian:nvbind", "--", "nvidia-smi", "-L"])
        .output()
        .expect("nvbind");
    let uuids = machine.uuids();
    assert_eq!(
        listed_uuids(&stdout(&output)),
        [uuids[1].clone(), uuids[4].clone()],
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    assert_eq!(
        nvbind(&["--gpu", "0", "debian:nvbind", "--", "sh", "-c", "exit 7"])
            .status()
            .expect("nvbind")
            .code(),
        Some(7)
    );
}

#[test]
fn nvbind_run_with_containerd() {
    let machine = Machine::new("dgx-a100");
    let daemon = Containerd::start("version = 2\n", &[]);
    daemon.import(&debian_rootfs(), "docker.io/library/debian:nvbind");
    let nvbind = |arguments: &[&str]| {
        let mut command = machine.nvbind();
        command.envs(daemon.vars()).args(arguments);
        command
    };
    let run = |arguments: &[&str]| nvbind(&[&["run", "--runtime", "containerd"], arguments].concat());
    let output = run(&["--gpu", "1,4", "debian:nvbind", "--", "sh", "-c", &see(&machine)])
        .output()
        .expect("nvbind");
    assert_two_of_eight(&machine, &output);
    let mut code = run(&["--gpu", "0", "debian:nvbind", "--", "sh", "-c", "exit 7"]);
    assert_eq!(code.status().expect("nvbind").code(), Some(7));

    let script = "nvidia-smi -L; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    check(&mut run(&[
        "-d",
        "--name",
        "job",
        "--isolation",
        "exclusive",
        "--gpu",
        "2",
        "debian:nvbind",
        "--",
        "sh",
        "-c",
        script,
    ]));
    let said = || check(&mut nvbind(&["logs", "job"]));
    nvbind_testkit::wait_until("nvidia-smi", || said().contains(&machine.uuids()[2]));
    let taken = run(&["--gpu", "2", "debian:nvbind", "--", "true"])
        .output()
        .expect("nvbind");
    assert!(!taken.status.success(), "the GPU is taken");
    assert!(check(&mut nvbind(&["ps"])).contains("containerd"));
    check(&mut nvbind(&["stop", "--time", "120", "job"]));
    let rows: Value = serde_json::from_str(&check(&mut nvbind(&["ps", "--all", "--format", "json"]))).expect("JSON");
    assert_eq!(rows[0]["exit_code"], 3, "{rows}");
    check(&mut nvbind(&["rm", "job"]));
    assert_eq!(check(daemon.ctr().args(["container", "ls", "-q"])), "");
}
