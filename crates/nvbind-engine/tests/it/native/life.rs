//! Containers in the foreground.

use super::{Home, cgroups};
use crate::common::{finish, start_until};
use nvbind_testkit::Terminal;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, Read};

#[test]
fn the_exit_code_and_the_streams_pass_through() {
    let home = Home::new();
    let ended = finish(
        &mut home.run(&["-i", "--", "sh", "-c", "cat; echo bad >&2; exit 7"]),
        b"in",
    );
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(7), "in", "bad\n")
    );
    let ended = finish(&mut home.run(&["--", "sh", "-c", "cat; echo end"]), b"not passed on");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "end\n"));
    home.assert_nothing_is_left("after two runs");
}

#[test]
fn signals_are_handed_on_and_do_not_stay_blocked() {
    let home = Home::new();
    let script = "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; grep SigBlk /proc/self/status; echo ready; while :; do sleep 0.02; done";
    let (mut child, mut out) = start_until(&mut home.run(&["--", "sh", "-c", script]), "ready");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::USR1).unwrap();
    let mut rest = String::new();
    out.read_line(&mut rest).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("usr1\nterm\n", Some(9)));
    let ended = finish(
        &mut home.run(&["--", "grep", "SigBlk\\|SigIgn", "/proc/self/status"]),
        b"",
    );
    let masks: Vec<u64> = ended
        .stdout
        .split_whitespace()
        .filter_map(|word| u64::from_str_radix(word, 16).ok())
        .collect();
    let pipe = 1 << (Signal::PIPE.as_raw() - 1);
    assert_eq!((masks[0], masks[1] & pipe), (0, 0), "{}", ended.stdout);
    home.assert_nothing_is_left("after signals");
}

#[test]
fn a_command_that_a_signal_ends_gives_128_and_its_number() {
    let home = Home::new();
    let script = "sleep 0.2 & exec sleep 1000";
    let (mut child, _out) = start_until(
        &mut home.run(&["--id", "signalled", "--", "sh", "-c", &format!("echo ready; {script}")]),
        "ready",
    );
    let procs = cgroups("signalled")[0].join("cgroup.procs");
    let first = std::fs::read_to_string(procs)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    kill_process(Pid::from_raw(first).unwrap(), Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(cgroups("signalled").is_empty());
}

#[test]
fn a_terminal_works_both_ways_and_is_given_back() {
    let home = Home::new();
    let script = "stty size; readlink /proc/self/fd/0; echo question; read answer; echo got $answer; stty size; exit 5";
    let mut terminal = Terminal::start(&home.run(&["-t", "-i", "--", "sh", "-c", script]), 33, 77);
    terminal.expect("33 77");
    terminal.expect("/dev/pts/0");
    terminal.expect("question");
    assert!(!terminal.is_cooked());
    terminal.resize(20, 60);
    terminal.send("42\n");
    terminal.expect("got 42");
    terminal.expect("20 60");
    let (status, _) = terminal.finish();
    assert_eq!(status.code(), Some(5));
    home.assert_nothing_is_left("after a terminal");
}

#[test]
fn the_workload_shapes_the_container() {
    let home = Home::new();
    let volume = home.dir.path().join("data");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "from the host\n").unwrap();
    let volume = format!("{}:/mnt/deep:ro", volume.display());
    let options = [
        "--name",
        "box",
        "--user",
        "daemon:tty",
        "--workdir",
        "/srv/new",
        "--env",
        "A=1",
        "--env",
        "A=2",
        "--read-only",
        "--network",
        "none",
        "--volume",
        &volume,
        "--",
    ];
    let script = "id -u; id -g; id -G; pwd; echo $A; uname -n; cat /mnt/deep/file; wc -l < /proc/net/dev;
        (echo x > /x) 2>/dev/null || echo read-only; (echo x > /mnt/deep/x) 2>/dev/null || echo volume-read-only";
    let ended = finish(home.run(&options).args(["sh", "-c", script]), b"");
    let expected = "1\n5\n5\n/srv/new\n2\nbox\nfrom the host\n3\nread-only\nvolume-read-only\n";
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        (expected, Some(0)),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_container_has_no_way_to_devices_mounts_or_namespaces() {
    let home = Home::new();
    let script = "mknod /n c 195 0 && (head -c1 /n 2>&1 | grep -o 'Operation not permitted'); mknod /z c 1 5 && head -c1 /z | wc -c;
        mount -t tmpfs x /mnt 2>/dev/null || echo no-mount; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; ls /sys/fs/cgroup | wc -l";
    let ended = finish(&mut home.run(&["--", "sh", "-c", script]), b"");
    let expected = "Operation not permitted\n1\nno-mount\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n0\n";
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        (expected, Some(0)),
        "{}",
        ended.stderr
    );
}

#[test]
fn limits_hold() {
    let home = Home::new();
    let options = ["--id", "limited", "--memory", "33554432", "--cpus", "0.5", "--"];
    let (mut child, _out) = start_until(
        home.run(&options).args(["sh", "-c", "echo ready; exec sleep 1000"]),
        "ready",
    );
    let read = |controller: &str, file: &str| {
        let folder = cgroups("limited")
            .into_iter()
            .find(|folder| folder.parent().unwrap().ends_with(controller))
            .unwrap();
        std::fs::read_to_string(folder.join(file)).unwrap().trim().to_owned()
    };
    let found = (read("memory", "memory.limit_in_bytes"), read("cpu", "cpu.cfs_quota_us"));
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(found, ("33554432".to_owned(), "50000".to_owned()));
    home.assert_nothing_is_left("after a kill of nvbind");
}

#[test]
fn what_cannot_be_is_one_line_and_a_code() {
    let home = Home::new();
    let rootfs = home.rootfs().display().to_string();
    let cases: [(&[&str], i32, &str); 10] = [
        (
            &["--rootfs", "/nope", "--", "true"],
            4,
            "root file system /nope is not there",
        ),
        (
            &["--rootfs", "/etc/passwd", "--", "true"],
            2,
            "root file system /etc/passwd is not a folder",
        ),
        (&["--", "true"], 2, "nothing to run on"),
        (&["--rootfs", &rootfs], 2, "nothing to run"),
        (
            &["--rootfs", &rootfs, "--", "nonsense"],
            127,
            "cannot run 'nonsense' in the container: not found",
        ),
        (
            &["--rootfs", &rootfs, "--", "/etc/passwd"],
            126,
            "it is not an executable file",
        ),
        (
            &["--rootfs", &rootfs, "--user", "eve", "--", "true"],
            2,
            "user 'eve' is not in the container's /etc/passwd",
        ),
        (
            &["--rootfs", &rootfs, "--volume", "/nope:/x", "--", "true"],
            4,
            "the volume's host path /nope is not there",
        ),
        (
            &["--rootfs", &rootfs, "--id", "a/b", "--", "true"],
            2,
            "'a/b' cannot be a container id",
        ),
        (
            &["--image", "Debian:12", "--", "true"],
            2,
            "'Debian:12' is no image name",
        ),
    ];
    for (options, code, words) in cases {
        let ended = finish(home.native(&["run"]).args(options), b"");
        assert_eq!(ended.code, Some(code), "{options:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(words) && ended.stderr.lines().count() == 1,
            "{options:?}: {}",
            ended.stderr
        );
    }
    home.assert_nothing_is_left("after errors");
}

#[test]
fn an_exclusive_device_is_refused_to_the_second() {
    let home = Home::new();
    let script = ["sh", "-c", "echo ready; exec sleep 1000"];
    let (mut child, _out) = start_until(
        home.run(&["--exclusive", "--name", "first", "--"]).args(script),
        "ready",
    );
    let ended = finish(&mut home.run(&["--", "true"]), b"");
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("device GPU-1 is held exclusively by 'first'"),
        "{}",
        ended.stderr
    );
    home.assert_nothing_is_left("after a kill of the holder");
}
