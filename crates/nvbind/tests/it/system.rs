//! `nvbind system` on simulated machines, and `nvbind runtime` as people type it.

use crate::support::{Machine, companions, stderr, stdout};
use nvbind_testkit::{check, small_rootfs, temp_dir};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root(machine: &Machine) -> PathBuf {
    PathBuf::from(machine.ok(&["sim", "path"]).trim())
}

/// The number of a module, as the machine's kernel tells it.
fn major(root: &Path, module: &str) -> u64 {
    let devices = std::fs::read_to_string(root.join("proc/devices")).expect("proc/devices");
    let mut lines = devices.lines().filter_map(|line| line.trim().split_once(' '));
    let found = lines.find(|(_, name)| *name == module).expect("the module");
    found.0.parse().expect("a number")
}

#[test]
fn nodes_that_are_missing_are_made_with_the_kernels_numbers() {
    let machine = Machine::new("hgx-h100");
    let root = root(&machine);
    let (uvm, gpu) = (root.join("dev/nvidia-uvm"), root.join("dev/nvidia3"));
    for node in [&uvm, &gpu] {
        std::fs::remove_file(node).expect("the node is there");
    }
    let wanted = format!("{} c {}:0\n", uvm.display(), major(&root, "nvidia-uvm"));
    let would = machine.ok(&["system", "create-device-nodes", "--control-devices", "--dry-run"]);
    assert_eq!(would, wanted);
    assert!(!uvm.exists(), "a dry run makes none");
    assert_eq!(
        machine.ok(&["system", "create-device-nodes", "--control-devices"]),
        wanted
    );
    let made = uvm.metadata().expect("the node");
    assert!(made.file_type().is_char_device());
    assert_eq!(
        (
            u64::from(rustix::fs::major(made.rdev())),
            rustix::fs::minor(made.rdev())
        ),
        (major(&root, "nvidia-uvm"), 0)
    );
    assert_eq!(made.permissions().mode() & 0o777, 0o666);
    assert!(!gpu.exists(), "it is no control node");
    assert_eq!(
        machine.ok(&["system", "create-device-nodes"]),
        format!("{} c 195:3\n", gpu.display())
    );
    assert_eq!(
        machine.ok(&["system", "create-device-nodes"]),
        "",
        "a second time makes none"
    );
}

#[test]
fn links_by_number_lead_to_the_nodes() {
    let machine = Machine::new("dgx-a100");
    let root = root(&machine);
    std::fs::remove_file(root.join("dev/nvidia7")).expect("the node is there");
    let link = |name: &str| std::fs::read_link(root.join("dev/char").join(name));
    assert_ne!(machine.ok(&["system", "create-dev-char-symlinks", "--dry-run"]), "");
    assert!(link("195:0").is_err());
    machine.ok(&["system", "create-dev-char-symlinks"]);
    assert_eq!(link("195:0").expect("a link"), Path::new("../nvidia0"));
    assert_eq!(link("195:255").expect("a link"), Path::new("../nvidiactl"));
    let caps = format!("{}:1", major(&root, "nvidia-caps"));
    assert_eq!(link(&caps).expect("a link"), Path::new("../nvidia-caps/nvidia-cap1"));
    assert!(link("195:7").is_err(), "there is no node");
    assert_eq!(
        machine.ok(&["system", "create-dev-char-symlinks"]),
        "",
        "a second time makes none"
    );
    machine.ok(&["system", "create-dev-char-symlinks", "--create-all"]);
    assert_eq!(link("195:7").expect("a link"), Path::new("../nvidia7"));

    let elsewhere = machine.dir().join("char");
    machine.ok(&[
        "system",
        "create-dev-char-symlinks",
        "--dev-char-path",
        &elsewhere.display().to_string(),
    ]);
    assert_eq!(
        std::fs::read_link(elsewhere.join("195:0")).expect("a link"),
        root.join("dev/nvidia0")
    );
}

/// The driver root's own `modprobe` is run in it.
#[test]
fn modules_are_loaded_from_the_drivers_root() {
    let dir = temp_dir("modules");
    check(
        Command::new("cp")
            .args(["-a", "-T"])
            .arg(small_rootfs())
            .arg(dir.path()),
    );
    let state = dir.path().display().to_string();
    let nvbind = || -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
        command.args([
            "system",
            "create-device-nodes",
            "--load-kernel-modules",
            "--driver-root",
            &state,
        ]);
        command.env("NVBIND_HOST_PROC_ROOT", dir.path().join("proc"));
        command
            .env("NVBIND_STATE_DIR", dir.path().join("state"))
            .output()
            .expect("nvbind")
    };
    let output = nvbind();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("cannot load module 'nvidia'"),
        "{}",
        stderr(&output)
    );

    let modprobe = dir.path().join("sbin/modprobe");
    std::fs::create_dir_all(dir.path().join("sbin")).expect("sbin");
    std::fs::create_dir_all(dir.path().join("proc")).expect("proc");
    let script =
        "#!/bin/sh\necho $1 >>/loaded\nprintf 'Character devices:\\n195 nvidia\\n511 nvidia-uvm\\n' >/proc/devices\n";
    std::fs::write(&modprobe, script).expect("modprobe");
    std::fs::set_permissions(&modprobe, PermissionsExt::from_mode(0o755)).expect("mode");
    let output = nvbind();
    assert!(output.status.success(), "{}", stderr(&output));
    let loaded = std::fs::read_to_string(dir.path().join("loaded")).expect("what was loaded");
    assert_eq!(loaded, "nvidia\nnvidia-uvm\nnvidia-modeset\n");
    assert!(dir.path().join("dev/nvidia-uvm").exists(), "{}", stdout(&output));
}

#[test]
fn a_machine_without_the_driver_is_told() {
    let dir = temp_dir("bare");
    let output = Command::new(env!("CARGO_BIN_EXE_nvbind"))
        .args(["system", "create-dev-char-symlinks", "--dry-run"])
        .env("NVBIND_HOST_PROC_ROOT", dir.path())
        .output()
        .expect("nvbind");
    assert_eq!(output.status.code(), Some(5));
    assert!(
        stderr(&output).contains("no module of NVIDIA's driver is loaded"),
        "{}",
        stderr(&output)
    );
}

/// `--config` is the engine's file, wherever it stands, and not nvbind's.
#[test]
fn an_engine_is_configured_and_as_it_was() {
    companions();
    let dir = temp_dir("runtime");
    let config = dir.path().join("daemon.json");
    let text = "{\n  \"debug\": true\n}\n";
    std::fs::write(&config, text).expect("daemon.json");
    let nvbind = |words: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
        command
            .args(["runtime", "configure"])
            .args(words)
            .arg("--config")
            .arg(&config);
        command
            .env("NVBIND_STATE_DIR", dir.path().join("state"))
            .output()
            .expect("nvbind")
    };
    let dry = nvbind(&["--runtime=docker", "--dry-run", "--set-as-default"]);
    assert!(
        stdout(&dry).contains("+  \"default-runtime\": \"nvbind\""),
        "{}",
        stderr(&dry)
    );
    assert_eq!(std::fs::read_to_string(&config).expect("daemon.json"), text);
    let done = nvbind(&["--runtime=docker", "--nvidia-set-as-default", "--cdi.enabled"]);
    assert_eq!(
        stdout(&done),
        format!(
            "changed {}\nto take effect: systemctl restart docker\n",
            config.display()
        )
    );
    let again = nvbind(&["--nvidia-set-as-default=true", "--enable-cdi"]);
    assert_eq!(stdout(&again), "docker: nothing to change, it is so already\n");
    assert!(nvbind(&["--undo"]).status.success());
    assert_eq!(std::fs::read_to_string(&config).expect("daemon.json"), text);
    assert_eq!(
        stdout(&nvbind(&["--undo"])),
        "docker: nothing to change, nothing of nvbind's is left\n"
    );

    std::fs::write(&config, "{\n  \"debug\": true,\n}\n").expect("daemon.json");
    let broken = nvbind(&[]);
    assert_eq!(broken.status.code(), Some(2));
    let wanted = format!("{} line 2: ", config.display());
    assert!(
        stderr(&broken).contains(&wanted) && stderr(&broken).lines().count() == 1,
        "{}",
        stderr(&broken)
    );
    let hook = nvbind(&["--config-mode", "oci-hook"]);
    assert_eq!(hook.status.code(), Some(2), "{}", stderr(&hook));
}

#[test]
fn nvidias_names_are_links_that_come_and_go() {
    let (runtime, _) = companions();
    let dir = temp_dir("alias");
    let nvbind = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
        check(command.args(["runtime", "alias", "--dir"]).arg(dir.path()).args(words))
    };
    assert_eq!(nvbind(&[]).lines().count(), 5);
    let link = dir.path().join("nvidia-container-runtime.cdi");
    assert_eq!(std::fs::read_link(&link).expect("a link"), runtime);
    let version = |program: &Path| check(Command::new(program).arg("--version"));
    assert_eq!(version(&link), version(&runtime));
    assert_eq!(nvbind(&["--undo"]).lines().count(), 5);
    assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0);
}

/// System calls that leave something behind.
const EFFECTS: &str = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,openat,write,fchmod,fchown,fsync";

/// `nvbind runtime configure` killed as it enters its N-th call with an effect; whether it was.
fn killed(words: &[&str], state: &Path, n: usize) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-o", "/dev/null", "-e"]).arg(format!("trace={EFFECTS}"));
    strace
        .arg("-e")
        .arg(format!("inject={EFFECTS}:signal=SIGKILL:when={n}"));
    strace
        .arg(env!("CARGO_BIN_EXE_nvbind"))
        .args(["runtime", "configure"])
        .args(words);
    let status = strace.env("NVBIND_STATE_DIR", state).output().expect("strace").status;
    !status.success()
}

#[test]
fn a_configuration_that_is_killed_at_any_step_is_whole_and_can_be_undone() {
    companions();
    let dir = temp_dir("killed");
    let (config, state) = (dir.path().join("config.toml"), dir.path().join("state"));
    let drop_in = dir.path().join("conf.d/99-nvbind.toml");
    let text = "version = 2 # theirs\n";
    let config_option = format!("--config={}", config.display());
    // Without a containerd to ask, all that happens is ours.
    let words = [
        "--runtime=containerd",
        "--executable-path=/nonexistent/containerd",
        &config_option,
    ];
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
        command.args(["runtime", "configure"]).args(words).args(more);
        check(command.env("NVBIND_STATE_DIR", &state))
    };
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    std::fs::write(&config, text).expect("config.toml");
    run(&[]);
    let done = (read(&config), read(&drop_in));
    run(&["--undo"]);
    assert_eq!((read(&config), read(&drop_in)), (Some(text.to_owned()), None));

    let mut steps = 0;
    while killed(&words, &state, steps + 1) {
        steps += 1;
        let (main, ours) = (read(&config), read(&drop_in));
        assert!(
            main.as_deref() == Some(text) || main == done.0,
            "step {steps}: {main:?}"
        );
        assert!(ours.is_none() || ours == done.1, "step {steps}: {ours:?}");
        assert!(
            main.as_deref() == Some(text) || ours.is_some(),
            "step {steps}: an import of nothing"
        );
        if steps % 2 == 0 {
            run(&[]);
            assert_eq!((read(&config), read(&drop_in)), done, "step {steps}");
        }
        run(&["--undo"]);
        assert_eq!(
            (read(&config), read(&drop_in)),
            (Some(text.to_owned()), None),
            "step {steps}"
        );
    }
    assert!(steps > 30, "{steps}");
    run(&["--undo"]);
    let mut undone = 0;
    loop {
        run(&[]);
        let more = [&words[..], &["--undo"]].concat();
        if !killed(&more, &state, undone + 1) {
            break;
        }
        undone += 1;
        run(&["--undo"]);
        assert_eq!(
            (read(&config), read(&drop_in)),
            (Some(text.to_owned()), None),
            "undo, step {undone}"
        );
    }
    assert!(undone > 15, "{undone}");
    run(&["--undo"]);
    let left = std::fs::read_dir(dir.path()).expect("the folder");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left.len(), 2, "nothing but the file and nvbind's own state: {left:?}");
}
