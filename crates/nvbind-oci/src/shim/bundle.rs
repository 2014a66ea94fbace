//! A bundle's `config.json`, read once and replaced in one step.

use crate::Error;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const NAME: &str = "config.json";

/// An OCI bundle whose configuration was read.
pub(super) struct Bundle {
    folder: OwnedFd,
    path: PathBuf,
    mode: Mode,
    owner: (u32, u32),
    /// The configuration.
    pub(super) config: Value,
}

impl Bundle {
    /// Reads the configuration; `None` when there is none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(NAME);
        let failed = |source| Error::Bundle {
            action: "read",
            path: path.clone(),
            source,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, folder, flags, Mode::empty()).and_then(|folder| {
            let file = rustix::fs::openat(&folder, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            Ok((folder, File::from(file)))
        });
        let (folder, mut file) = match opened {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            opened => opened.map_err(|error| failed(error.into()))?,
        };
        let metadata = file.metadata().map_err(failed)?;
        let mut text = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
        file.read_to_end(&mut text).map_err(failed)?;
        let config = serde_json::from_slice(&text).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        let mode = Mode::from_raw_mode(metadata.mode() & 0o7777);
        Ok(Some(Self {
            folder,
            path,
            mode,
            owner: (metadata.uid(), metadata.gid()),
            config,
        }))
    }

    /// Replaces the configuration: a temporary file beside it, with its mode and owner, then a rename. It is not synced,
    /// for a bundle does not outlive the machine's uptime: engines make a new one for every start.
    pub(super) fn write(&self) -> Result<(), Error> {
        let failed = |source| Error::Bundle {
            action: "write",
            path: self.path.clone(),
            source,
        };
        let text = serde_json::to_vec(&self.config).map_err(|error| failed(error.into()))?;
        let temporary = format!(".{NAME}.nvbind-{}", rustix::process::getpid().as_raw_nonzero());
        let done = self
            .write_temporary(&temporary, &text)
            .and_then(|()| Ok(rustix::fs::renameat(&self.folder, &temporary, &self.folder, NAME)?));
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, &temporary, AtFlags::empty());
        }
        done.map_err(failed)
    }

    fn write_temporary(&self, name: &str, text: &[u8]) -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(text)?;
        let made = file.metadata()?;
        if self.owner != (made.uid(), made.gid()) {
            let (uid, gid) = self.owner;
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(rustix::fs::fchmod(&file, self.mode)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn mode_owner_and_order_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        std::fs::write(&file, r#"{"z":1,"a":18446744073709551615}"#).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(&file, Some(1234), Some(5678)).expect("this test needs root, to give a file away");
        let mut bundle = Bundle::open(dir.path()).unwrap().unwrap();
        bundle.config["new"] = true.into();
        bundle.write().unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            r#"{"z":1,"a":18446744073709551615,"new":true}"#
        );
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
            (1234, 5678, 0o640)
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_bundle_is_none_and_broken_json_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Bundle::open(dir.path()).unwrap().is_none());
        assert!(Bundle::open(&dir.path().join("absent")).unwrap().is_none());
        std::fs::write(dir.path().join(NAME), "{\"a\":").unwrap();
        let error = Bundle::open(dir.path()).err().unwrap();
        assert_eq!(error.exit_code(), 2);
    }
}
