//! Bad input: one clear line, the right exit code, nothing changed.

use crate::support::{Machine, companions, stderr, stdout};
use nvbind_testkit::{check, temp_dir};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// One line on standard error that names the thing, the exit code, and nothing on standard output.
fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "one line, not: {said}");
    assert!(said.starts_with("nvbind: "), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' is not in: {said}");
    }
    assert_eq!(stdout(output), "");
}

fn listing(dir: &Path) -> String {
    check(
        Command::new("find")
            .arg(dir)
            .args(["-xdev", "-not", "-path", "*/state/*", "-printf", "%p %m %s %T@\n"]),
    )
}

#[test]
fn run_refuses_and_changes_nothing() {
    let machine = Machine::new("l40s");
    let rootfs = machine.rootfs();
    machine.ok(&["run", "--gpu", "0", "--rootfs", &rootfs, "--", "true"]);
    let before = listing(machine.dir());
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["--gpu", "9", "--rootfs", &rootfs, "--", "true"], 4, &["9", "0"]),
        (
            &[
                "--gpu",
                "GPU-00000000-1111-2222-3333-444444444444",
                "--rootfs",
                &rootfs,
                "--",
                "true",
            ],
            4,
            &["GPU-00000000"],
        ),
        (&["--gpu", "0:1", "--rootfs", &rootfs, "--", "true"], 4, &["0:1"]),
        (&["--gpu", "count=99", "--rootfs", &rootfs, "--", "true"], 4, &["99"]),
        (
            &["--gpu", "model=B200", "--rootfs", &rootfs, "--", "true"],
            4,
            &["B200", "L40S"],
        ),
        (
            &["--gpu", "colour=red", "--rootfs", &rootfs, "--", "true"],
            2,
            &["colour"],
        ),
        (
            &["--gpu", "memory>=lots", "--rootfs", &rootfs, "--", "true"],
            2,
            &["lots"],
        ),
        (
            &["--gpuu", "0", "--rootfs", &rootfs, "--", "true"],
            2,
            &["--gpuu", "--gpu"],
        ),
        (
            &["--runtime", "dokcer", "--rootfs", &rootfs, "--", "true"],
            2,
            &["dokcer"],
        ),
        (
            &["--capabilities", "computer", "--rootfs", &rootfs, "--", "true"],
            2,
            &["computer"],
        ),
        (&["--memory", "much", "--rootfs", &rootfs, "--", "true"], 2, &["much"]),
        (
            &["--volume", "/tmp:/proc", "--rootfs", &rootfs, "--", "true"],
            2,
            &["/tmp:/proc"],
        ),
        (
            &["--volume", "/no/such/folder:/data", "--rootfs", &rootfs, "--", "true"],
            4,
            &["/no/such/folder"],
        ),
        (
            &["--user", "nosuchuser", "--rootfs", &rootfs, "--", "true"],
            2,
            &["nosuchuser"],
        ),
        (&["--rootfs", "/no/such/root", "--", "true"], 4, &["/no/such/root"]),
        (&["--rootfs", "/etc/hostname", "--", "true"], 2, &["/etc/hostname"]),
        (&["/no/such/image.tar", "--", "true"], 4, &["/no/such/image.tar"]),
        (&["--runtime", "docker", "debian:12", "--", "true"], 5, &["docker"]),
    ];
    for (arguments, code, words) in cases {
        let mut command = machine.nvbind();
        command
            .env("DOCKER_HOST", "unix:///no/such/docker.sock")
            .arg("run")
            .args(*arguments);
        let output = command.output().expect("nvbind");
        assert_refused(&output, *code, words);
    }
    assert_eq!(listing(machine.dir()), before);
    assert_eq!(machine.ok(&["ps", "--all", "--format", "json"]).trim(), "[]");
}

#[test]
fn other_commands_refuse_in_a_line() {
    let machine = Machine::new("t4");
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["inof"], 2, &["inof", "info"]),
        (&["info", "--format", "xml"], 2, &["xml"]),
        (&["stop", "nothing-of-that-name"], 4, &["nothing-of-that-name"]),
        (&["rm", "nothing-of-that-name"], 4, &["nothing-of-that-name"]),
        (&["cdi", "generate", "--device-name-strategy", "colour"], 2, &["colour"]),
        (&["cdi", "generate", "--device-id", "17"], 4, &["17"]),
        (&["cdi", "generate", "--vendor", "no vendor"], 2, &["no vendor"]),
        (
            &["cdi", "generate", "--output", "/no/such/folder/nvidia.yaml"],
            4,
            &["/no/such/folder"],
        ),
        (
            &["cdi", "generate", "--driver-root", "/no/such/driver"],
            4,
            &["/no/such/driver"],
        ),
        (&["cdi", "validate", "/no/such/spec.yaml"], 4, &["/no/such/spec.yaml"]),
        (&["cdi", "show", "nvidia.com/gpu=nope"], 4, &["nope"]),
        (&["sim", "set", "0", "temperature=warm"], 2, &["warm"]),
        (&["sim", "set", "77", "temperature=50"], 4, &["77"]),
        (&["--sim", "hgx-h1000", "info"], 4, &["hgx-h1000", "hgx-h100"]),
    ];
    for (arguments, code, words) in cases {
        assert_refused(&machine.output(arguments), *code, words);
    }
}

#[test]
fn a_broken_or_half_written_spec_is_named() {
    let machine = Machine::new("t4");
    let whole = fs::read_to_string(machine.cdi_spec()).expect("spec");
    let spec = machine.dir().join("broken.json");
    let broken = [
        whole[..whole.len() / 2].to_owned(),
        String::new(),
        whole.replace("\"kind\"", "\"knid\""),
        whole.replace("nvidia.com/gpu", "nvidia com/gpu"),
        whole.replace("\"/dev/nvidiactl\"", "\"dev/nvidiactl\""),
        whole.replace("createContainer", "createContainers"),
    ];
    for text in broken {
        fs::write(&spec, text).expect("write");
        assert_refused(
            &machine.output(&["cdi", "validate", &spec.display().to_string()]),
            2,
            &["broken.json"],
        );
    }
}

#[test]
fn the_shim_leaves_a_bundle_it_refuses_as_it_was() {
    let machine = Machine::new("t4");
    machine.cdi_spec();
    let bundle = machine.dir().join("bundle");
    fs::create_dir(&bundle).expect("bundle");
    let shim = |config: &str| {
        fs::write(bundle.join("config.json"), config).expect("config.json");
        let mut command = Command::new(companions().0);
        command
            .envs(machine.vars())
            .args(["create", "--bundle"])
            .arg(&bundle)
            .arg("nvbind-it-refused");
        let output = command.output().expect("nvbind-runtime");
        assert_eq!(
            fs::read_to_string(bundle.join("config.json")).expect("config.json"),
            config
        );
        assert_eq!(
            fs::read_dir(&bundle).expect("bundle").count(),
            1,
            "a file was left behind"
        );
        output
    };
    let unknown = shim(r#"{"ociVersion":"1.0.2","process":{"env":["NVIDIA_VISIBLE_DEVICES=42"]},"root":{"path":"/"}}"#);
    assert!(
        !unknown.status.success() && stderr(&unknown).contains("42"),
        "{}",
        stderr(&unknown)
    );
    let half = shim(r#"{"ociVersion":"1.0.2","process":{"env":["NVIDIA_VISIB"#);
    assert!(
        !half.status.success() && stderr(&half).contains("config.json"),
        "{}",
        stderr(&half)
    );
}

#[test]
fn a_broken_configuration_is_named() {
    let machine = Machine::new("t4");
    let file = machine.dir().join("config.toml");
    let cases = [
        ("[cdi]\nspec_dir = [\"/etc/cdi\"]\n", "spec_dirs"),
        ("[cid]\n", "cdi"),
        ("[cdi]\nspec_dirs = 3\n", "spec_dirs"),
        ("[cdi]\nspec_di", "config.toml"),
    ];
    for (text, word) in cases {
        fs::write(&file, text).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
        let output = machine
            .nvbind()
            .env("NVBIND_CONFIG", &file)
            .arg("info")
            .output()
            .expect("nvbind");
        assert_refused(&output, 2, &["config.toml", word]);
    }
    fs::write(&file, "").expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("chmod");
    let output = machine
        .nvbind()
        .env("NVBIND_CONFIG", &file)
        .arg("info")
        .output()
        .expect("nvbind");
    assert_refused(&output, 2, &["config.toml", "chmod"]);
}

/// A machine without a GPU: empty procfs, sysfs and driver root.
fn bare(dir: &Path) -> Command {
    for folder in ["driver", "proc", "sys"] {
        fs::create_dir_all(dir.join(folder)).expect("folder");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
    command
        .env_remove("NVBIND_SIM")
        .env("NVBIND_STATE_DIR", dir.join("state"));
    command
        .env("NVBIND_HOST_DRIVER_ROOT", dir.join("driver"))
        .env("NVBIND_HOST_DEV_ROOT", dir.join("driver"));
    command
        .env("NVBIND_HOST_PROC_ROOT", dir.join("proc"))
        .env("NVBIND_HOST_SYS_ROOT", dir.join("sys"));
    command
}

#[test]
fn no_driver_at_all() {
    let dir = temp_dir("bare");
    assert_refused(
        &bare(dir.path()).args(["cdi", "generate"]).output().expect("nvbind"),
        5,
        &["driver"],
    );
    assert_refused(
        &bare(dir.path())
            .args(["info", "--driver-check"])
            .output()
            .expect("nvbind"),
        5,
        &["driver"],
    );
    let machine = Machine::new("t4");
    let rootfs = machine.rootfs();
    let run = bare(dir.path())
        .args(["run", "--gpu", "0", "--rootfs", &rootfs, "--", "true"])
        .output()
        .expect("nvbind");
    assert_refused(&run, 5, &["driver"]);
    let without = bare(dir.path())
        .args(["run", "--rootfs", &rootfs, "--", "true"])
        .status()
        .expect("nvbind");
    assert!(without.success(), "a container without GPUs needs no driver");
}

#[test]
fn an_nvml_that_does_not_load_is_said_and_procfs_answers() {
    let machine = Machine::new("l40s");
    let root = machine.ok(&["sim", "path"]).trim().to_owned();
    let copy = machine.dir().join("host");
    check(Command::new("cp").arg("-a").arg(&root).arg(&copy));
    let library = check(
        Command::new("readlink")
            .arg("-f")
            .arg(copy.join("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")),
    );
    fs::remove_file(library.trim()).expect("remove");
    fs::write(library.trim(), "this is no library").expect("write");
    let mut command = bare(machine.dir());
    command
        .env("NVBIND_HOST_DRIVER_ROOT", &copy)
        .env("NVBIND_HOST_DEV_ROOT", &copy);
    command
        .env("NVBIND_HOST_PROC_ROOT", copy.join("proc"))
        .env("NVBIND_HOST_SYS_ROOT", copy.join("sys"));
    let output = command.args(["info", "--format", "json"]).output().expect("nvbind");
    assert!(output.status.success(), "{}", stderr(&output));
    let info: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(info["source"], "procfs");
    assert_eq!(info["gpus"].as_array().map(Vec::len), Some(machine.uuids().len()));
    assert!(stderr(&output).contains("libnvidia-ml"), "{}", stderr(&output));
}
