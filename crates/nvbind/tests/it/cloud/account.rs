//! An account at an emulated cloud, and an nvbind that uses it.

use crate::support::{stderr, stdout};
use nvbind_testkit::{Emulator, check, small_rootfs, temp_dir};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The programs as they are installed, without what debuggers want: they are copied to machines.
fn programs() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let nvbind = PathBuf::from(env!("CARGO_BIN_EXE_nvbind"));
        let dir = nvbind.with_file_name(format!("cloud-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("folder of programs");
        let companions = [
            nvbind,
            nvbind_testkit::program("nvbind-oci", "nvbind-runtime"),
            nvbind_testkit::program("nvbind-oci", "nvbind-hook"),
            nvbind_testkit::library("nvbind-sim-nvml"),
        ];
        for program in companions {
            let target = dir.join(program.file_name().unwrap_or_default());
            check(
                Command::new("strip")
                    .arg("--strip-debug")
                    .arg("-o")
                    .arg(target)
                    .arg(program),
            );
        }
        dir
    })
}

/// The folder of the programs, with that provider's among them.
fn programs_with(provider: &str) -> PathBuf {
    let dir = programs();
    let name = format!("nvbind-provider-{provider}");
    let target = dir.join(&name);
    let built = nvbind_testkit::provider(provider);
    // Another test may be making the same link.
    let _ = std::os::unix::fs::symlink(built, target);
    dir.to_owned()
}

/// An account at an emulated cloud whose machines are real, and the state of an nvbind that uses it.
pub(crate) struct Account {
    pub(crate) emulator: Emulator,
    provider: &'static str,
    programs: PathBuf,
    dir: TempDir,
}

impl Account {
    pub(crate) fn new(provider: &'static str) -> Self {
        let programs = programs_with(provider);
        let dir = temp_dir("cloud");
        let image = dir.path().join("image");
        bake(&image);
        let text = |path: PathBuf| path.display().to_string();
        let emulator = Emulator::start(
            provider,
            &[
                ("NVBIND_EMULATED_MACHINES", &text(dir.path().join("machines"))),
                ("NVBIND_MACHINES_IMAGE", &text(image)),
                ("NVBIND_SIM", "dgx-a100"),
            ],
        );
        Self {
            emulator,
            provider,
            programs,
            dir,
        }
    }

    /// `nvbind` with this account's credentials.
    pub(crate) fn nvbind(&self) -> Command {
        let mut command = Command::new(self.programs.join("nvbind"));
        command.env("NVBIND_STATE_DIR", self.dir.path().join("state"));
        command.env("NVBIND_CLOUD_PROVIDERS", self.provider);
        command.env("HOME", self.dir.path());
        command.env_remove("NVBIND_SIM");
        for (name, value) in variables(self.provider, &self.emulator.url()) {
            command.env(name, value);
        }
        command
    }

    /// Runs `nvbind cloud` to its end.
    pub(crate) fn cloud(&self, arguments: &[&str]) -> Output {
        let mut command = self.nvbind();
        command.arg("cloud").args(arguments);
        command.output().expect("start nvbind")
    }

    /// Runs `nvbind cloud` to its end; panics when it fails.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.cloud(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}{}",
            output.status,
            stdout(&output),
            stderr(&output)
        );
        stdout(&output)
    }

    /// What is written down about a deployment.
    pub(crate) fn status(&self, name: &str) -> Value {
        serde_json::from_str(&self.ok(&["status", name, "--all", "--format", "json"])).expect("status prints JSON")
    }

    /// Options of a deployment that runs that script.
    pub(crate) fn deploy(&self, name: &str, script: &str, more: &[&str]) -> Vec<String> {
        let rootfs = small_rootfs().display().to_string();
        let mut arguments: Vec<String> = [
            "deploy",
            "--name",
            name,
            "--gpu-type",
            "T4,L4,A10,A100,V100",
            "--rootfs",
            &rootfs,
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        arguments.extend(["--", "sh", "-c", script].map(str::to_owned));
        arguments
    }

    /// Tokens of the attempts of which something may be left.
    pub(crate) fn open_tokens(&self, name: &str) -> BTreeSet<String> {
        let status = self.status(name);
        let attempts = status["attempts"].as_array().cloned().unwrap_or_default();
        let open = attempts.iter().filter(|attempt| attempt["ended_ms"].is_null());
        open.filter_map(|attempt| attempt["order"]["token"].as_str().map(str::to_owned))
            .collect()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }
}

/// What an image of a machine has: nvbind, so that it need not be copied.
fn bake(image: &Path) {
    let bin = image.join("usr/local/bin");
    std::fs::create_dir_all(&bin).expect("image");
    for name in ["nvbind", "nvbind-runtime", "nvbind-hook", "libnvbind_sim_nvml.so"] {
        check(
            Command::new("cp")
                .arg("--reflink=auto")
                .arg(programs().join(name))
                .arg(&bin),
        );
    }
}

/// Credentials and endpoint, as each cloud's SDK takes them.
fn variables(provider: &str, url: &str) -> Vec<(&'static str, String)> {
    let text = |value: &str| value.to_owned();
    match provider {
        "aws" => vec![
            ("AWS_ENDPOINT_URL", text(url)),
            ("AWS_ACCESS_KEY_ID", text("test")),
            ("AWS_SECRET_ACCESS_KEY", text("test")),
            ("AWS_REGION", text("us-east-1")),
            ("AWS_EC2_METADATA_DISABLED", text("true")),
        ],
        "gcp" => vec![
            ("GOOGLE_CLOUD_PROJECT", text("nvbind-test")),
            ("NVBIND_GCP_ENDPOINT", text(url)),
        ],
        _ => vec![
            ("AZURE_SUBSCRIPTION_ID", text("00000000-0000-0000-0000-000000000001")),
            ("AZURE_TENANT_ID", text("00000000-0000-0000-0000-000000000002")),
            ("AZURE_CLIENT_ID", text("00000000-0000-0000-0000-000000000003")),
            ("AZURE_CLIENT_SECRET", text("emulated-secret")),
            ("NVBIND_AZURE_ENDPOINT", text(url)),
            ("NVBIND_AZURE_PRICES_ENDPOINT", text(url)),
        ],
    }
}
