//! Killed processes and reboots.

use crate::{binding, ledger};
use nvbind_alloc::{Change, Isolation, Ledger};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Names the ledger's folder to a process that this test starts of itself.
const CHILD_DIR: &str = "NVBIND_ALLOC_TEST_CHILD";

/// The started process's part: binds and forgets until it is killed. Without the variable there is nothing to do.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let mut ledger = Ledger::open(Path::new(&dir)).unwrap();
    for round in 0.. {
        let id = format!("{}-{round}", std::process::id());
        ledger
            .begin(&binding(&id, &["GPU-1", "GPU-2"], Isolation::Shared))
            .unwrap();
        ledger.update(&id, &Change::running(1)).unwrap();
        ledger.finish(&id).unwrap();
    }
}

fn start(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::child"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn killed_writers_leave_a_sound_ledger_and_no_more_than_one_dead_binding_each() {
    let (dir, mut ledger) = ledger();
    const ROUNDS: usize = 8;
    for round in 0..ROUNDS {
        let mut children: Vec<Child> = (0..4).map(|_| start(dir.path())).collect();
        std::thread::sleep(Duration::from_millis(60 + 7 * round as u64));
        for child in &mut children {
            child.kill().unwrap();
            let status = child.wait().unwrap();
            assert_eq!(status.code(), None, "a writer failed before it was killed");
        }
    }
    let dead = ledger.dead().unwrap();
    assert!(dead.len() <= 4 * ROUNDS);
    assert_eq!(dead, ledger.list().unwrap());
    for binding in dead {
        ledger.finish(&binding.id).unwrap();
    }
    assert!(ledger.list().unwrap().is_empty());
    let check = rusqlite::Connection::open(ledger.path()).unwrap();
    let word: String = check.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(word, "ok");
}

#[test]
fn bindings_of_another_boot_are_dead_and_those_of_a_live_process_are_not() {
    let (_dir, mut ledger) = ledger();
    let mut before = binding("before", &["GPU-1"], Isolation::Exclusive);
    before.owner.boot_id = "00000000-0000-0000-0000-000000000000".to_owned();
    ledger.begin(&before).unwrap();
    ledger
        .begin(&binding("mine", &["GPU-2"], Isolation::Exclusive))
        .unwrap();
    let mut reused = binding("reused", &[], Isolation::Shared);
    reused.owner.start_time -= 1;
    ledger.begin(&reused).unwrap();
    let dead: Vec<String> = ledger.dead().unwrap().into_iter().map(|binding| binding.id).collect();
    assert_eq!(dead, ["before", "reused"]);
}
