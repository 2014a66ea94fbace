//! What do the tests need? Real engines started and stopped, root file systems, terminals, fake device nodes.
//!
//! Only ever a dev-dependency. Everything here panics with a sentence when the machine lacks something:
//! a test that cannot run fails, it is never skipped.

mod containerd;
mod declared;
mod docker;
mod emulator;
mod gpu;
mod layout;
mod machines;
mod podman;
mod program;
mod registry;
mod rootfs;
mod terminal;

pub use containerd::Containerd;
pub use declared::assert_declared;
pub use docker::{Dockerd, DockerdOptions};
pub use emulator::Emulator;
pub use gpu::FakeGpus;
pub use layout::{LayoutWriter, Packing, TarWriter, pack, small_image, small_tar};
pub use machines::Machines;
pub use podman::PodmanEnv;
pub use program::{example, library, program, provider};
pub use registry::{Cut, CuttingProxy, Registry};
pub use rootfs::{cache_dir, debian_rootfs, small_rootfs, tar_of};
pub use terminal::Terminal;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long an engine may take to come up or a program to answer before the test fails: a machine of two cores may have several
/// builds to do meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The root of this checkout. Asked when the test runs: a target folder that two checkouts share may hold a test as built from
/// the other, which cargo takes for fresh.
pub fn checkout() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../..")
}

/// A new folder below `/tmp`, whose path is short enough for a Unix socket in it (108 bytes).
pub fn temp_dir(what: &str) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix(&format!("nvbind-{what}-"))
        .tempdir_in("/tmp")
        .unwrap_or_else(|error| panic!("cannot make a folder in /tmp: {error}"))
}

/// Waits until `ready` says so. Panics with `what` when it takes longer than [`PATIENCE`].
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "{what} took longer than {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command to its end. Panics with what it printed when it fails.
pub fn check(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn make_dir(path: &Path) {
    std::fs::create_dir_all(path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
}
