//! What putting GPUs and the full user-space driver into a container adds to bare runc: `create`, for several kinds of
//! requests.

use crate::measure::{Figure, WARM_UP, difference, difference_of_minima, keep, load, must, ratio, table, timed};
use crate::{Bench, PROFILE, bundle, find};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// One kind of request.
struct Scenario {
    title: &'static str,
    environment: &'static [&'static str],
    /// Whether every GPU is cut into MIG devices.
    mig: bool,
    /// Whether there is a spec file; else the shim asks `nvbind cdi generate`.
    has_spec: bool,
    /// Whether each container has a root that no container had before: mount points, links and cache are to be made.
    fresh_root: bool,
    /// Milliseconds above the floor (shared/DESIGN.md, "Speed and size").
    budget: f64,
}

const ALL_GPUS: &str = "NVIDIA_VISIBLE_DEVICES=all";

const DEFAULT: Scenario = Scenario {
    title: "default capabilities",
    environment: &[ALL_GPUS],
    mig: false,
    has_spec: true,
    fresh_root: false,
    budget: 4.0,
};

const SCENARIOS: [Scenario; 6] = [
    DEFAULT,
    Scenario {
        title: "all capabilities",
        environment: &[ALL_GPUS, "NVIDIA_DRIVER_CAPABILITIES=all"],
        ..DEFAULT
    },
    Scenario {
        title: "compute, utility and 32-bit libraries",
        environment: &[ALL_GPUS, "NVIDIA_DRIVER_CAPABILITIES=compute,utility,compat32"],
        ..DEFAULT
    },
    Scenario {
        title: "every GPU cut into seven MIG devices",
        mig: true,
        ..DEFAULT
    },
    Scenario {
        title: "all capabilities, a root that is new each time",
        environment: &[ALL_GPUS, "NVIDIA_DRIVER_CAPABILITIES=all"],
        fresh_root: true,
        ..DEFAULT
    },
    Scenario {
        title: "just in time: no spec file",
        has_spec: false,
        budget: 8.0,
        ..DEFAULT
    },
];

/// The slices of a GPU cut as small as it can be (H100 with 80 GB).
const SMALLEST_CUT: [&str; 7] = ["1g.10gb"; 7];
/// GPUs of the simulated machine.
const GPUS: usize = 8;

/// Before each start: the kernel goes on cleaning up after a `delete`, and what starts meanwhile finds another machine than what starts a few
/// milliseconds later, as a runtime behind a shim does.
const SETTLE: Duration = Duration::from_millis(50);

/// The bundles and programs of one scenario.
struct Stage<'bench> {
    bench: &'bench Bench,
    scenario: &'bench Scenario,
    specs: PathBuf,
    /// Bundle of containers as the user asks for them.
    plain: PathBuf,
    /// The same, finished by nvbind, less its hooks.
    floor: PathBuf,
    /// The text of the plain bundle's configuration.
    original: Vec<u8>,
    rootfs: PathBuf,
}

impl Bench {
    pub(crate) fn passthrough(&self) {
        self.cut_every_gpu();
        for scenario in &SCENARIOS {
            self.scenario(scenario);
        }
    }

    /// The machine whose GPUs are cut is another one than the rest is measured on.
    fn cut_every_gpu(&self) {
        for gpu in 0..GPUS {
            let mut command = self.nvbind();
            command.env("NVBIND_STATE_DIR", self.mig_state());
            must(command.args(["sim", "mig", &gpu.to_string()]).args(SMALLEST_CUT));
        }
    }

    fn mig_state(&self) -> PathBuf {
        self.state.join("mig")
    }

    fn scenario(&self, scenario: &Scenario) {
        let stage = Stage::new(self, scenario);
        let config = bundle::read(&stage.floor);
        let (mounts, nodes) = (
            bundle::count(&config, "/mounts"),
            bundle::count(&config, "/linux/devices"),
        );
        println!(
            "## `create`: {} ({mounts} mounts, {nodes} device nodes; load {})\n",
            scenario.title,
            load()
        );
        let shim = self.bin.join("nvbind-runtime");
        let peer = find("nvidia-container-runtime");
        let runc = Path::new("runc");
        let mut figures = vec![
            Figure::new("A nvbind-runtime create"),
            Figure::new("B runc create, bundle as it is"),
            Figure::new("F runc create, finished bundle less its hooks (floor)"),
        ];
        let mut candidates: Vec<(&Path, &Path)> =
            vec![(&shim, &stage.plain), (runc, &stage.plain), (runc, &stage.floor)];
        if let Some(peer) = &peer {
            figures.push(Figure::new("C nvidia-container-runtime create"));
            candidates.push((peer, &stage.plain));
        }
        for round in 0..WARM_UP + self.pairs {
            // Each comes first in its turn.
            let mut times = vec![0.0; candidates.len()];
            for turn in 0..candidates.len() {
                let index = (round + turn) % candidates.len();
                let (runtime, bundle) = candidates[index];
                times[index] = stage.create(runtime, bundle, round);
            }
            keep(&mut figures, &times, round);
        }
        table(&figures, "ms");
        report(&figures, scenario.budget);
        stage.strike();
    }
}

fn report(figures: &[Figure], budget: f64) {
    let [a, b, f, peer @ ..] = figures else { return };
    println!("\nA / F: {:.2} (median of ratios pair by pair)", ratio(a, f));
    println!(
        "A - F: {:.2} ms above the floor (median pair by pair), {:.2} by the minima; budget {budget} ms",
        difference(a, f),
        difference_of_minima(a, f)
    );
    println!("A - B: {:.2} ms above an unedited bundle", difference(a, b));
    println!("F - B: {:.2} ms for the mounts and nodes themselves", difference(f, b));
    match peer.first() {
        Some(c) => println!("(A - B) / (C - B): {:.2}\n", difference(a, b) / difference(c, b)),
        None => println!("nvidia-container-runtime is not installed: left out\n"),
    }
}

impl<'bench> Stage<'bench> {
    fn new(bench: &'bench Bench, scenario: &'bench Scenario) -> Self {
        let rootfs = match scenario.fresh_root {
            true => bench.work.join("fresh/merged"),
            false => bench.rootfs.clone(),
        };
        let mut stage = Self {
            bench,
            scenario,
            specs: bench.work.join("cdi"),
            plain: bench.bundle("plain", &rootfs, scenario.environment),
            floor: bench.bundle("floor", &rootfs, scenario.environment),
            original: Vec::new(),
            rootfs,
        };
        stage.original = fs::read(stage.plain.join("config.json")).expect("config.json");
        stage.make_spec();
        stage.renew_root();
        stage.finish_floor();
        stage
    }

    fn make_spec(&self) {
        let _ = fs::remove_dir_all(&self.specs);
        fs::create_dir_all(&self.specs).expect("make the folder of specs");
        if self.scenario.has_spec {
            let mut command = self.bench.nvbind();
            command.env("NVBIND_STATE_DIR", self.state());
            let spec = self.specs.join("nvidia.json");
            must(command.args(["cdi", "generate", "--output"]).arg(spec));
        }
    }

    fn state(&self) -> PathBuf {
        match self.scenario.mig {
            true => self.bench.mig_state(),
            false => self.bench.state.clone(),
        }
    }

    /// Lets the shim finish the bundle, with `true` standing where runc would, and takes the hooks out.
    fn finish_floor(&self) {
        let mut command = self.command(&self.bench.bin.join("nvbind-runtime"));
        command.env("NVBIND_RUNTIME_RUNTIMES", "/bin/true");
        must(command.arg("create").arg("--bundle").arg(&self.floor).arg("finish"));
        let mut config = bundle::read(&self.floor);
        config.as_object_mut().and_then(|config| config.remove("hooks"));
        let nodes = config.pointer("/linux/devices").and_then(Value::as_array);
        assert!(nodes.is_some_and(|nodes| nodes.len() > GPUS), "the bundle got its GPUs");
        bundle::write(&self.floor, &config);
    }

    fn command(&self, runtime: &Path) -> Command {
        let mut command = Command::new(runtime);
        command
            .env("NVBIND_CDI_SPEC_DIRS", &self.specs)
            .env("NVBIND_STATE_DIR", self.state())
            .env("NVBIND_SIM", PROFILE)
            .env("NVBIND_RUNTIME_RUNTIMES", "runc");
        command
    }

    fn create(&self, runtime: &Path, bundle: &Path, round: usize) -> f64 {
        fs::write(self.plain.join("config.json"), &self.original).expect("restore config.json");
        self.renew_root();
        let name = bundle.file_name().unwrap_or_default().to_string_lossy();
        let id = format!("nvbind-bench-{name}-{round}");
        let mut command = self.command(runtime);
        thread::sleep(SETTLE);
        let time = timed(command.arg("create").arg("--bundle").arg(bundle).arg(&id));
        must(Command::new("runc").args(["delete", "-f", &id]));
        time
    }

    /// An overlay with nothing in its own layer.
    fn renew_root(&self) {
        if !self.scenario.fresh_root {
            return;
        }
        self.unmount_root();
        let fresh = self.bench.work.join("fresh");
        let _ = fs::remove_dir_all(&fresh);
        let [upper, work] = ["upper", "work"].map(|name| fresh.join(name));
        for folder in [&upper, &work, &self.rootfs] {
            fs::create_dir_all(folder).expect("make an overlay's folder");
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.bench.clean_rootfs.display(),
            upper.display(),
            work.display()
        );
        must(
            Command::new("mount")
                .args(["-t", "overlay", "overlay", "-o", &options])
                .arg(&self.rootfs),
        );
    }

    fn unmount_root(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let is_mounted = mounts
            .lines()
            .any(|line| line.split(' ').nth(4).map(Path::new) == Some(&self.rootfs));
        if is_mounted {
            must(Command::new("umount").arg(&self.rootfs));
        }
    }

    /// Takes down what the next scenario must not find.
    fn strike(&self) {
        if self.scenario.fresh_root {
            self.unmount_root();
        }
    }
}
