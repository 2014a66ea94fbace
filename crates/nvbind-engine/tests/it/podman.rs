//! Containers by podman, in a store of the test's own.

use crate::common::{IMAGE, engine_run, finish, shim, signal, start_until};
use nvbind_testkit::{FakeGpus, PodmanEnv, Terminal, small_rootfs, wait_until};
use rustix::process::Signal;
use std::process::Command;

/// A store with the image of the tests.
fn store() -> PodmanEnv {
    let store = PodmanEnv::new();
    store.import(&small_rootfs(), IMAGE);
    store
}

fn manage(store: &PodmanEnv) -> Command {
    let mut command = engine_run("podman");
    command.envs(store.vars());
    command
}

/// `engine-run podman run` for a container and binding of that name.
fn run(store: &PodmanEnv, name: &str) -> Command {
    let mut command = manage(store);
    command.args(["run", "--name", name, "--binding", name, "--work-dir"]);
    command.arg(store.path().join(name));
    command
}

/// Names of all containers.
fn containers(store: &PodmanEnv) -> String {
    nvbind_testkit::check(store.podman().args(["ps", "--all", "--format", "{{.Names}}"]))
        .trim()
        .to_owned()
}

#[test]
fn exit_code_streams_and_input_are_the_commands_own() {
    let store = store();
    let ended = finish(
        run(&store, "p-exit").args([IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7"]),
        b"",
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(7), "out\n", "err\n")
    );
    assert_eq!(containers(&store), "", "the container is removed");

    let input = "0123456789abcdef".repeat(64 * 1024);
    let ended = finish(run(&store, "p-stdin").args(["-i", IMAGE, "wc", "-c"]), input.as_bytes());
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (Some(0), input.len().to_string().as_str()),
        "{}",
        ended.stderr
    );

    let ended = finish(run(&store, "p-nostdin").args([IMAGE, "cat"]), b"unread");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
}

#[test]
fn a_root_file_system_needs_no_image() {
    let store = PodmanEnv::new();
    let rootfs = small_rootfs();
    let mut command = run(&store, "p-rootfs");
    // Podman makes its mount points in a root file system: give it a copy.
    let copy = nvbind_testkit::temp_dir("rootfs");
    nvbind_testkit::check(Command::new("cp").args(["-a", "-T"]).arg(&rootfs).arg(copy.path()));
    command
        .arg("--rootfs")
        .arg(copy.path())
        .args(["-", "sh", "-c", "exit 6"]);
    let ended = finish(&mut command, b"");
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
}

#[test]
fn signals_reach_the_command() {
    let store = store();
    let script = "trap 'exit 42' TERM; trap 'exit 43' INT; echo ready; while :; do sleep 0.1; done";
    for (sent, code) in [(Signal::TERM, 42), (Signal::INT, 43)] {
        let (mut child, _stdout) = start_until(run(&store, "p-signal").args([IMAGE, "sh", "-c", script]), "ready");
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(containers(&store), "", "the container is removed");
    }
}

#[test]
fn a_terminal_has_the_windows_size_and_comes_back_as_it_was() {
    let store = store();
    let mut command = run(&store, "p-tty");
    let script = "until stty size | grep 33; do sleep 0.1; done; read line; echo got $line; exit 5";
    command.args(["-i", "-t", IMAGE, "sh", "-c", script]);
    let mut terminal = Terminal::start(&command, 33, 77);
    terminal.expect("33 77\r\n");
    terminal.send("hello\n");
    terminal.expect("got hello\r\n");
    wait_until("the terminal's return", || terminal.is_cooked());
    assert_eq!(terminal.finish().0.code(), Some(5));
}

#[test]
fn failures_have_their_code() {
    let store = store();
    let ended = finish(run(&store, "p-f1").args(["localhost/nvbind-test:absent", "true"]), b"");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(
        last.contains("image 'localhost/nvbind-test:absent' not found by podman"),
        "{last}"
    );
    assert_eq!(
        finish(run(&store, "p-f2").args([IMAGE, "no-such-command"]), b"").code,
        Some(127)
    );

    let ended = finish(
        run(&store, "p-f3").env("PATH", "/nonexistent").args([IMAGE, "true"]),
        b"",
    );
    assert_eq!(ended.code, Some(5));
    assert!(ended.stderr.contains("podman is not installed"), "{}", ended.stderr);

    let ended = finish(run(&store, "p-f4").args(["--gpu", "GPU-a", IMAGE, "true"]), b"");
    assert_eq!(ended.code, Some(5));
    assert!(ended.stderr.contains("podman needs nvbind-runtime"), "{}", ended.stderr);
    assert_eq!(containers(&store), "");
}

#[test]
fn a_container_in_the_background_is_managed_by_its_binding() {
    let store = store();
    let script = "echo hello; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let ended = finish(run(&store, "p-detach").args(["-d", IMAGE, "sh", "-c", script]), b"");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    let said = |action: &str| finish(manage(&store).args([action, "p-detach"]), b"").stdout;
    assert_eq!(said("state"), "Some(Running)\n");
    wait_until("the first words", || said("logs") == "hello\n");
    assert_eq!(finish(manage(&store).args(["stop", "p-detach"]), b"").code, Some(0));
    wait_until("the end", || said("state") == "Some(Exited(3))\n");
    for _ in 0..2 {
        let ended = finish(manage(&store).args(["cleanup", "p-detach"]), b"");
        assert_eq!(ended.code, Some(0), "as often as you like: {}", ended.stderr);
    }
    assert_eq!(said("state"), "None\n");
    assert_eq!(finish(manage(&store).args(["stop", "p-detach"]), b"").code, Some(4));
}

#[test]
fn what_a_killed_nvbind_leaves_is_found_by_its_binding() {
    let store = store();
    let script = "echo ready; while :; do sleep 1; done";
    let (mut child, _stdout) = start_until(run(&store, "p-killed").args([IMAGE, "sh", "-c", script]), "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(containers(&store), "p-killed");
    assert_eq!(finish(manage(&store).args(["cleanup", "p-killed"]), b"").code, Some(0));
    assert_eq!(containers(&store), "");
}

#[test]
fn a_container_gets_its_gpus_and_no_others() {
    let store = store();
    let gpus = FakeGpus::new(4);
    let mut command = run(&store, "p-gpu");
    command.arg("--shim").arg(gpus.runtime(&shim()));
    command.args([
        "-e",
        "NVIDIA_VISIBLE_DEVICES=all",
        "--gpu",
        &gpus.uuid(1),
        "--gpu",
        &gpus.uuid(3),
        IMAGE,
        "sh",
        "-c",
    ]);
    command.arg("ls /dev/nvidia*; cat /dev/nvidia1; mknod /tmp/n0 c 195 0 && cat /tmp/n0");
    let ended = finish(&mut command, b"");
    assert_eq!(ended.stdout, "/dev/nvidia1\n/dev/nvidia3\n", "{}", ended.stderr);
    assert!(
        ended.stderr.contains("/dev/nvidia1: No such device or address"),
        "{}",
        ended.stderr
    );
    // Podman gives no CAP_MKNOD; where the node can be made, the device cgroup denies it.
    assert!(
        ended.stderr.contains("/tmp/n0: Operation not permitted"),
        "{}",
        ended.stderr
    );
}
