//! `nvbind cdi generate` on the simulated host.

use crate::measure::{Figure, WARM_UP, keep, load, ratio, table, timed};
use crate::{Bench, PROFILE, find};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Milliseconds (shared/DESIGN.md, "Speed and size").
const BUDGET: f64 = 3.0;

impl Bench {
    pub(crate) fn cdi_generate(&self) {
        println!("## `cdi generate`, 8 GPUs, full driver (load {})\n", load());
        let peer = find("nvidia-ctk");
        // Where specs go by default, /var/run, is in memory; on a disk, the spec is forced there before it gets its name.
        let memory = PathBuf::from(format!("/dev/shm/nvbind-bench-{}.yaml", std::process::id()));
        let output = self.work.join("generated.yaml");
        let mut figures = vec![
            Figure::new("nvbind cdi generate, to memory as by default"),
            Figure::new("nvbind --version (process start)"),
            Figure::new("/bin/true (the least that a process takes)"),
            Figure::new("nvbind cdi generate, to a disk"),
        ];
        if peer.is_some() {
            figures.push(Figure::new("nvidia-ctk cdi generate"));
        }
        let root = self.sim_root();
        for round in 0..WARM_UP + 2 * self.pairs {
            let mut times = vec![self.generate_to(&memory)];
            times.push(timed(self.nvbind().arg("--version")));
            times.push(timed(&mut Command::new("/bin/true")));
            times.push(self.generate_to(&output));
            if let Some(peer) = &peer {
                let mut command = Command::new(peer);
                command.args(["cdi", "generate", "--driver-root"]).arg(&root);
                times.push(timed(command.arg("--output").arg(&memory)));
            }
            keep(&mut figures, &times, round);
        }
        let _ = std::fs::remove_file(&memory);
        table(&figures, "ms");
        println!("\nbudget {BUDGET} ms");
        match figures.get(4) {
            Some(peer) => println!(
                "nvbind / nvidia-ctk: {:.2} (median pair by pair)\n",
                ratio(&figures[0], peer)
            ),
            None => println!("nvidia-ctk is not installed: left out\n"),
        }
    }

    fn generate_to(&self, output: &Path) -> f64 {
        timed(self.nvbind().args(["cdi", "generate", "--output"]).arg(output))
    }

    fn sim_root(&self) -> PathBuf {
        let output = self.nvbind().args(["sim", "path", PROFILE]).output();
        let output = output.expect("nvbind sim path");
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    }
}
