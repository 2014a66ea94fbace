//! Containers in the background.

use super::{Home, cgroups, processes_naming};
use crate::common::finish;
use nvbind_testkit::wait_until;
use rustix::process::{Pid, Signal, kill_process};

fn launch(home: &Home, id: &str, script: &str) {
    let ended = finish(home.run(&["-d", "--id", id, "--"]).args(["sh", "-c", script]), b"");
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), id), "{}", ended.stderr);
}

#[test]
fn its_life_is_listed_logged_and_ended() {
    let home = Home::new();
    launch(
        &home,
        "bg1",
        "echo out; echo err >&2; trap 'echo bye; exit 3' TERM; while :; do sleep 0.02; done",
    );
    assert_eq!(home.ended(&["ps"]).stdout, "bg1 bg1 running None\n");
    wait_until("the log", || home.ended(&["logs", "bg1"]).stdout == "out\nerr\n");
    let refused = home.ended(&["rm", "bg1"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("is running: stop it first"),
        "{}",
        refused.stderr
    );
    assert_eq!(home.ended(&["stop", "bg"]).code, Some(0));
    assert_eq!(home.ended(&["ps"]).stdout, "bg1 bg1 exited Some(3)\n");
    assert_eq!(home.ended(&["logs", "bg1"]).stdout, "out\nerr\nbye\n");
    assert!(cgroups("bg1").is_empty());
    assert_eq!(home.ended(&["rm", "bg1"]).code, Some(0));
    wait_until("the supervisor's end", || processes_naming(&home.state()).is_empty());
    home.assert_nothing_is_left("after rm");
    assert_eq!(home.ended(&["logs", "bg1"]).code, Some(4));
}

#[test]
fn a_log_is_followed_to_the_end() {
    let home = Home::new();
    launch(&home, "follow", "for n in 1 2 3; do echo $n; sleep 0.1; done");
    let ended = home.ended(&["logs", "follow", "-f"]);
    assert_eq!((ended.stdout.as_str(), ended.code), ("1\n2\n3\n", Some(0)));
}

#[test]
fn a_command_that_ignores_the_signal_is_killed() {
    let home = Home::new();
    launch(&home, "deaf", "trap '' TERM; while :; do sleep 0.02; done");
    assert_eq!(home.ended(&["rm", "deaf", "-f"]).code, Some(0));
    wait_until("the supervisor's end", || processes_naming(&home.state()).is_empty());
    home.assert_nothing_is_left("after rm -f");
}

#[test]
fn a_start_that_fails_is_told_by_the_launcher() {
    let home = Home::new();
    let ended = finish(&mut home.run(&["-d", "--", "nonsense"]), b"");
    assert_eq!(ended.code, Some(127));
    assert!(
        ended
            .stderr
            .contains("cannot run 'nonsense' in the container: not found"),
        "{}",
        ended.stderr
    );
    wait_until("the supervisor's end", || processes_naming(&home.state()).is_empty());
    home.assert_nothing_is_left("after a failed start");
}

#[test]
fn a_terminal_in_the_background_goes_to_the_log() {
    let home = Home::new();
    let ended = finish(
        &mut home.run(&[
            "-d",
            "-t",
            "--id",
            "tty",
            "--",
            "sh",
            "-c",
            "readlink /proc/self/fd/1; echo x",
        ]),
        b"",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    wait_until("its end", || home.ended(&["ps"]).stdout.contains("exited"));
    assert_eq!(home.ended(&["logs", "tty"]).stdout, "/dev/pts/0\r\nx\r\n");
}

#[test]
fn a_killed_supervisor_takes_its_container_along_and_the_log_stays() {
    let home = Home::new();
    launch(&home, "orphan", "echo out; while :; do sleep 0.02; done");
    wait_until("the log", || home.ended(&["logs", "orphan"]).stdout == "out\n");
    let supervisor = supervisor_pid(&home);
    kill_process(supervisor, Signal::KILL).unwrap();
    wait_until("its end", || {
        home.ended(&["ps"]).stdout == "orphan orphan exited Some(137)\n"
    });
    assert!(cgroups("orphan").is_empty());
    assert_eq!(home.ended(&["logs", "orphan"]).stdout, "out\n");
    assert_eq!(home.ended(&["rm", "orphan"]).code, Some(0));
    home.assert_nothing_is_left("after rm");
}

fn supervisor_pid(home: &Home) -> Pid {
    let state = home.state().display().to_string();
    let found = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let ours = line.contains(&state) && line.contains("supervise");
        ours.then(|| entry.file_name().to_str()?.parse().ok())?
    });
    Pid::from_raw(found.unwrap()).unwrap()
}
