//! Where the simulated NVML library lies.

use std::path::{Path, PathBuf};

use crate::Error;

/// File name of the library as cargo builds it.
const FILE: &str = "libnvbind_sim_nvml.so";
/// Names the library's path and goes before everything else.
const VARIABLE: &str = "NVBIND_SIM_LIBRARY";
/// Folders to look in, from the running program's folder: beside it, as installed, and above cargo's `deps`.
const FOLDERS: &[&str] = &[".", "../lib/nvbind", ".."];

/// The simulated NVML library: `$NVBIND_SIM_LIBRARY`, else beside the running program or where it is installed.
pub fn library_path() -> Result<PathBuf, Error> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let missing = || Error::NoLibrary {
            searched: format!("{} ({VARIABLE})", path.display()),
        };
        return if path.is_file() { Ok(path) } else { Err(missing()) };
    }
    let program = std::env::current_exe().map_err(Error::io("find", Path::new("/proc/self/exe")))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let candidates: Vec<PathBuf> = FOLDERS.iter().map(|below| folder.join(below).join(FILE)).collect();
    let searched = || {
        FOLDERS
            .iter()
            .map(|below| folder.join(below).display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Error::NoLibrary { searched: searched() })
}
