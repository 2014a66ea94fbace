//! `ctr`, the client that comes with containerd.

use super::Error;
use crate::child;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Command;

const PROGRAM: &str = "ctr";
/// Variables that ctr reads, and what it takes where they are not set.
const ADDRESS: (&str, &str) = ("CONTAINERD_ADDRESS", "/run/containerd/containerd.sock");
const NAMESPACE: (&str, &str) = ("CONTAINERD_NAMESPACE", "default");

/// containerd's socket.
pub(super) fn address() -> PathBuf {
    PathBuf::from(variable(ADDRESS))
}

/// containerd's namespace: images and containers of others are not seen.
pub(super) fn namespace() -> String {
    variable(NAMESPACE)
}

fn variable((name, default): (&str, &str)) -> String {
    env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.to_owned())
}

/// ctr, about to be given its arguments.
pub(super) fn command() -> Command {
    Command::new(PROGRAM)
}

/// Runs ctr to its end: what it printed, or what it said was wrong, on one line.
pub(super) fn ask<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<Result<String, String>, Error> {
    let answer = child::ask(command().args(arguments)).map_err(start)?;
    match answer {
        Err(why) if is_unreachable(&why) => Err(unreachable(why)),
        answer => Ok(answer),
    }
}

/// Whether it is the daemon that is missing: ctr gives up after a while.
fn is_unreachable(why: &str) -> bool {
    why.contains("failed to dial") || why.contains("cannot access socket") || why.contains("connection refused")
}

fn unreachable(why: String) -> Error {
    let socket = address().display().to_string();
    match why.contains("permission denied") {
        true => Error::Permission { socket },
        false => Error::NotReachable { socket, why },
    }
}

/// The error of a ctr that cannot be started.
pub(super) fn start(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::NotInstalled,
        _ => Error::Io {
            action: "run ctr",
            source,
        },
    }
}
