//! `nvbind-runtime`: the OCI runtime shim, see `nvbind_oci::shim`.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    ExitCode::from(nvbind_oci::shim::run(&args))
}
