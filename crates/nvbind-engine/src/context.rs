//! What an engine is told besides the workload.

use std::fmt;
use std::path::{Path, PathBuf};

/// Label of every container that an engine starts for nvbind; its value is the id of the binding. A container whose
/// nvbind is gone is found by it.
pub const BINDING_LABEL: &str = "nvbind.binding";

/// File name of the OCI runtime shim.
const SHIM_NAME: &str = "nvbind-runtime";

/// What an engine is told besides the workload.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Id of the binding that the container belongs to.
    pub binding: &'a str,
    /// Absolute path of `nvbind-runtime` ([`find_shim`]).
    pub shim: Option<&'a Path>,
    /// Folder for files that an engine needs while the container runs.
    pub work_dir: &'a Path,
    /// More arguments for engines that are programs, put before the image (`podman run <here> IMAGE`).
    pub engine_args: &'a [String],
    /// Told what takes long (an image that is pulled), a line at a time.
    pub progress: &'a dyn Fn(&str),
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("binding", &self.binding)
            .field("shim", &self.shim)
            .finish_non_exhaustive()
    }
}

/// `nvbind-runtime` beside the running program, else on `PATH`.
pub fn find_shim() -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(SHIM_NAME));
    candidates.find(|candidate| candidate.is_absolute() && candidate.is_file())
}
