//! The files of a container, in the folder that goes with its binding.

use std::path::{Path, PathBuf};

/// ctr writes the process id of the container there once the container is made.
pub(super) fn pid(work_dir: &Path) -> PathBuf {
    work_dir.join("ctr.pid")
}

/// What a container in the background writes goes there.
pub(super) fn log(work_dir: &Path) -> PathBuf {
    work_dir.join("ctr.log")
}
