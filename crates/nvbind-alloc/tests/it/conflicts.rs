//! Who may have a device, a name, a binding.

use crate::{binding, ledger};
use nvbind_alloc::{Change, Error, Isolation, Ledger, Owner, Status};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_binding_comes_back_as_it_was_written() {
    let (dir, mut ledger) = ledger();
    let written = binding("abc", &["GPU-2", "GPU-1"], Isolation::Exclusive);
    ledger.begin(&written).unwrap();
    assert_eq!(ledger.find("abc").unwrap(), written);
    assert_eq!(ledger.find("name-abc").unwrap(), written);
    assert_eq!(ledger.find("ab").unwrap(), written);
    assert_eq!(Ledger::open(dir.path()).unwrap().list().unwrap(), [written]);
}

#[test]
fn the_files_are_closed_to_others() {
    let (dir, mut ledger) = ledger();
    ledger.begin(&binding("a", &[], Isolation::Shared)).unwrap();
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    assert!(files.len() >= 2, "the file and its log");
    for file in files {
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
    }
}

#[test]
fn exclusive_and_shared_exclude_each_other() {
    let (_dir, mut ledger) = ledger();
    ledger
        .begin(&binding("shared1", &["GPU-1"], Isolation::Shared))
        .unwrap();
    ledger
        .begin(&binding("shared2", &["GPU-1", "GPU-2"], Isolation::Shared))
        .unwrap();
    let refused = ledger
        .begin(&binding("alone", &["GPU-3", "GPU-2"], Isolation::Exclusive))
        .unwrap_err();
    let Error::Held { device, holder } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(
        (device.as_str(), holder.name.as_str(), holder.exclusive),
        ("GPU-2", "name-shared2", false)
    );
    assert_eq!(refused.exit_code(), 1);

    ledger
        .begin(&binding("alone", &["GPU-3"], Isolation::Exclusive))
        .unwrap();
    let refused = ledger
        .begin(&binding("late", &["GPU-3"], Isolation::Shared))
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("device GPU-3 is held exclusively by 'name-alone' (pid "),
        "{refused}"
    );

    ledger.update("alone", &Change::exited(3, 1_700_000_001)).unwrap();
    ledger
        .begin(&binding("late", &["GPU-3"], Isolation::Exclusive))
        .unwrap();
}

#[test]
fn names_are_unique_until_forgotten() {
    let (_dir, mut ledger) = ledger();
    let mut first = binding("a1", &[], Isolation::Shared);
    first.name = "web".to_owned();
    ledger.begin(&first).unwrap();
    let mut second = binding("a2", &[], Isolation::Shared);
    second.name = "web".to_owned();
    assert!(matches!(ledger.begin(&second), Err(Error::NameTaken { id, .. }) if id == "a1"));
    ledger.finish("a1").unwrap();
    ledger.finish("a1").unwrap();
    ledger.begin(&second).unwrap();
}

#[test]
fn what_is_not_there_or_not_clear_is_said() {
    let (_dir, mut ledger) = ledger();
    ledger.begin(&binding("a1", &[], Isolation::Shared)).unwrap();
    ledger.begin(&binding("a2", &[], Isolation::Shared)).unwrap();
    assert_eq!(ledger.find("b").unwrap_err().exit_code(), 4);
    assert_eq!(ledger.find("").unwrap_err().exit_code(), 4);
    assert_eq!(ledger.find("%").unwrap_err().exit_code(), 4);
    assert!(matches!(ledger.find("a"), Err(Error::Ambiguous { count: 2, .. })));
    assert!(matches!(
        ledger.update("b", &Change::running(1)),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn one_of_many_claims_a_binding() {
    let (dir, mut ledger) = ledger();
    let written = binding("a", &[], Isolation::Shared);
    ledger.begin(&written).unwrap();
    let claims: Vec<bool> = std::thread::scope(|scope| {
        let claim = |number: u32| {
            let to = Owner {
                pid: number,
                ..written.owner.clone()
            };
            let (from, path) = (&written.owner, dir.path());
            scope.spawn(move || Ledger::open(path).unwrap().claim("a", from, &to).unwrap())
        };
        let threads: Vec<_> = (1..=8).map(claim).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(claims.iter().filter(|claimed| **claimed).count(), 1);
}

#[test]
fn of_many_that_want_a_device_alone_one_gets_it() {
    let (dir, ledger) = ledger();
    let won: usize = std::thread::scope(|scope| {
        let want = |number: usize| {
            let path = dir.path();
            scope.spawn(move || {
                let wanted = binding(&format!("c{number}"), &["GPU-1"], Isolation::Exclusive);
                usize::from(Ledger::open(path).unwrap().begin(&wanted).is_ok())
            })
        };
        let threads: Vec<_> = (0..16).map(want).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(ledger.list().unwrap().len(), 1);
}

#[test]
fn running_and_exited_are_remembered() {
    let (_dir, mut ledger) = ledger();
    ledger.begin(&binding("a", &["GPU-1"], Isolation::Shared)).unwrap();
    ledger.update("a", &Change::running(4711)).unwrap();
    ledger.update("a", &Change::exited(137, 1_700_000_009)).unwrap();
    let read = ledger.find("a").unwrap();
    assert_eq!(
        (read.status, read.pid, read.exit_code),
        (Status::Exited, Some(4711), Some(137))
    );
    assert_eq!(
        (read.finished_at, read.devices),
        (Some(1_700_000_009), vec!["GPU-1".to_owned()])
    );
}
