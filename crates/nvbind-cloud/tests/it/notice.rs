//! Notices of the clouds.

use crate::support::{SILENCE, logs, plan, prepared, until, wait_for_line};
use nvbind_cloud::agent::{ExitReason, MetadataSource, NoticeKind, Phase, Plan};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// From the notice on the metadata service to what the workload and the controller see of it.
fn noticed(cloud: &str, metadata: MetadataSource) {
    let (machines, node) = prepared("hgx-h100", Some(cloud));
    let plan = Plan {
        metadata,
        checkpoint: Some("echo checkpoint of $NVBIND_CONTAINER; test -d /proc/$NVBIND_PID; sleep 0.2".into()),
        ..plan("t1", "trap 'echo warned; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    };
    node.start(&plan).unwrap();
    wait_for_line(&node, "t1", "up");
    let mut follow = node.follow("t1", SILENCE).unwrap();
    let running = until(&mut follow, "running", |report| report.phase == Phase::Running);
    assert_eq!((running.notice, running.metadata_error), (None, None));
    let (at, start) = (now_ms(), Instant::now());
    machines.interrupt("m1", 30);
    until(&mut follow, "the notice", |report| report.notice.is_some());
    let told = start.elapsed().as_secs_f64();
    let last = until(&mut follow, "the end", |report| report.phase == Phase::Ended);
    let notice = last.notice.unwrap();
    assert_eq!(notice.kind, NoticeKind::Interruption);
    let checkpoint = last.checkpoint.unwrap();
    let seconds = |ms: u64| ms.saturating_sub(at) as f64 / 1000.0;
    let (seen, saved, warned) =
        (seconds(notice.seen_ms), seconds(checkpoint.started_ms), seconds(last.terminated_ms.unwrap()));
    eprintln!(
        "{cloud}: notice seen after {seen:.2} s, told here after {told:.2} s, checkpoint begun after {saved:.2} s, SIGTERM after {warned:.2} s"
    );
    assert_eq!(checkpoint.code, Some(0));
    assert!(told < 2.0 && saved < 2.0 && warned < 2.0);
    let exit = last.exit.unwrap();
    assert_eq!((exit.code, exit.reason), (Some(0), ExitReason::Interrupted));
    assert_eq!(logs(&node, "t1"), "up\ncheckpoint of nvbind-cloud-t1\nwarned\n");
}

#[test]
fn aws_takes_a_machine_back() {
    noticed("aws", MetadataSource::Aws);
}

#[test]
fn gcp_takes_a_machine_back() {
    noticed("gcp", MetadataSource::Gcp);
}

#[test]
fn azure_takes_a_machine_back() {
    noticed("azure", MetadataSource::Azure);
}

#[test]
fn a_rebalance_hint_is_told_and_changes_nothing() {
    let (machines, node) = prepared("hgx-h100", Some("aws"));
    let plan = Plan {
        metadata: MetadataSource::Aws,
        ..plan("t1", "sleep 300")
    };
    node.start(&plan).unwrap();
    let mut follow = node.follow("t1", SILENCE).unwrap();
    until(&mut follow, "running", |report| report.phase == Phase::Running);
    machines.rebalance("m1");
    let hinted = until(&mut follow, "the hint", |report| report.rebalance.is_some());
    assert_eq!((hinted.phase, hinted.notice), (Phase::Running, None));
}

#[test]
fn a_metadata_service_that_is_not_there_is_told() {
    let (_machines, node) = prepared("hgx-h100", None);
    let plan = Plan {
        metadata: MetadataSource::Gcp,
        ..plan("t1", "sleep 300")
    };
    node.start(&plan).unwrap();
    let mut follow = node.follow("t1", SILENCE).unwrap();
    let report = until(&mut follow, "the error", |report| report.metadata_error.is_some());
    assert_eq!(report.phase, Phase::Running);
}

#[test]
fn a_checkpoint_that_hangs_is_ended_before_the_machine_is() {
    let (machines, node) = prepared("hgx-h100", Some("gcp"));
    let plan = Plan {
        metadata: MetadataSource::Gcp,
        checkpoint: Some("sleep 300".into()),
        grace_seconds: 14,
        ..plan("t1", "trap 'echo warned; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    };
    node.start(&plan).unwrap();
    wait_for_line(&node, "t1", "up");
    let mut follow = node.follow("t1", SILENCE).unwrap();
    machines.interrupt("m1", 30);
    let last = until(&mut follow, "the end", |report| report.phase == Phase::Ended);
    assert_eq!(last.checkpoint.unwrap().code, None);
    assert!(logs(&node, "t1").contains("warned"));
}
