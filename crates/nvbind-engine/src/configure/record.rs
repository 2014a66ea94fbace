//! What nvbind changed in an engine's configuration, written down before it is done, for the way back.

use super::document::{Document, Format};
use super::file;
use super::setting::Edit;
use super::{Engine, Error};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Folder of the records, below the state's.
const FOLDER: &str = "configure";

/// All that nvbind changed for one engine with one configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) engine: Engine,
    /// The engine's own configuration file, by which the record is found.
    pub(super) config: PathBuf,
    pub(super) files: Vec<FileRecord>,
}

/// What nvbind changed in one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    /// Its text before, as long as no one else has changed it since; `None` for no file.
    original: Option<String>,
    /// Whether there was a file.
    existed: bool,
    /// Whether `original` is still what taking everything back must give.
    exact: bool,
    /// Its text after.
    written: String,
    edits: Vec<Edit>,
    /// Folders that were made for it, the outermost first.
    pub(super) folders: Vec<PathBuf>,
}

impl FileRecord {
    /// Of a file that was read as `before` and is to become `written`.
    pub(super) fn new(path: &Path, format: Format, before: Option<&str>, written: &str, edits: Vec<Edit>) -> Self {
        let missing = path.ancestors().skip(1).take_while(|folder| !folder.exists());
        let mut folders: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        folders.reverse();
        Self {
            path: path.to_owned(),
            format,
            original: before.map(str::to_owned),
            existed: before.is_some(),
            exact: true,
            written: written.to_owned(),
            edits,
            folders,
        }
    }

    /// This one after an earlier one of the same file.
    pub(super) fn after(self, earlier: &Self) -> Self {
        let before = self.original.as_deref();
        let is_known = before == Some(&earlier.written) || before == earlier.original.as_deref();
        let mut edits: Vec<Edit> = earlier.edits.clone();
        for edit in self.edits {
            match edits.iter().position(|known| known.is_at(&edit)) {
                Some(at) => edits[at] = edit.after(&edits[at]),
                None => edits.push(edit),
            }
        }
        Self {
            original: earlier.original.clone(),
            existed: earlier.existed,
            exact: earlier.exact && is_known,
            edits,
            folders: if earlier.folders.is_empty() {
                self.folders
            } else {
                earlier.folders.clone()
            },
            ..self
        }
    }

    /// What the file is to be once everything is taken back (`None`: gone), and what is left because it was changed since.
    pub(super) fn revert(&self, now: &str) -> Result<(Option<String>, Vec<String>), Error> {
        if self.exact && now == self.written {
            return Ok((self.original.clone(), Vec::new()));
        }
        let mut document = self.format.parse(&self.path, now)?;
        let left = self
            .edits
            .iter()
            .rev()
            .filter_map(|edit| edit.revert(document.as_mut()).err())
            .collect();
        let is_gone = !self.existed && is_bare(document.as_ref());
        Ok(((!is_gone).then(|| document.text()), left))
    }
}

/// Whether nothing is left in a file that nvbind made: nothing but the version that containerd wants in each.
fn is_bare(document: &dyn Document) -> bool {
    let value = document.get(&[]).unwrap_or_default();
    value
        .as_object()
        .is_none_or(|members| members.iter().all(|(name, value)| is_empty(value) || name == "version"))
}

fn is_empty(value: &serde_json::Value) -> bool {
    value.as_object().is_some_and(|members| members.values().all(is_empty))
}

/// Where the records are kept. One process at a time has it.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
    _lock: Option<File>,
}

impl Records {
    /// Opens the records to change them; waits for another process that has them.
    pub(super) fn open(state: &Path) -> Result<Self, Error> {
        let folder = state.join(FOLDER);
        let lock = folder.join("lock");
        fs::create_dir_all(&folder).map_err(|error| file::failed("make", &folder, error))?;
        let opened = File::create(&lock).and_then(|file| {
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(file)
        });
        Ok(Self {
            folder,
            _lock: Some(opened.map_err(|error| file::failed("lock", &lock, error))?),
        })
    }

    /// Opens the records to look.
    pub(super) fn look(state: &Path) -> Self {
        Self {
            folder: state.join(FOLDER),
            _lock: None,
        }
    }

    pub(super) fn load(&self, engine: Engine, config: &Path) -> Result<Option<Record>, Error> {
        let path = self.path(engine, config);
        let Some(text) = file::read(&path)? else {
            return Ok(None);
        };
        let record = serde_json::from_str(&text);
        record.map(Some).map_err(|error| Error::Record {
            path,
            why: error.to_string(),
        })
    }

    /// The records of an engine.
    pub(super) fn of_engine(&self, engine: Engine) -> Result<Vec<Record>, Error> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(Vec::new());
        };
        let prefix = format!("{engine}-");
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| name(path).starts_with(&prefix) && name(path).ends_with(".json"))
            .collect();
        paths.sort();
        let read = |path: PathBuf| {
            let text = file::read(&path)?.unwrap_or_default();
            serde_json::from_str(&text).map_err(|error| Error::Record {
                path,
                why: error.to_string(),
            })
        };
        paths.into_iter().map(read).collect()
    }

    pub(super) fn save(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(record.engine, &record.config);
        let text = serde_json::to_string_pretty(record).map_err(|error| Error::Record {
            path: path.clone(),
            why: error.to_string(),
        })?;
        file::write(&path, &text).map(|_| ())
    }

    pub(super) fn remove(&self, record: &Record) -> Result<(), Error> {
        file::remove(&self.path(record.engine, &record.config), &[])
    }

    /// A configuration file's path is too long and too strange for a name: its hash stands for it.
    fn path(&self, engine: Engine, config: &Path) -> PathBuf {
        let hash = Sha256::digest(config.as_os_str().as_encoded_bytes());
        let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{engine}-{short}.json"))
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
