//! `nvbind doctor`: troubles made on a simulated machine are seen, explained and, where that is safe, mended.

use crate::support::{Machine, stderr, stdout};
use crate::watch::updatable;
use nvbind_testkit::{check, temp_dir};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A report: what was found, and the exit code.
struct Report {
    json: Value,
    code: i32,
}

impl Report {
    fn of(output: &Output) -> Self {
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)));
        Self {
            json,
            code: output.status.code().expect("exit code"),
        }
    }

    /// The messages of a check, at that level.
    fn messages(&self, name: &str, level: &str) -> Vec<&str> {
        let findings = self.json["findings"].as_array().expect("findings");
        findings
            .iter()
            .filter(|finding| finding["check"] == name && finding["level"] == level)
            .map(|finding| finding["message"].as_str().expect("message"))
            .collect()
    }

    #[track_caller]
    fn assert_trouble(&self, name: &str, word: &str) {
        let found = self.messages(name, "trouble");
        assert!(
            found.iter().any(|message| message.contains(word)),
            "no trouble {name} with '{word}' in {:#}",
            self.json
        );
        assert_eq!(self.code, 1, "{:#}", self.json);
    }

    #[track_caller]
    fn assert_well(&self) {
        assert_eq!(self.code, 0, "{:#}", self.json);
        assert!(
            self.json["verdict"] == "ok" || self.json["verdict"] == "advice",
            "{:#}",
            self.json
        );
        assert_eq!(self.json["exit_code"], 0);
    }
}

/// A machine whose `/etc`, `/run` and processes are not those of the machine that runs the tests.
struct Patient {
    machine: Machine,
    host: PathBuf,
}

impl Patient {
    fn new(profile: &'static str) -> Self {
        let machine = Machine::new(profile);
        let host = machine.dir().join("host");
        fs::create_dir_all(host.join("etc/cdi")).expect("folder");
        Self { machine, host }
    }

    fn root(&self) -> PathBuf {
        self.machine.ok(&["sim", "path"]).trim().into()
    }

    fn spec(&self) -> PathBuf {
        self.host.join("etc/cdi/nvidia.json")
    }

    fn generate(&self) {
        let spec = self.spec().display().to_string();
        self.machine.ok(&["cdi", "generate", "--output", &spec]);
    }

    fn nvbind(&self, options: &[&str]) -> Command {
        let mut command = self.machine.nvbind();
        command.env("NVBIND_CDI_SPEC_DIRS", "/etc/cdi,/var/run/cdi");
        command
            .args(["doctor", "--format", "json", "--host-root"])
            .arg(&self.host)
            .args(options);
        command
    }

    fn examine(&self) -> Report {
        Report::of(&self.nvbind(&[]).output().expect("nvbind"))
    }

    fn fix(&self) -> Report {
        Report::of(&self.nvbind(&["--fix"]).output().expect("nvbind"))
    }
}

#[test]
fn a_healthy_machine_is_well_in_every_format() {
    for profile in ["dgx-a100", "hgx-h100", "rtx4090", "wsl2-rtx4070"] {
        let patient = Patient::new(profile);
        patient.generate();
        let report = patient.examine();
        report.assert_well();
        assert_eq!(report.messages("specs", "ok").len(), 1, "{:#}", report.json);
    }
    let patient = Patient::new("t4");
    let text = |format: &str| {
        let mut command = patient.machine.nvbind();
        command
            .args(["doctor", "--format", format, "--host-root"])
            .arg(&patient.host);
        check(&mut command)
    };
    assert!(
        text("table")
            .trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("Well"))
    );
    assert!(text("yaml").contains("exit_code: 0"));
}

#[test]
fn missing_nodes_are_seen_and_made() {
    let patient = Patient::new("hgx-h100");
    patient.machine.ok(&["sim", "mig", "0", "3g.40gb"]);
    let root = patient.root();
    let caps = root.join("dev/nvidia-caps");
    let cap = fs::read_dir(&caps)
        .expect("caps")
        .map(|entry| entry.expect("entry").path())
        .max()
        .expect("a node");
    for node in [root.join("dev/nvidia-uvm"), cap.clone()] {
        fs::remove_file(node).expect("rm");
    }
    let report = patient.examine();
    report.assert_trouble("nodes.missing", "error 999");
    report.assert_trouble("nodes.missing", "MIG");
    let report = patient.fix();
    report.assert_well();
    assert!(
        report.json["mended"][0]
            .as_str()
            .is_some_and(|line| line.contains("/dev/nvidia-uvm"))
    );
    assert!(root.join("dev/nvidia-uvm").exists() && cap.exists());
    patient.examine().assert_well();
}

#[test]
fn links_by_number_are_made_where_systemd_is() {
    let patient = Patient::new("t4");
    patient.examine().assert_well();
    fs::create_dir_all(patient.host.join("run/systemd/system")).expect("folder");
    patient.examine().assert_trouble("nodes.links", "daemon-reload");
    patient.fix().assert_well();
    let link = fs::read_link(patient.root().join("dev/char/195:0")).expect("link");
    assert_eq!(link, Path::new("../nvidia0"));
}

#[test]
fn a_spec_that_is_out_of_date_is_seen_and_written_again() {
    let patient = Patient::new("hgx-h100");
    patient.generate();
    patient.examine().assert_well();
    patient.machine.ok(&["sim", "mig", "0", "3g.40gb", "1g.10gb"]);
    patient.examine().assert_trouble("specs.stale", "out of date");
    let report = patient.fix();
    report.assert_well();
    let text = fs::read_to_string(patient.spec()).expect("spec");
    assert!(text.contains("\"0:0\"") && text.contains("\"0:1\""), "{text}");
}

#[test]
fn two_copies_of_a_spec_are_advised_on_and_left_alone() {
    let patient = Patient::new("t4");
    patient.generate();
    let copy = patient.host.join("var/run/cdi/nvidia.json");
    fs::create_dir_all(copy.parent().expect("parent")).expect("folder");
    fs::copy(patient.spec(), &copy).expect("copy");
    patient.examine().assert_trouble("specs.duplicate", "the second counts");
    patient.fix().assert_trouble("specs.duplicate", "the second counts");
    assert!(patient.spec().exists() && copy.exists());
}

#[test]
fn specs_that_are_not_believed_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let patient = Patient::new("t4");
    patient.generate();
    fs::set_permissions(patient.spec(), fs::Permissions::from_mode(0o666)).expect("chmod");
    patient.examine().assert_trouble("specs.unreadable", "chmod go-w");
    fs::remove_file(patient.spec()).expect("rm");
    fs::write(patient.spec(), "{ half").expect("write");
    patient.examine().assert_trouble("specs.unreadable", "generate it anew");
}

#[test]
fn lost_gpus_and_memory_errors_are_told() {
    let patient = Patient::new("dgx-a100");
    patient.machine.ok(&["sim", "lose", "4"]);
    patient
        .machine
        .ok(&["sim", "set", "2", "ecc-uncorrected=3", "persistence=off"]);
    patient.machine.ok(&["sim", "xid", "1", "13"]);
    let report = patient.examine();
    report.assert_trouble("gpus.lost", "GPU 4");
    report.assert_trouble("gpus.xid", "Xid 79");
    report.assert_trouble("gpus.ecc", "GPU 2 had 3");
    assert_eq!(report.messages("gpus.persistence", "advice").len(), 1);
    assert_eq!(
        report.messages("gpus.xid", "advice").len(),
        1,
        "Xid 13 is an application's own"
    );
    // The DGX counts its GPUs in another order than its nodes.
    assert_eq!(report.messages("gpus.order", "advice").len(), 1);
}

#[test]
fn a_driver_whose_module_and_libraries_differ() {
    let patient = Patient::new("t4");
    let version = patient.root().join("proc/driver/nvidia/version");
    let text = fs::read_to_string(&version).expect("version");
    fs::write(&version, text.replace("535.", "550.")).expect("write");
    patient
        .examine()
        .assert_trouble("driver.versions", "the old module is still loaded");
}

#[test]
fn no_driver_is_exit_code_5() {
    let dir = temp_dir("bare");
    for folder in ["proc", "sys", "dev"] {
        fs::create_dir_all(dir.path().join(folder)).expect("folder");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
    command
        .env_remove("NVBIND_SIM")
        .env("NVBIND_STATE_DIR", dir.path().join("state"))
        .env("NVBIND_HOST_DRIVER_ROOT", dir.path())
        .env("NVBIND_HOST_PROC_ROOT", dir.path().join("proc"))
        .env("NVBIND_HOST_SYS_ROOT", dir.path().join("sys"));
    let report = Report::of(&command.args(["doctor", "--format", "json"]).output().expect("nvbind"));
    assert_eq!(
        (report.code, report.json["verdict"].as_str()),
        (5, Some("unable")),
        "{:#}",
        report.json
    );
}

#[test]
fn a_spec_too_new_for_the_podman_of_this_machine() {
    let machine = Machine::new("t4");
    let spec = machine.cdi_spec();
    let report = || Report::of(&machine.output(&["doctor", "--format", "json"]));
    // Debian 12's podman reads 0.5.0; the display nodes' group makes the spec 0.7.0.
    report().assert_trouble("specs.version", "podman 4.3.1 reads up to 0.5.0");
    machine.ok(&[
        "cdi",
        "generate",
        "--cdi-version",
        "0.5.0",
        "--output",
        &spec.display().to_string(),
    ]);
    assert!(report().messages("specs.version", "trouble").is_empty());
}

#[test]
fn a_running_container_that_lost_its_gpu_or_is_of_another_driver() {
    let machine = Machine::new("l40s");
    let rootfs = machine.rootfs();
    machine.ok(&[
        "run", "--detach", "--name", "patient", "--gpu", "1", "--rootfs", &rootfs, "--", "sleep", "600",
    ]);
    let listed: Value = serde_json::from_str(&machine.ok(&["ps", "--format", "json"])).expect("JSON");
    let pid = listed[0]["pid"].as_u64().expect("pid");
    let of_container = |report: &Report, name: &str| {
        let word = format!("process {pid}");
        report
            .messages(name, "trouble")
            .iter()
            .any(|message| message.contains(&word))
    };
    let report = Report::of(&machine.output(&["doctor", "--format", "json"]));
    assert!(!of_container(&report, "containers.devices") && !of_container(&report, "containers.driver"));

    let dir = temp_dir("other-driver");
    let other = updatable(dir.path(), "550.163.01")
        .args(["doctor", "--format", "json"])
        .output()
        .expect("nvbind");
    assert!(of_container(&Report::of(&other), "containers.driver"));

    // What a manager does that applies its own list of devices again.
    let cgroup = listed[0]["cgroup"].as_str().expect("cgroup");
    let folder = format!("/sys/fs/cgroup/devices{cgroup}");
    let rules = fs::read_to_string(format!("{folder}/devices.list")).expect("this test needs cgroup v1");
    for rule in rules.lines().filter(|rule| rule.starts_with("c 195:")) {
        fs::write(format!("{folder}/devices.deny"), rule).expect("deny");
    }
    let report = Report::of(&machine.output(&["doctor", "--format", "json"]));
    assert!(of_container(&report, "containers.devices"), "{:#}", report.json);
    machine.ok(&["rm", "--force", "patient"]);
}

#[test]
fn an_ordinary_user_is_told_what_rootless_containers_need() {
    use std::os::unix::fs::PermissionsExt;
    let patient = Patient::new("t4");
    let root = patient.root();
    for (file, text) in [
        ("etc/passwd", "eve:x:65534:65534::/:/bin/sh\n"),
        ("etc/subuid", "eve:100000:65536\n"),
        ("etc/subgid", ""),
        ("usr/bin/newuidmap", ""),
    ] {
        let path = patient.host.join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, text).expect("write");
    }
    // The build's own folder may be closed to others, so the program goes along.
    let program = patient.machine.dir().join("nvbind");
    fs::copy(env!("CARGO_BIN_EXE_nvbind"), &program).expect("copy");
    fs::set_permissions(patient.machine.dir(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let examine = || {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["doctor", "--format", "json", "--host-root"])
            .arg(&patient.host);
        command
            .env_remove("NVBIND_SIM")
            .env("HOME", &patient.host)
            .env("NVBIND_HOST_DRIVER_ROOT", &root)
            .env("NVBIND_HOST_PROC_ROOT", root.join("proc"))
            .env("NVBIND_HOST_SYS_ROOT", root.join("sys"));
        Report::of(&command.output().expect("setpriv"))
    };
    let report = examine();
    let ranges = report.messages("rights.ranges", "advice");
    assert!(
        ranges.len() == 1 && ranges[0].contains("/etc/subgid has no range for eve"),
        "{:#}",
        report.json
    );
    assert!(
        report.messages("rights.nodes", "trouble").is_empty(),
        "{:#}",
        report.json
    );
    fs::set_permissions(root.join("dev/nvidiactl"), fs::Permissions::from_mode(0o660)).expect("chmod");
    examine().assert_trouble("rights.nodes", "/dev/nvidiactl");
}
