//! How the library is linked.

use std::path::Path;
use std::{env, fs};

/// Stands in for the shared unwinder: the linker takes the static one of the same compiler instead.
const UNWINDER: &str = "INPUT(-lgcc_eh)\n";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // That of the real one, so that programs linked against NVML find it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnvidia-ml.so.1");
    // NVIDIA's own NVML needs nothing but libc, and images may have nothing else; programs that have no libgcc_s yet
    // also start 0.2 ms sooner.
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|target| target == "gnu");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let folder = env::var("OUT_DIR").unwrap_or_default();
    if is_gnu && is_release && fs::write(Path::new(&folder).join("libgcc_s.so"), UNWINDER).is_ok() {
        println!("cargo:rustc-link-search=native={folder}");
    }
}
