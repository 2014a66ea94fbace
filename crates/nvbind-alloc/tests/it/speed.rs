//! What the ledger costs a run. The budget (1.5 ms) holds for a release build on a quiet machine; the bound here only
//! catches a change of order, such as an fsync on the way.

use crate::{binding, ledger};
use nvbind_alloc::{Isolation, Ledger};
use std::time::{Duration, Instant};

#[test]
fn a_run_pays_little_for_its_record() {
    let (dir, _keep) = ledger();
    let mut times: Vec<Duration> = (0..50)
        .map(|round| {
            let start = Instant::now();
            let mut ledger = Ledger::open(dir.path()).unwrap();
            assert!(ledger.dead().unwrap().is_empty());
            let id = format!("r{round}");
            ledger.begin(&binding(&id, &["GPU-1"], Isolation::Shared)).unwrap();
            ledger.finish(&id).unwrap();
            drop(ledger);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "open, dead, begin, finish, close: median {:?}, worst {:?}",
        times[25], times[49]
    );
    assert!(times[25] < Duration::from_millis(15), "median {:?}", times[25]);
}
