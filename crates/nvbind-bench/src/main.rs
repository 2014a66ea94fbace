//! Whole-process figures beside the peers, in turn in one run (A B A B ...): medians, spread, ratios.
//!
//! 1. `create`: what putting eight GPUs and the full user-space driver into a container adds to bare runc.
//! 2. `cdi generate` on the same host.
//! 3. the whole life of `true` in the native engine, beside `runc run` of the same bundle.
//!
//! Run by `make bench`, which sets NVBIND_BUILD (the release tree), NVBIND_BENCH_ROOTFS (a Debian root that may be
//! written to) and NVBIND_SIM_DRIVER (the unpacked user-space driver). Peers that are not installed are named.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PAIRS: usize = 25;
const WARM_UP: usize = 2;
const PROFILE: &str = "hgx-h100";

struct Bench {
    bin: PathBuf,
    rootfs: PathBuf,
    work: PathBuf,
    state: PathBuf,
}

struct Figure {
    name: String,
    samples: Vec<Duration>,
}

fn main() {
    let build = PathBuf::from(required("NVBIND_BUILD"));
    // Engines keep bundles, and hosts their CDI specs, below /run: a tmpfs.
    let work = Path::new("/dev/shm").join(format!("nvbind-bench-{}", std::process::id()));
    fs::create_dir_all(work.join("cdi")).expect("create the bench's folder");
    let bench = Bench {
        bin: build.join("bin"),
        rootfs: required("NVBIND_BENCH_ROOTFS").into(),
        work,
        // The simulated machine has device nodes, which a tmpfs may refuse to open.
        state: env::temp_dir().join(format!("nvbind-bench-state-{}", std::process::id())),
    };
    bench.passthrough();
    bench.cdi_generate();
    bench.native();
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

impl Bench {
    fn nvbind(&self) -> Command {
        let mut command = Command::new(self.bin.join("nvbind"));
        command.env("NVBIND_STATE_DIR", &self.state).env("NVBIND_SIM", PROFILE);
        command
    }

    fn passthrough(&self) {
        let spec = self.work.join("cdi/nvidia.json");
        must(self.nvbind().args(["cdi", "generate", "--output"]).arg(&spec));
        let plain = self.bundle("plain", true);
        let finished = self.bundle("finished", true);
        let original = fs::read(plain.join("config.json")).expect("config.json");
        self.finish(&finished);
        let floor = self.bundle("floor", true);
        let mut config = read_json(&finished.join("config.json"));
        let (mounts, nodes) = (count(&config, "/mounts"), count(&config, "/linux/devices"));
        if let Some(object) = config.as_object_mut() {
            object.remove("hooks");
        }
        fs::write(floor.join("config.json"), config.to_string()).expect("write config.json");

        let shim = self.bin.join("nvbind-runtime");
        let peer = find("nvidia-container-runtime");
        let mut figures = vec![
            figure("A nvbind-runtime create"),
            figure("B runc create, bundle as it is"),
            figure("F runc create, finished bundle less its hooks (floor)"),
        ];
        if peer.is_some() {
            figures.push(figure("C nvidia-container-runtime create"));
        }
        let runc = Path::new("runc");
        let mut candidates: Vec<(&Path, &Path)> = vec![(&shim, &plain), (runc, &plain), (runc, &floor)];
        candidates.extend(peer.iter().map(|peer| (peer.as_path(), plain.as_path())));
        for round in 0..WARM_UP + PAIRS {
            // Each comes first in its turn: what runs after a `delete` pays for the kernel's cleaning up.
            let mut times = vec![Duration::ZERO; candidates.len()];
            for turn in 0..candidates.len() {
                let index = (round + turn) % candidates.len();
                let (runtime, bundle) = candidates[index];
                fs::write(plain.join("config.json"), &original).expect("restore config.json");
                times[index] = self.create(runtime, bundle, round);
            }
            keep(&mut figures, times, round);
        }
        println!("## Passthrough: `create`, 8 GPUs, full driver ({mounts} mounts, {nodes} device nodes)\n");
        table(&figures);
        println!(
            "\nA - F: {:.2} ms above the floor (median of differences pair by pair)",
            difference(&figures[0], &figures[2])
        );
        println!(
            "A - B: {:.2} ms above an unedited bundle",
            difference(&figures[0], &figures[1])
        );
        println!(
            "F - B: {:.2} ms for the mounts and nodes themselves",
            difference(&figures[2], &figures[1])
        );
        match peer {
            Some(_) => println!(
                "(A - B) / (C - B): {:.2}\n",
                difference(&figures[0], &figures[1]) / difference(&figures[3], &figures[1])
            ),
            None => println!("nvidia-container-runtime is not installed: left out\n"),
        }
    }

    fn cdi_generate(&self) {
        let peer = find("nvidia-ctk");
        let output = self.work.join("generated.yaml");
        let mut figures = vec![
            figure("nvbind cdi generate"),
            figure("nvbind --version (process start)"),
        ];
        if peer.is_some() {
            figures.push(figure("nvidia-ctk cdi generate"));
        }
        let root = self.sim_root();
        for round in 0..WARM_UP + PAIRS {
            let mut times = vec![timed(self.nvbind().args(["cdi", "generate", "--output"]).arg(&output))];
            times.push(timed(self.nvbind().arg("--version")));
            if let Some(peer) = &peer {
                times.push(timed(
                    Command::new(peer)
                        .args(["cdi", "generate", "--driver-root"])
                        .arg(&root)
                        .arg("--output")
                        .arg(&output),
                ));
            }
            keep(&mut figures, times, round);
        }
        println!("## `cdi generate`, 8 GPUs, full driver\n");
        table(&figures);
        if peer.is_none() {
            println!("\nnvidia-ctk is not installed: left out\n");
        }
    }

    fn native(&self) {
        let bundle = self.native_bundle();
        let mut figures = vec![
            figure("nvbind run --runtime native --rootfs DIR -- true"),
            figure("runc run of the same bundle"),
        ];
        for round in 0..WARM_UP + PAIRS {
            let nvbind = timed(
                self.nvbind()
                    .args(["run", "--runtime", "native", "--rootfs"])
                    .arg(&self.rootfs)
                    .args(["--", "true"]),
            );
            let runc = timed(
                Command::new("runc")
                    .arg("run")
                    .arg("--bundle")
                    .arg(&bundle)
                    .arg(format!("nvbind-bench-life-{round}")),
            );
            keep(&mut figures, vec![nvbind, runc], round);
        }
        println!("## The whole life of `true`\n");
        table(&figures);
        println!(
            "\nratio nvbind / runc: {:.2} (median pair by pair)",
            ratio(&figures[0], &figures[1])
        );
    }

    fn sim_root(&self) -> PathBuf {
        let output = self
            .nvbind()
            .args(["sim", "path", PROFILE])
            .output()
            .expect("nvbind sim path");
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    }

    /// The bundle that the native engine makes for `true`, so that runc runs the very same.
    fn native_bundle(&self) -> PathBuf {
        let name = "nvbind-bench-bundle";
        let arguments = ["run", "--runtime", "native", "--detach", "--name", name, "--rootfs"];
        must(
            self.nvbind()
                .args(arguments)
                .arg(&self.rootfs)
                .args(["--", "sleep", "60"]),
        );
        let listed = self
            .nvbind()
            .args(["ps", "--format", "json"])
            .output()
            .expect("nvbind ps");
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("nvbind ps prints JSON");
        let row = listed
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["name"] == name))
            .expect("the bench's container is listed");
        let made = PathBuf::from(row["bundle"].as_str().expect("bundle"));
        let mut config = read_json(&made.join("config.json"));
        must(self.nvbind().args(["rm", "--force", name]));
        config["process"]["args"] = json!(["true"]);
        if let Some(linux) = config["linux"].as_object_mut() {
            linux.remove("cgroupsPath");
        }
        let bundle = self.work.join("native");
        fs::create_dir_all(&bundle).expect("bundle");
        fs::write(bundle.join("config.json"), config.to_string()).expect("config.json");
        bundle
    }

    /// A bundle by `runc spec` on the bench's root file system.
    fn bundle(&self, name: &str, gpus: bool) -> PathBuf {
        let bundle = self.work.join(name);
        fs::create_dir_all(&bundle).expect("bundle");
        must(Command::new("runc").arg("spec").current_dir(&bundle));
        let mut config = read_json(&bundle.join("config.json"));
        config["root"] = json!({ "path": self.rootfs, "readonly": false });
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["true"]);
        if gpus {
            let environment = config["process"]["env"].as_array_mut().expect("env");
            environment.push(json!("NVIDIA_VISIBLE_DEVICES=all"));
            environment.push(json!("NVIDIA_DRIVER_CAPABILITIES=all"));
        }
        fs::write(bundle.join("config.json"), config.to_string()).expect("config.json");
        bundle
    }

    /// Lets the shim finish a bundle, with `true` standing where runc would.
    fn finish(&self, bundle: &Path) {
        let mut command = self.shim_command(&self.bin.join("nvbind-runtime"));
        must(
            command
                .env("NVBIND_RUNTIME_RUNTIMES", "/bin/true")
                .arg("create")
                .arg("--bundle")
                .arg(bundle)
                .arg("finish"),
        );
    }

    fn shim_command(&self, runtime: &Path) -> Command {
        let mut command = Command::new(runtime);
        command
            .env("NVBIND_CDI_SPEC_DIRS", self.work.join("cdi"))
            .env("NVBIND_RUNTIME_RUNTIMES", "runc");
        command
    }

    fn create(&self, runtime: &Path, bundle: &Path, round: usize) -> Duration {
        let id = format!(
            "nvbind-bench-{}-{round}",
            bundle.file_name().unwrap_or_default().to_string_lossy()
        );
        let time = timed(
            self.shim_command(runtime)
                .arg("create")
                .arg("--bundle")
                .arg(bundle)
                .arg(&id),
        );
        must(Command::new("runc").args(["delete", "-f", &id]));
        time
    }
}

fn figure(name: &str) -> Figure {
    Figure {
        name: name.to_owned(),
        samples: Vec::new(),
    }
}

fn keep(figures: &mut [Figure], times: Vec<Duration>, round: usize) {
    if round >= WARM_UP {
        for (figure, time) in figures.iter_mut().zip(times) {
            figure.samples.push(time);
        }
    }
}

fn timed(command: &mut Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let time = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    time
}

fn must(command: &mut Command) {
    timed(command);
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("read JSON")).expect("JSON")
}

fn count(config: &Value, pointer: &str) -> usize {
    config.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
}

fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn difference(a: &Figure, b: &Figure) -> f64 {
    median(
        a.samples
            .iter()
            .zip(&b.samples)
            .map(|(a, b)| milliseconds(*a) - milliseconds(*b))
            .collect(),
    )
}

fn ratio(a: &Figure, b: &Figure) -> f64 {
    median(
        a.samples
            .iter()
            .zip(&b.samples)
            .map(|(a, b)| milliseconds(*a) / milliseconds(*b))
            .collect(),
    )
}

fn table(figures: &[Figure]) {
    println!("| what | median ms | min | max |\n|---|---|---|---|");
    for figure in figures {
        let values: Vec<f64> = figure.samples.iter().map(|time| milliseconds(*time)).collect();
        let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(min, max), value| {
            (min.min(*value), max.max(*value))
        });
        println!("| {} | {:.2} | {min:.2} | {max:.2} |", figure.name, median(values));
    }
}
