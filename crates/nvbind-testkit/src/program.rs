//! Programs of this workspace.

use crate::check;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of this workspace, built for this test run if need be: `program("nvbind-runtime")`. It is built as one of the whole workspace: with
/// the features that every crate has there, and so most of it is there already.
pub fn program(name: &str) -> PathBuf {
    cargo(&["--workspace", "--bin", name]);
    profile_dir().join(name)
}

/// A program of a provider, as `cargo test --workspace` has built it; it is built here only where there is none.
pub fn provider(name: &str) -> PathBuf {
    let name = format!("nvbind-provider-{name}");
    let program = profile_dir().join(&name);
    if !program.exists() {
        cargo(&["--workspace", "--bin", &name]);
    }
    program
}

/// An example of a crate of this workspace, built if need be.
pub fn example(name: &str) -> PathBuf {
    cargo(&["--workspace", "--example", name]);
    profile_dir().join("examples").join(name)
}

/// The shared library of a crate of this workspace, built if need be: `library("nvbind-sim-nvml")`.
pub fn library(package: &str) -> PathBuf {
    cargo(&["--package", package, "--lib"]);
    profile_dir().join(format!("lib{}.so", package.replace('-', "_")))
}

fn cargo(arguments: &[&str]) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--offline"])
        .args(arguments)
        .current_dir(crate::checkout());
    build
        .arg("--target-dir")
        .arg(profile_dir().parent().unwrap_or(Path::new("/")));
    check(&mut build);
}

/// `<target>/debug`: the test itself is `<target>/debug/deps/it-<hash>`.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("cannot find this program: {error}"));
    test.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned()
}
