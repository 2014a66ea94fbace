//! The runtime that does the work: runc, crun or youki.

use crate::Error;
use rustix::fs::{Access, FileType, Stat, access, stat};
use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `PATH` where there is none, as for engines started by hand with an empty environment.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the first of `names` that exists, with the arguments as they came.
pub(super) fn exec(names: &[String], args: &[OsString]) -> Result<Infallible, Error> {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let this = stat("/proc/self/exe").ok();
    let found = names
        .iter()
        .flat_map(|name| candidates(name, &path))
        .find(|file| is_runtime(file, this.as_ref()));
    let Some(runtime) = found else {
        return Err(Error::NoRuntime(names.to_vec()));
    };
    let source = Command::new(&runtime).args(args).exec();
    Err(Error::Exec { path: runtime, source })
}

/// The files that a name can mean: itself when it is a path, else one in each folder of `PATH`.
fn candidates(name: &str, path: &OsString) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .collect()
}

/// Whether a file can be executed and is not this program under another name, by whatever links.
fn is_runtime(file: &Path, this: Option<&Stat>) -> bool {
    let Ok(found) = stat(file) else { return false };
    let is_this = this.is_some_and(|this| (this.st_dev, this.st_ino) == (found.st_dev, found.st_ino));
    !is_this && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && access(file, Access::EXEC_OK).is_ok()
}
