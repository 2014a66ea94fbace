//! An account at an emulated cloud, and an nvbind that uses it.

use super::client::Client;
use nvbind_testkit::{Emulator, check, temp_dir};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The programs as they are installed, without what debuggers want: they are copied to machines.
pub(crate) fn programs() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let nvbind = PathBuf::from(env!("CARGO_BIN_EXE_nvbind"));
        let dir = nvbind.with_file_name(format!("cloud-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("folder of programs");
        let companions = [
            nvbind,
            nvbind_testkit::program("nvbind-runtime"),
            nvbind_testkit::program("nvbind-hook"),
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
    pub(crate) client: Client,
    _dir: TempDir,
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
        let mut variables = variables(provider, &emulator.url());
        variables.push(("NVBIND_CLOUD_PROVIDERS", provider.to_owned()));
        let client = Client {
            programs,
            dir: dir.path().to_owned(),
            variables,
        };
        Self {
            emulator,
            client,
            _dir: dir,
        }
    }
}

impl Deref for Account {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What an image of a machine has: nvbind, so that it need not be copied.
pub(crate) fn bake(image: &Path) {
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
