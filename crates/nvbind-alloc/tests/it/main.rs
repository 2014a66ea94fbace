//! The ledger as several processes use it.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod conflicts;
mod crash;
mod damage;
mod speed;

use nvbind_alloc::{Binding, Isolation, Ledger, Owner, Status};

/// A binding of the calling process.
fn binding(id: &str, devices: &[&str], isolation: Isolation) -> Binding {
    Binding {
        id: id.to_owned(),
        name: format!("name-{id}"),
        engine: "native".to_owned(),
        devices: devices.iter().map(|device| (*device).to_owned()).collect(),
        isolation,
        owner: Owner::current().unwrap(),
        status: Status::Created,
        pid: None,
        exit_code: None,
        detached: false,
        image: "/rootfs".to_owned(),
        command: vec!["true".to_owned()],
        created_at: 1_700_000_000,
        finished_at: None,
        bundle: Some("/run/nvbind/containers/x".into()),
        cgroup: Some("/nvbind/x".to_owned()),
    }
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::Builder::new().prefix("nvbind-alloc-").tempdir().unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    (dir, ledger)
}
