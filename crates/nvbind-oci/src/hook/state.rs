//! Where the container's root lies, from the state that the runtime writes to a hook's standard input.

use crate::Error;
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes of state or configuration that are read.
const MAX_BYTES: u64 = 64 << 20;

/// The part of the OCI state that is needed.
#[derive(Deserialize)]
struct State {
    bundle: PathBuf,
    /// crun says it here.
    root: Option<PathBuf>,
}

/// The part of `config.json` that is needed.
#[derive(Deserialize)]
struct Config {
    root: ConfigRoot,
}

#[derive(Deserialize)]
struct ConfigRoot {
    path: PathBuf,
}

/// The container's root as a host path. Both files come from the runtime, not from the image.
pub(super) fn container_root(state: impl Read) -> Result<PathBuf, Error> {
    let mut text = Vec::new();
    state
        .take(MAX_BYTES)
        .read_to_end(&mut text)
        .map_err(|error| Error::State(error.to_string()))?;
    let state: State = serde_json::from_slice(&text).map_err(|error| Error::State(error.to_string()))?;
    if !state.bundle.is_absolute() {
        return Err(Error::State(format!(
            "bundle '{}' is not an absolute path",
            state.bundle.display()
        )));
    }
    match state.root.filter(|root| root.is_absolute()) {
        Some(root) => Ok(root),
        // A relative path counts from the bundle; joining an absolute one replaces it.
        None => Ok(state.bundle.join(root_of_bundle(&state.bundle)?)),
    }
}

fn root_of_bundle(bundle: &Path) -> Result<PathBuf, Error> {
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|source| Error::Bundle {
        action: "read",
        path: path.clone(),
        source,
    })?;
    let config: Config = serde_json::from_slice(&text).map_err(|source| Error::Json { path, source })?;
    Ok(config.root.path)
}
