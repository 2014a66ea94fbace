//! Containers by a docker daemon that the test starts.

use crate::common::{Ended, IMAGE, engine_run, finish, shim, signal, start_until};
use nvbind_testkit::{Dockerd, DockerdOptions, FakeGpus, Terminal, small_rootfs, temp_dir, wait_until};
use rustix::process::Signal;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The daemon of all tests, with nvbind's runtime registered and four GPUs in its CDI specs. It ends with this process.
static DOCKERD: LazyLock<(Dockerd, FakeGpus)> = LazyLock::new(|| {
    let gpus = FakeGpus::new(4);
    let options = DockerdOptions {
        runtimes: vec![("nvbind".into(), shim())],
        env: vec![("NVBIND_CONFIG".into(), gpus.config_file().into())],
        ..DockerdOptions::default()
    };
    let daemon = Dockerd::start(&options);
    daemon.import(&small_rootfs(), IMAGE);
    (daemon, gpus)
});

/// `engine-run docker run` for a container and binding of that name.
fn run(name: &str) -> Command {
    let mut command = manage();
    command.args(["run", "--name", name, "--binding", name]);
    command
}

fn manage() -> Command {
    let mut command = engine_run("docker");
    command.env("DOCKER_HOST", DOCKERD.0.host());
    command
}

fn shell(name: &str, script: &str) -> Command {
    let mut command = run(name);
    command.args([IMAGE, "sh", "-c", script]);
    command
}

/// Names of the containers of a binding.
fn containers(binding: &str) -> String {
    let mut docker = DOCKERD.0.client();
    docker
        .args(["ps", "-a", "--format", "{{.Names}}", "--filter"])
        .arg(format!("label=nvbind.binding={binding}"));
    nvbind_testkit::check(&mut docker).trim().to_owned()
}

#[test]
fn exit_code_and_streams_are_the_commands_own() {
    let ended = finish(&mut shell("d-exit", "echo out; echo err >&2; exit 7"), b"");
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(7), "out\n", "err\n")
    );
    assert_eq!(containers("d-exit"), "", "the container is removed");
}

#[test]
fn input_reaches_the_command_to_its_end() {
    let input = "0123456789abcdef".repeat(64 * 1024);
    let ended = finish(run("d-stdin").args(["-i", IMAGE, "wc", "-c"]), input.as_bytes());
    assert_eq!(
        (ended.code, ended.stdout.trim()),
        (Some(0), input.len().to_string().as_str()),
        "{}",
        ended.stderr
    );
}

#[test]
fn output_of_any_size_arrives() {
    let ended = finish(run("d-output").args([IMAGE, "head", "-c", "5000000", "/dev/zero"]), b"");
    assert_eq!((ended.code, ended.stdout.len()), (Some(0), 5_000_000));
}

#[test]
fn without_stdin_the_command_reads_nothing() {
    let ended = finish(run("d-nostdin").args([IMAGE, "cat"]), b"unread");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
}

#[test]
fn signals_reach_the_command() {
    let script = "trap 'exit 42' TERM; trap 'exit 43' INT; echo ready; while :; do sleep 0.1; done";
    for (sent, code) in [(Signal::TERM, 42), (Signal::INT, 43)] {
        let (mut child, _stdout) = start_until(&mut shell("d-signal", script), "ready");
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_command_whose_reader_is_gone_ends() {
    let mut child = shell("d-pipe", "while echo y; do :; done")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert_eq!(containers("d-pipe"), "");
}

#[test]
fn a_terminal_has_the_windows_size_and_comes_back_as_it_was() {
    let mut command = run("d-tty");
    // Docker before version 23 sets the size only after the command has begun.
    let script = "until stty size | grep 33; do sleep 0.1; done; read line; echo got $line; \
        until stty size | grep 44; do sleep 0.1; done; exit 5";
    command.args(["-i", "-t", IMAGE, "sh", "-c", script]);
    let mut terminal = Terminal::start(&command, 33, 77);
    terminal.expect("33 77\r\n");
    assert!(!terminal.is_cooked(), "keys go to the container's terminal as they are");
    terminal.resize(44, 88);
    terminal.send("hello\n");
    terminal.expect("got hello\r\n");
    terminal.expect("44 88\r\n");
    wait_until("the terminal's return", || terminal.is_cooked());
    assert_eq!(terminal.finish().0.code(), Some(5));
}

#[test]
fn ctrl_c_in_a_terminal_is_the_containers() {
    let mut command = run("d-ctrl-c");
    command.args([
        "-i",
        "-t",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 9' INT; echo ready; while :; do sleep 0.1; done",
    ]);
    let mut terminal = Terminal::start(&command, 24, 80);
    terminal.expect("ready\r\n");
    terminal.send("\x03");
    assert_eq!(terminal.finish().0.code(), Some(9));
}

#[test]
fn what_the_workload_says_is_what_the_container_has() {
    let dir = temp_dir("volume");
    std::fs::write(dir.path().join("file"), "content").unwrap();
    let mut command = run("d-workload");
    command.args([
        "-v",
        &format!("{}:/mnt:ro", dir.path().display()),
        "-e",
        "A=one two",
        "--user",
        "1234:99",
    ]);
    command.args(["--memory", "67108864", IMAGE, "sh", "-c"]);
    command.arg("cat /mnt/file; echo; (echo x >/mnt/file) 2>/dev/null || echo read-only; echo $A; id -u; id -g; ls /sys/class/net");
    let ended = finish(&mut command, b"");
    assert_eq!(
        ended.stdout, "content\nread-only\none two\n1234\n99\nlo\n",
        "{}",
        ended.stderr
    );
}

#[test]
fn failures_have_one_line_and_their_code() {
    let cases: [(&[&str], i32, &str); 4] = [
        (
            &["nvbind-test:absent", "true"],
            4,
            "image 'nvbind-test:absent' not found by docker: ",
        ),
        (
            &[IMAGE, "no-such-command"],
            127,
            "docker could not start container 'd-fail': ",
        ),
        (
            &[IMAGE, "/etc/passwd"],
            126,
            "docker could not start container 'd-fail': ",
        ),
        (
            &["-v", "/nonexistent-source:/mnt", IMAGE, "true"],
            1,
            "docker could not create container 'd-fail': ",
        ),
    ];
    for (arguments, code, text) in cases {
        let Ended { code: got, stderr, .. } = finish(run("d-fail").args(arguments), b"");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(
            got == Some(code) && last.starts_with(&format!("engine-run: {text}")),
            "{got:?} {stderr}"
        );
        assert_eq!(containers("d-fail"), "", "nothing is left");
    }
}

#[test]
fn no_daemon_and_no_permission_are_told_apart() {
    let ended = finish(
        run("d-none")
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .args([IMAGE, "true"]),
        b"",
    );
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("docker does not answer on /nonexistent/docker.sock: "),
        "{}",
        ended.stderr
    );

    // A copy that another user may run.
    let dir = temp_dir("nobody");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = dir.path().join("engine-run");
    std::fs::copy(run("x").get_program(), &copy).unwrap();
    let mut command = Command::new(copy);
    command
        .args(["docker", "run", IMAGE, "true"])
        .env("DOCKER_HOST", DOCKERD.0.host())
        .uid(65534)
        .gid(65534);
    let ended = finish(&mut command, b"");
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
}

#[test]
fn a_container_in_the_background_is_managed_by_its_binding() {
    let ended = finish(
        run("d-detach").args([
            "-d",
            IMAGE,
            "sh",
            "-c",
            "echo hello; trap 'exit 3' TERM; while :; do sleep 0.1; done",
        ]),
        b"",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    let said = |action: &str| finish(manage().args([action, "d-detach"]), b"").stdout;
    assert_eq!(said("state"), "Some(Running)\n");
    wait_until("the first words", || said("logs") == "hello\n");
    assert_eq!(finish(manage().args(["stop", "d-detach"]), b"").code, Some(0));
    assert_eq!(said("state"), "Some(Exited(3))\n");
    for _ in 0..2 {
        assert_eq!(
            finish(manage().args(["cleanup", "d-detach"]), b"").code,
            Some(0),
            "as often as you like"
        );
    }
    assert_eq!(said("state"), "None\n");
    assert_eq!(finish(manage().args(["stop", "d-detach"]), b"").code, Some(4));
}

#[test]
fn what_a_killed_nvbind_leaves_is_found_by_its_binding() {
    let (mut child, _stdout) = start_until(&mut shell("d-killed", "echo ready; while :; do sleep 1; done"), "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(containers("d-killed"), "d-killed");
    assert_eq!(finish(manage().args(["cleanup", "d-killed"]), b"").code, Some(0));
    assert_eq!(containers("d-killed"), "");
    // Without a daemon nobody knows: the binding must be kept.
    let mut blind = manage();
    blind
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .args(["cleanup", "d-killed"]);
    assert_eq!(finish(&mut blind, b"").code, Some(5));
}

#[test]
fn a_container_gets_its_gpus_and_no_others() {
    let gpus = &DOCKERD.1;
    let mut command = run("d-gpu");
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
    // A node that was given leads to a driver that is not there; one that was not given is denied.
    assert!(
        ended.stderr.contains("/dev/nvidia1: No such device or address"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("/tmp/n0: Operation not permitted"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_daemon_without_the_runtime_is_told_what_to_configure() {
    let daemon = Dockerd::start(&DockerdOptions::default());
    let mut command = engine_run("docker");
    command.env("DOCKER_HOST", daemon.host()).args([
        "run",
        "--gpu",
        "GPU-a",
        "--shim",
        "/opt/nvbind-runtime",
        IMAGE,
        "true",
    ]);
    let ended = finish(&mut command, b"");
    assert_eq!(ended.code, Some(5));
    let line = "run 'nvbind runtime configure --runtime docker'";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}
