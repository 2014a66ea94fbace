//! Containers by containerd, each test with a daemon of its own.

use crate::common::{engine_run, finish, shim, signal, start_until};
use nvbind_testkit::{Containerd, FakeGpus, Terminal, check, small_rootfs, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::process::Command;

/// The image of the tests, by its short name.
const IMAGE: &str = "nvbind-test:small";
const CONFIG: &str = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";

/// A daemon with the image of the tests.
fn daemon() -> Containerd {
    let daemon = Containerd::start(CONFIG, &[]);
    daemon.import(&small_rootfs(), "docker.io/library/nvbind-test:small");
    daemon
}

fn manage(daemon: &Containerd) -> Command {
    let mut command = engine_run("containerd");
    command.envs(daemon.vars());
    command
}

/// `engine-run containerd run` for a container and binding of that name.
fn run(daemon: &Containerd, name: &str) -> Command {
    let mut command = manage(daemon);
    command.args(["run", "--name", name, "--binding", name, "--work-dir"]);
    command.arg(daemon.state().join(name));
    command
}

/// Names of all containers, and keys of their root file systems.
fn left(daemon: &Containerd) -> (String, String) {
    let containers = check(daemon.ctr().args(["container", "ls", "-q"]));
    let snapshots = check(daemon.ctr().args(["snapshot", "ls"]));
    let keys = snapshots.lines().filter(|line| line.ends_with("Active"));
    (containers.trim().to_owned(), keys.collect())
}

fn nothing() -> (String, String) {
    (String::new(), String::new())
}

#[test]
fn exit_code_streams_and_input_are_the_commands_own() {
    let daemon = daemon();
    let ended = finish(
        run(&daemon, "c-exit").args([IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7"]),
        b"",
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(7), "out\n", "err\n")
    );
    assert_eq!(left(&daemon), nothing(), "the container is removed");

    let input = "0123456789abcdef".repeat(64 * 1024);
    let ended = finish(
        run(&daemon, "c-stdin").args(["-i", IMAGE, "wc", "-c"]),
        input.as_bytes(),
    );
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (Some(0), input.len().to_string().as_str()),
        "{}",
        ended.stderr
    );

    let ended = finish(run(&daemon, "c-nostdin").args([IMAGE, "cat"]), b"unread");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
}

#[test]
fn a_root_file_system_needs_no_image() {
    let daemon = Containerd::start(CONFIG, &[]);
    let copy = nvbind_testkit::temp_dir("rootfs");
    check(
        Command::new("cp")
            .args(["-a", "-T"])
            .arg(small_rootfs())
            .arg(copy.path()),
    );
    // The namespace is containerd's default, in which the names of containers are everybody's.
    let mut command = run(&daemon, daemon.namespace());
    command
        .env_remove("CONTAINERD_NAMESPACE")
        .arg("--rootfs")
        .arg(copy.path())
        .args(["-", "sh", "-c", "exit 6"]);
    let ended = finish(&mut command, b"");
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
}

#[test]
fn signals_reach_the_command() {
    let daemon = daemon();
    let script = "trap 'exit 42' TERM; trap 'exit 43' INT; echo ready; while :; do sleep 0.1; done";
    for (sent, code) in [(Signal::TERM, 42), (Signal::INT, 43)] {
        let (mut child, _stdout) = start_until(run(&daemon, "c-signal").args([IMAGE, "sh", "-c", script]), "ready");
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(left(&daemon), nothing(), "the container is removed");
    }
}

#[test]
fn a_terminal_has_the_windows_size_and_comes_back_as_it_was() {
    let daemon = daemon();
    let mut command = run(&daemon, "c-tty");
    let script = "until stty size | grep 33; do sleep 0.1; done; read line; echo got $line; exit 5";
    command.args(["-i", "-t", IMAGE, "sh", "-c", script]);
    let mut terminal = Terminal::start(&command, 33, 77);
    // ctr leaves the terminal's own line endings on, so that there is one more carriage return.
    terminal.expect("33 77\r\r\n");
    terminal.send("hello\n");
    terminal.expect("got hello\r\r\n");
    wait_until("the terminal's return", || terminal.is_cooked());
    assert_eq!(terminal.finish().0.code(), Some(5));

    let ended = finish(run(&daemon, "c-no-tty").args(["-t", IMAGE, "true"]), b"");
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("standard input is no terminal"),
        "{}",
        ended.stderr
    );
}

#[test]
fn failures_have_their_code() {
    let daemon = daemon();
    let ended = finish(
        run(&daemon, "c-f1").args(["localhost:1/nvbind-test:absent", "true"]),
        b"",
    );
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(
        last.contains("image 'localhost:1/nvbind-test:absent' not found by containerd"),
        "{last}"
    );
    let ended = finish(run(&daemon, "c-f2").args([IMAGE, "no-such-command"]), b"");
    assert_eq!(ended.code, Some(127), "{}", ended.stderr);
    let ended = finish(run(&daemon, "c--f3").args([IMAGE, "true"]), b"");
    assert_eq!(
        ended.code,
        Some(125),
        "a name that containerd does not take: {}",
        ended.stderr
    );

    let ended = finish(
        run(&daemon, "c-f4").env("PATH", "/nonexistent").args([IMAGE, "true"]),
        b"",
    );
    assert_eq!(ended.code, Some(5));
    assert!(ended.stderr.contains("ctr is not installed"), "{}", ended.stderr);

    let ended = finish(
        run(&daemon, "c-f5")
            .env("CONTAINERD_ADDRESS", "/nonexistent/s")
            .args([IMAGE, "true"]),
        b"",
    );
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("containerd does not answer on /nonexistent/s"),
        "{}",
        ended.stderr
    );

    let ended = finish(run(&daemon, "c-f6").args(["--gpu", "GPU-a", IMAGE, "true"]), b"");
    assert_eq!(ended.code, Some(5));
    assert!(
        ended.stderr.contains("containerd needs nvbind-runtime"),
        "{}",
        ended.stderr
    );
    let ended = finish(run(&daemon, "c-f7").args(["--user", "1", IMAGE, "true"]), b"");
    assert_eq!(ended.code, Some(5), "ctr 1.6 has no --user");
    assert_eq!(left(&daemon), nothing());
}

#[test]
fn a_container_in_the_background_is_managed_by_its_binding() {
    let daemon = daemon();
    let script = "echo hello; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let ended = finish(run(&daemon, "c-detach").args(["-d", IMAGE, "sh", "-c", script]), b"");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    let said = |action: &str| finish(manage(&daemon).args([action, "c-detach"]), b"").stdout;
    assert_eq!(said("state"), "Some(Running)\n");
    wait_until("the first words", || said("logs") == "hello\n");
    let follower = std::thread::scope(|scope| {
        let follower = scope.spawn(|| said("follow"));
        assert_eq!(finish(manage(&daemon).args(["stop", "c-detach"]), b"").code, Some(0));
        follower.join().unwrap()
    });
    assert_eq!(follower, "hello\n");
    for _ in 0..2 {
        assert_eq!(said("state"), "Some(Exited(3))\n", "as often as you like");
    }
    for _ in 0..2 {
        let ended = finish(manage(&daemon).args(["cleanup", "c-detach"]), b"");
        assert_eq!(ended.code, Some(0), "as often as you like: {}", ended.stderr);
    }
    assert_eq!(said("state"), "None\n");
    assert_eq!(left(&daemon), nothing());
    assert_eq!(finish(manage(&daemon).args(["stop", "c-detach"]), b"").code, Some(4));
}

#[test]
fn a_container_that_does_not_stop_is_killed() {
    let daemon = daemon();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let started = finish(run(&daemon, "c-kill").args(["-d", IMAGE, "sh", "-c", script]), b"");
    assert_eq!(started.code, Some(0), "{}", started.stderr);
    let said = |action: &str| finish(manage(&daemon).args([action, "c-kill"]), b"").stdout;
    wait_until("the first words", || said("logs") == "ready\n");
    assert_eq!(finish(manage(&daemon).args(["stop-now", "c-kill"]), b"").code, Some(0));
    assert_eq!(said("state"), "Some(Exited(137))\n");
}

#[test]
fn what_a_killed_nvbind_leaves_is_found_by_its_binding() {
    let daemon = daemon();
    let script = "echo ready; while :; do sleep 1; done";
    let (mut child, _stdout) = start_until(run(&daemon, "c-killed").args([IMAGE, "sh", "-c", script]), "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(left(&daemon).0, "c-killed");
    let ended = finish(manage(&daemon).args(["cleanup", "c-killed"]), b"");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    wait_until("the end of ctr", || left(&daemon) == nothing());
}

#[test]
fn a_container_gets_its_gpus_and_no_others_and_declares_them() {
    let daemon = daemon();
    let gpus = FakeGpus::new(4);
    let mut command = run(&daemon, "c-gpu");
    command.arg("--shim").arg(gpus.runtime(&shim()));
    command.args([
        "-d",
        "-e",
        "NVIDIA_VISIBLE_DEVICES=all",
        "--gpu",
        &gpus.uuid(1),
        "--gpu",
        &gpus.uuid(3),
    ]);
    command.args([IMAGE, "sh", "-c"]);
    command.arg("ls /dev/nvidia*; cat /dev/nvidia1; mknod /tmp/n0 c 195 0 && cat /tmp/n0; sleep 1000");
    let ended = finish(&mut command, b"");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = || finish(manage(&daemon).args(["logs", "c-gpu"]), b"").stdout;
    wait_until("the last words", || said().contains("/tmp/n0: "));
    let said = said();
    for wanted in [
        "/dev/nvidia1\n/dev/nvidia3\n",
        "/dev/nvidia1: No such device or address",
        "/tmp/n0: Operation not permitted",
    ] {
        assert!(said.contains(wanted), "{wanted} is not in:\n{said}");
    }
    let bundle = daemon
        .state()
        .join("io.containerd.runtime.v2.task")
        .join(daemon.namespace())
        .join("c-gpu/config.json");
    let config: Value = serde_json::from_slice(&std::fs::read(bundle).unwrap()).unwrap();
    nvbind_testkit::assert_declared(&config, &["/dev/nvidia1", "/dev/nvidia3"]);
    assert_eq!(finish(manage(&daemon).args(["cleanup", "c-gpu"]), b"").code, Some(0));
}
