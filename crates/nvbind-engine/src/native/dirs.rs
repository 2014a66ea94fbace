//! Where the native engine keeps things.

use crate::native::Error;
use std::path::{Path, PathBuf};

/// The state folder of the system's own nvbind.
const SYSTEM_STATE: &str = "/var/lib/nvbind";
/// Where it runs containers: a tmpfs on every host, so that bundles are quick to write and gone after a reboot.
const SYSTEM_RUN: &str = "/run/nvbind/containers";

/// The folders of the native engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// What stays: the ledger, images, logs.
    pub state: PathBuf,
    /// What is there only while a container is: its bundle.
    pub run: PathBuf,
}

impl Dirs {
    /// The folders that belong to a state folder.
    pub fn of_state(state: &Path) -> Self {
        let run = if state == Path::new(SYSTEM_STATE) {
            SYSTEM_RUN.into()
        } else {
            state.join("run")
        };
        Self {
            state: state.to_owned(),
            run,
        }
    }

    /// Bundle of a container.
    pub fn bundle(&self, id: &str) -> PathBuf {
        self.run.join(id)
    }

    /// What a container keeps: its log, and the changes that it makes to its image.
    pub fn container(&self, id: &str) -> PathBuf {
        self.state.join("containers").join(id)
    }

    /// Unpacked images.
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }
}

/// Refuses an id that could name anything but one folder and one cgroup of its own.
pub(super) fn check_id(id: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let sound = !id.is_empty() && id.len() <= 128 && id.chars().all(plain);
    if sound {
        Ok(())
    } else {
        Err(Error::Id { id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_plain_word() {
        check_id("a-1_B").unwrap();
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\n"] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_system_runs_on_a_tmpfs() {
        assert_eq!(
            Dirs::of_state(Path::new("/var/lib/nvbind")).run,
            Path::new("/run/nvbind/containers")
        );
        assert_eq!(Dirs::of_state(Path::new("/x")).bundle("a"), Path::new("/x/run/a"));
    }
}
