//! Workloads run by an agent.

use crate::support::{STOP, SILENCE, logs, plan, prepared, run_to_end, shell, until, wait_for_line};
use nvbind_cloud::agent::{AgentState, ExitReason, Phase};
use nvbind_cloud::host::HostError;
use std::time::{Duration, Instant};

#[test]
fn a_workload_runs_to_its_end() {
    let (_machines, mut node) = prepared("hgx-h100", None);
    let plan = nvbind_cloud::agent::Plan {
        environment: [("SECRET".to_owned(), "hunter\"2".to_owned())].into(),
        setup: Some("echo setting up; test -n \"$SECRET\"".into()),
        ..plan("t1", "echo secret is $SECRET; ls /dev/nvidia0; sleep 2; exit 7")
    };
    let start = Instant::now();
    let first = node.start(&plan).unwrap();
    eprintln!("the agent is there after {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!((first.token.as_str(), first.agent), ("t1", AgentState::Alive));
    wait_for_line(&node, "t1", "/dev/nvidia0");
    // What is secret is on no command line, and in files of root's alone.
    let seen = shell(&mut node, "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c hunte[r]");
    assert_eq!(seen.trim(), "0");
    let open = shell(&mut node, "find /var/lib/nvbind/cloud -type f -perm /077; stat -c %a /var/lib/nvbind/cloud/runs/t1");
    assert_eq!(open, "700\n");
    let mut follow = node.follow("t1", SILENCE).unwrap();
    let running = until(&mut follow, "utilization", |report| !report.gpus.is_empty());
    assert_eq!((running.phase, running.gpus.len()), (Phase::Running, 8));
    let last = until(&mut follow, "the end", |report| report.phase == Phase::Ended);
    let exit = last.exit.unwrap();
    assert_eq!((exit.code, exit.reason, last.agent), (Some(7), ExitReason::Ended, AgentState::Done));
    assert_eq!(logs(&node, "t1"), "setting up\nsecret is hunter\"2\n/dev/nvidia0\n");
    // A plan is carried out once.
    assert_eq!(node.start(&plan).unwrap().agent, AgentState::Done);
    assert_eq!(logs(&node, "t1").lines().count(), 3);
    node.clean("t1").unwrap();
    assert_eq!(shell(&mut node, "ls -A /var/lib/nvbind/cloud/runs"), "");
    assert!(node.stop("t1", STOP).unwrap().is_none());
}

#[test]
fn a_set_up_that_fails_and_a_workload_that_is_none_are_told() {
    let (_machines, node) = prepared("hgx-h100", None);
    let setup = nvbind_cloud::agent::Plan {
        setup: Some("echo no >&2; false; echo never".into()),
        ..plan("t1", "echo never")
    };
    let exit = run_to_end(&node, &setup).exit.unwrap();
    assert_eq!((exit.code, exit.reason), (Some(1), ExitReason::Setup));
    assert_eq!(logs(&node, "t1"), "no\n");
    let mut bad = plan("t2", "");
    bad.workload = "image = ".into();
    let exit = run_to_end(&node, &bad).exit.unwrap();
    assert_eq!(exit.reason, ExitReason::NotStarted);
    assert!(logs(&node, "t2").starts_with("nvbind: "));
    let mut unknown = plan("t3", "");
    unknown.workload = "imagee = \"x\"".into();
    let exit = run_to_end(&node, &unknown).exit.unwrap();
    assert_eq!((exit.code, exit.reason), (Some(2), ExitReason::Ended));
    assert!(logs(&node, "t3").contains("unknown key 'imagee'"));
}

#[test]
fn a_workload_is_asked_to_end_and_then_killed() {
    let (_machines, mut node) = prepared("hgx-h100", None);
    let polite = plan("t1", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done");
    node.start(&polite).unwrap();
    wait_for_line(&node, "t1", "up");
    let report = node.stop("t1", STOP).unwrap().unwrap();
    let exit = report.exit.unwrap();
    assert_eq!((exit.code, exit.reason), (Some(3), ExitReason::Stopped));
    assert_eq!(logs(&node, "t1"), "up\nbye\n");
    let stubborn = plan("t2", "trap '' TERM; echo up; while :; do sleep 0.1; done");
    node.start(&stubborn).unwrap();
    wait_for_line(&node, "t2", "up");
    let start = Instant::now();
    let report = node.stop("t2", STOP).unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2) && start.elapsed() < Duration::from_secs(8));
    assert_eq!(report.exit.unwrap().code, Some(137));
    assert_eq!(shell(&mut node, "/opt/nvbind/*/nvbind ps --all --format json").trim(), "[]");
    // Once more changes nothing.
    assert_eq!(node.stop("t2", STOP).unwrap().unwrap().agent, AgentState::Done);
}

#[test]
fn a_dead_agent_is_seen_and_what_it_left_is_ended() {
    let (_machines, mut node) = prepared("hgx-h100", None);
    node.start(&plan("t1", "echo up; sleep 300")).unwrap();
    wait_for_line(&node, "t1", "up");
    let mut follow = node.follow("t1", SILENCE).unwrap();
    until(&mut follow, "running", |report| report.phase == Phase::Running);
    let kill = "for p in /proc/[0-9]*; do if tr '\\0' ' ' <$p/cmdline | grep -q 'agent ru[n]'; then kill -9 ${p#/proc/}; fi; done";
    shell(&mut node, kill);
    let start = Instant::now();
    let dead = until(&mut follow, "death", |report| report.agent == AgentState::Dead);
    assert!(start.elapsed() < Duration::from_secs(2) && dead.exit.is_none());
    assert!(follow.next().is_none());
    assert!(matches!(node.clean("t1"), Err(HostError::Failed { .. })));
    let left = shell(&mut node, "/opt/nvbind/*/nvbind ps --format json");
    assert!(left.contains("nvbind-cloud-t1"), "{left}");
    let report = node.stop("t1", STOP).unwrap().unwrap();
    assert_eq!(report.agent, AgentState::Done);
    let left = shell(&mut node, "/opt/nvbind/*/nvbind ps --all --format json; pgrep -f 'sleep 30[0]'");
    assert_eq!(left.trim(), "[]");
    node.clean("t1").unwrap();
}

#[test]
fn a_log_is_followed_and_its_end_shown() {
    let (_machines, node) = prepared("hgx-h100", None);
    node.start(&plan("t1", "for i in 1 2 3 4; do echo line $i; sleep 0.5; done")).unwrap();
    let mut text = Vec::new();
    node.logs("t1", None, true, &mut text).unwrap();
    assert_eq!(String::from_utf8_lossy(&text), "line 1\nline 2\nline 3\nline 4\n");
    let mut text = Vec::new();
    node.logs("t1", Some(2), false, &mut text).unwrap();
    assert_eq!(String::from_utf8_lossy(&text), "line 3\nline 4\n");
    assert!(node.logs("none", None, false, &mut text).is_err());
}

#[test]
fn a_host_that_is_cut_off_falls_silent_and_its_workload_goes_on() {
    let (machines, node) = prepared("hgx-h100", None);
    node.start(&plan("t1", "echo up; sleep 8; echo done")).unwrap();
    let mut follow = node.follow("t1", Duration::from_secs(3)).unwrap();
    until(&mut follow, "running", |report| report.phase == Phase::Running);
    machines.cut("m1");
    let cut = Instant::now();
    let error = follow.find_map(Result::err).unwrap();
    eprintln!("a cut is seen by the reports after {:.1} s", cut.elapsed().as_secs_f64());
    assert!(matches!(&error, HostError::Silent { .. } | HostError::Lost { .. }), "{error}");
    assert!(cut.elapsed() < Duration::from_secs(5));
    assert!(follow.next().is_none());
    machines.heal("m1");
    let target = node.target().clone();
    drop(node);
    let node = nvbind_cloud::host::Node::connect(target).unwrap();
    let mut follow = node.follow("t1", SILENCE).unwrap();
    let last = until(&mut follow, "the end", |report| report.phase == Phase::Ended);
    assert_eq!(last.exit.unwrap().code, Some(0));
    assert_eq!(logs(&node, "t1"), "up\ndone\n");
}

#[test]
fn a_host_that_dies_falls_silent() {
    let (machines, node) = prepared("hgx-h100", None);
    node.start(&plan("t1", "sleep 300")).unwrap();
    let mut follow = node.follow("t1", Duration::from_secs(5)).unwrap();
    until(&mut follow, "running", |report| report.phase == Phase::Running);
    machines.kill("m1");
    let start = Instant::now();
    let error = follow.find_map(Result::err).unwrap();
    eprintln!("a death is seen after {:.1} s: {error}", start.elapsed().as_secs_f64());
    assert!(start.elapsed() < Duration::from_secs(7));
}
