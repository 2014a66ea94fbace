//! Where the programs of the providers are.

use super::{ErrorClass, ProviderError, Remote};
use crate::catalog::ProviderName;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that may hold the programs, from the folder of the running one.
const BESIDE: [&str; 3] = [".", "../libexec/nvbind", "../lib/nvbind"];

/// Starts the program of a provider: beside the running program, in `libexec/nvbind`, or on `PATH`.
pub fn launch(name: ProviderName) -> Result<Remote, ProviderError> {
    let program = format!("nvbind-provider-{name}");
    let found = find(&program).ok_or_else(|| {
        let message = format!(
            "the program {program} is not installed: build it with 'make providers', or leave {name} out of [cloud] providers"
        );
        ProviderError::new(ErrorClass::Credentials, "ProviderMissing", message)
    })?;
    Remote::start(Command::new(&found)).map_err(|error| {
        let message = format!("'{}' cannot be started: {error}", found.display());
        ProviderError::new(ErrorClass::Credentials, "ProviderBroken", message)
    })
}

fn find(program: &str) -> Option<PathBuf> {
    let running = env::current_exe().ok();
    let folder = running.as_deref().and_then(Path::parent);
    let beside = folder
        .into_iter()
        .flat_map(|folder| BESIDE.map(|below| folder.join(below)));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    beside
        .chain(on_path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
