//! How the `nvbind` program is linked.

use std::path::Path;
use std::{env, fs};

/// Stands in for the shared unwinder: the linker takes the static one of the same compiler instead.
const UNWINDER: &str = "INPUT(-lgcc_eh)\n";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|target| target == "gnu");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if !(is_gnu && is_release) {
        return;
    }
    // A program that may lie anywhere mends 22,000 addresses as it starts, and so copies 400 KiB of pages: 0.4 ms of the
    // three that it lives. The shim and the hook stay position-independent.
    println!("cargo:rustc-link-arg-bins=-no-pie");
    // Loading libgcc_s takes 0.2 ms: it asks the processor what it can do, which traps in a virtual machine.
    let folder = env::var("OUT_DIR").unwrap_or_default();
    if fs::write(Path::new(&folder).join("libgcc_s.so"), UNWINDER).is_ok() {
        println!("cargo:rustc-link-search=native={folder}");
    }
}
