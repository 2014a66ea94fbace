//! Programs of this workspace.

use crate::check;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of another crate of this workspace, built for this test run if need be: `program("nvbind-oci", "nvbind-runtime")`.
pub fn program(package: &str, name: &str) -> PathBuf {
    build(package, &["--bin", name]);
    profile_dir().join(name)
}

/// A program of a provider, as `cargo test --workspace` has built it. Built here it would want its large dependencies once more, with other
/// features: that is done only where there is none.
pub fn provider(name: &str) -> PathBuf {
    let name = format!("nvbind-provider-{name}");
    let program = profile_dir().join(&name);
    if !program.exists() {
        cargo(&["--workspace", "--bin", &name]);
    }
    program
}

/// An example of a crate of this workspace, built if need be.
pub fn example(package: &str, name: &str) -> PathBuf {
    build(package, &["--example", name]);
    profile_dir().join("examples").join(name)
}

/// The shared library of a crate of this workspace, built if need be: `library("nvbind-sim-nvml")`.
pub fn library(package: &str) -> PathBuf {
    build(package, &["--lib"]);
    profile_dir().join(format!("lib{}.so", package.replace('-', "_")))
}

fn build(package: &str, target: &[&str]) {
    cargo(&[&["--package", package], target].concat());
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
