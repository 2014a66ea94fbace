//! The native engine beside `runc run` of the same bundle: one `true` after the other, and many at once.

use crate::Bench;
use crate::measure::{Figure, WARM_UP, keep, load, ratio, table, timed};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Containers of one batch.
const BATCH: usize = 200;
/// How many of a batch live at once.
const CONCURRENCY: [usize; 2] = [8, BATCH];
/// Most batches of each candidate.
const BATCH_PAIRS: usize = 15;

impl Bench {
    pub(crate) fn native(&self) {
        println!("## The whole life of `true` (load {})\n", load());
        let bundle = self.native_bundle();
        let mut figures = vec![
            Figure::new("nvbind run --runtime native --rootfs DIR -- true"),
            Figure::new("runc run of the same bundle"),
        ];
        for round in 0..WARM_UP + self.pairs {
            let id = format!("nvbind-bench-life-{round}");
            let times = [timed(&mut self.run_true()), timed(&mut runc_run(&bundle, &id))];
            keep(&mut figures, &times, round);
        }
        table(&figures, "ms");
        let ratio = ratio(&figures[0], &figures[1]);
        println!("\nratio nvbind / runc: {ratio:.2} (median pair by pair)\n");
    }

    pub(crate) fn parallel(&self) {
        let bundle = self.native_bundle();
        for at_once in CONCURRENCY {
            self.parallel_with(&bundle, at_once);
        }
    }

    fn parallel_with(&self, bundle: &Path, at_once: usize) {
        println!("## {BATCH} times `true`, {at_once} at once (load {})\n", load());
        let mut rates = vec![
            Figure::new("nvbind run --runtime native --rootfs DIR -- true"),
            Figure::new("runc run of the same bundle"),
        ];
        let mut errors = [0; 2];
        for round in 0..WARM_UP + self.pairs.min(BATCH_PAIRS) {
            let ours = batch(at_once, |_| self.run_true());
            let theirs = batch(at_once, |number| {
                runc_run(bundle, &format!("nvbind-bench-many-{round}-{number}"))
            });
            keep(&mut rates, &[ours.rate, theirs.rate], round);
            errors[0] += ours.errors;
            errors[1] += theirs.errors;
        }
        table(&rates, "containers/s");
        let ratio = ratio(&rates[0], &rates[1]);
        println!(
            "\nrate nvbind / runc: {ratio:.2} (median pair by pair); errors: nvbind {}, runc {}\n",
            errors[0], errors[1]
        );
    }

    fn run_true(&self) -> Command {
        let mut command = self.nvbind();
        command
            .args(["run", "--runtime", "native", "--rootfs"])
            .arg(&self.rootfs);
        command.args(["--", "true"]);
        command
    }
}

fn runc_run(bundle: &Path, id: &str) -> Command {
    let mut command = Command::new("runc");
    command.arg("run").arg("--bundle").arg(bundle).arg(id);
    command
}

/// What came of a batch.
struct Batch {
    /// Containers per second, those that failed left out.
    rate: f64,
    errors: usize,
}

/// Runs the commands of a batch, so many at once; each that fails says so.
fn batch(at_once: usize, command: impl Fn(usize) -> Command + Sync) -> Batch {
    let (next, errors) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= BATCH {
                return;
            }
            if let Some(words) = failure(&mut command(number)) {
                errors.fetch_add(1, Ordering::Relaxed);
                eprintln!("bench: container {number}: {words}");
            }
        }
    };
    let start = Instant::now();
    thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));
    let seconds = start.elapsed().as_secs_f64();
    let errors = errors.into_inner();
    Batch {
        rate: (BATCH - errors) as f64 / seconds,
        errors,
    }
}

/// What a command that failed had to say.
fn failure(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = || format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    (!output.status.success()).then(words)
}
