//! Whole-process figures beside the peers, in turn in one run (A B A B ...): medians, spread, ratios.
//!
//! - `create`: what putting eight GPUs and the full user-space driver into a container adds to bare runc.
//! - `cdi`: `nvbind cdi generate` on the same host.
//! - `life`: the whole life of `true` in the native engine, beside `runc run` of the same bundle.
//! - `parallel`: the same, many at once.
//!
//! Run by `make bench`, which sets NVBIND_BUILD (the release tree), NVBIND_BENCH_ROOTFS (a Debian root that may be
//! written to), NVBIND_BENCH_CLEAN_ROOTFS (one that stays as it is) and NVBIND_SIM_DRIVER (the unpacked user-space
//! driver). Peers that are not installed are named. Words on the command line choose sections; without one all run.

mod bundle;
mod cdi;
mod measure;
mod native;
mod passthrough;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Rounds that count, unless NVBIND_BENCH_PAIRS says otherwise.
const PAIRS: usize = 25;
/// The simulated machine.
const PROFILE: &str = "hgx-h100";

type Section = (&'static str, fn(&Bench));

const SECTIONS: [Section; 4] = [
    ("create", Bench::passthrough),
    ("cdi", Bench::cdi_generate),
    ("life", Bench::native),
    ("parallel", Bench::parallel),
];

struct Bench {
    bin: PathBuf,
    rootfs: PathBuf,
    clean_rootfs: PathBuf,
    work: PathBuf,
    state: PathBuf,
    /// Rounds that count.
    pairs: usize,
}

fn main() {
    let asked: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|word| SECTIONS.iter().all(|(name, _)| name != word)) {
        eprintln!("bench: there is no section '{unknown}': create, cdi, life or parallel");
        exit(2);
    }
    let build = PathBuf::from(required("NVBIND_BUILD"));
    // Engines keep bundles, and hosts their CDI specs, below /run: a tmpfs.
    let work = Path::new("/dev/shm").join(format!("nvbind-bench-{}", std::process::id()));
    fs::create_dir_all(&work).expect("create the bench's folder");
    let bench = Bench {
        bin: build.join("bin"),
        rootfs: required("NVBIND_BENCH_ROOTFS").into(),
        clean_rootfs: required("NVBIND_BENCH_CLEAN_ROOTFS").into(),
        work,
        pairs: pairs(),
        // The simulated machine has device nodes, which a tmpfs may refuse to open.
        state: env::temp_dir().join(format!("nvbind-bench-state-{}", std::process::id())),
    };
    for (name, section) in SECTIONS {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            section(&bench);
        }
    }
    for folder in [&bench.work, &bench.state] {
        fs::remove_dir_all(folder).expect("remove the bench's folder");
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        eprintln!("bench: {name} is not set: run `make bench`");
        exit(2)
    })
}

fn pairs() -> usize {
    let given = env::var("NVBIND_BENCH_PAIRS").ok();
    given.map_or(PAIRS, |text| text.parse().expect("NVBIND_BENCH_PAIRS is a number"))
}

impl Bench {
    fn nvbind(&self) -> Command {
        let mut command = Command::new(self.bin.join("nvbind"));
        command.env("NVBIND_STATE_DIR", &self.state).env("NVBIND_SIM", PROFILE);
        command
    }
}

fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}
