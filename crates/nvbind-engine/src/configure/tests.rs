//! What is written, and that it can be taken back.

mod engines;
mod undo;

use super::*;
use tempfile::TempDir;

/// Files of a host that the tests make up.
pub(super) struct Host {
    dir: TempDir,
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A request for an engine that is not installed, so that only the files count.
    pub(super) fn request(&self, engine: Engine, config: &str) -> Request {
        Request {
            engine,
            config: Some(self.path(config)),
            drop_in: DropIn::Auto,
            executable: Some(self.path("no-such-program")),
            source: Source::File,
            names: vec!["nvbind".to_owned()],
            program: "/usr/local/bin/nvbind-runtime".into(),
            set_as_default: false,
            cdi: None,
        }
    }

    pub(super) fn configure(&self, request: &Request) -> Outcome {
        configure(request, &self.state(), false).unwrap()
    }

    pub(super) fn undo(&self, engine: Engine) -> Outcome {
        undo(engine, None, &self.state(), false).unwrap()
    }
}
