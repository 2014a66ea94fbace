//! Finds and starts the program of a provider.

use super::Remote;
use crate::catalog::ProviderName;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// A provider whose program cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It is not there.
    #[error("cannot ask {provider}: no program '{program}' beside nvbind, in '{}' or on PATH; install nvbind with its providers", folder.display())]
    Missing {
        /// The provider.
        provider: ProviderName,
        /// The program that was looked for.
        program: String,
        /// The second place that was looked at.
        folder: PathBuf,
    },
    /// It is there and does not start.
    #[error("cannot start '{}': {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LaunchError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing { .. } => 5,
            Self::Start { .. } => 1,
        }
    }
}

/// Where nvbind's own helpers lie, seen from the folder of its programs.
const LIBEXEC: &str = "../libexec/nvbind";

/// The name of a provider's program.
pub fn program_name(provider: ProviderName) -> String {
    format!("nvbind-provider-{provider}")
}

/// Starts a provider's program: the one beside the running program, in `../libexec/nvbind` from there, or on `PATH`.
pub fn launch(provider: ProviderName) -> Result<Remote, LaunchError> {
    let folder = env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let program = find(provider, folder.as_deref().unwrap_or(Path::new("/usr/bin")), &folders)?;
    Remote::start(Command::new(&program)).map_err(|source| LaunchError::Start { program, source })
}

/// Looks for a provider's program; a folder of `PATH` must be absolute.
fn find(provider: ProviderName, beside: &Path, path: &[PathBuf]) -> Result<PathBuf, LaunchError> {
    let program = program_name(provider);
    let libexec = beside.join(LIBEXEC);
    let folders = [beside, &libexec].into_iter();
    let on_path = path.iter().map(PathBuf::as_path).filter(|folder| folder.is_absolute());
    let mut candidates = folders.chain(on_path).map(|folder| folder.join(&program));
    candidates
        .find(|candidate| candidate.is_file())
        .ok_or(LaunchError::Missing {
            provider,
            program,
            folder: libexec.clone(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_program_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = root.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            folder
        };
        let (bin, libexec, other) = (folder("bin"), folder("libexec/nvbind"), folder("other"));
        let path = [PathBuf::from("relative"), other.clone()];
        let find = || find(ProviderName::Gcp, &bin, &path);
        let error = find().unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert!(
            error
                .to_string()
                .contains("no program 'nvbind-provider-gcp' beside nvbind"),
            "{error}"
        );
        for folder in [&other, &libexec, &bin] {
            let program = folder.join("nvbind-provider-gcp");
            std::fs::write(&program, "").unwrap();
            let found = find().unwrap().canonicalize().unwrap();
            assert_eq!(found, program);
        }
    }

    #[test]
    fn what_does_not_speak_the_protocol_is_named() {
        let Err(error) = Remote::start(Command::new("/bin/true")) else {
            panic!("/bin/true is no provider");
        };
        assert!(error.to_string().contains("is no provider of nvbind"), "{error}");
    }
}
