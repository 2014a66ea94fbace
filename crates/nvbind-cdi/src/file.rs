//! Spec files: read only when they can be believed, written in one step.

use crate::{Error, Spec, yaml};
use nvbind_config::trusted;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

/// Permission bits of a spec file: engines of every user read it.
const FILE_MODE: u32 = 0o644;

/// End of the name of a file that is being written.
const TEMPORARY: &str = ".tmp";

/// How a spec is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// The format that a file's name says: `.json`, `.yaml` or `.yml`.
    pub fn of_file(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    /// Reads the value of `--format`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            _ => Err(Error::Option {
                option: "format",
                value: text.to_owned(),
                wanted: "json or yaml",
            }),
        }
    }
}

impl Spec {
    /// Reads a spec file and checks it. The file must belong to root or the caller and be writable by no one else.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let format = Format::of_file(path).ok_or_else(|| Error::Extension(path.to_owned()))?;
        let text = trusted::read(path)?;
        let spec = Self::parse(&text, format).map_err(|message| Error::Parse {
            path: path.to_owned(),
            message,
        })?;
        spec.validate().map_err(|source| Error::Invalid {
            path: path.to_owned(),
            source,
        })?;
        Ok(spec)
    }

    /// Reads a spec from text, without checking it; the error is what the parser says, in a line.
    pub fn parse(text: &str, format: Format) -> Result<Self, String> {
        match format {
            Format::Json => serde_json::from_str(text).map_err(|error| error.to_string()),
            Format::Yaml => yaml::parse(text),
        }
    }

    /// The spec as text, ending in a newline.
    pub fn to_text(&self, format: Format) -> Result<String, Error> {
        match format {
            Format::Json => self.to_json(),
            Format::Yaml => self.to_yaml(),
        }
    }

    /// The spec as indented JSON.
    pub fn to_json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Encode(error.to_string()))?;
        Ok(text + "\n")
    }

    /// The spec as YAML that YAML 1.1 and 1.2 parsers read alike.
    pub fn to_yaml(&self) -> Result<String, Error> {
        yaml::emit(self).map_err(|error| Error::Encode(error.to_string()))
    }

    /// Writes the spec to a file of mode 0644, in the format given: readers see the old file or the new one, whole.
    pub fn write(&self, path: &Path, format: Format) -> Result<(), Error> {
        self.validate()?;
        let text = self.to_text(format)?;
        write_atomically(path, text.as_bytes()).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }
}

fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let name = path
        .file_name()
        .ok_or(std::io::ErrorKind::IsADirectory)?
        .to_string_lossy();
    let prefix = format!(".{name}.");
    remove_leftovers(folder, &prefix);
    // No registry reads it: engines take `.json` and `.yaml` only.
    let temporary = folder.join(format!("{prefix}{}{TEMPORARY}", std::process::id()));
    let written = fill(&temporary, content).and_then(|file| std::fs::rename(&temporary, path).map(|()| file));
    if written.is_err() {
        // Nothing half-written stays; the first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    // The folder is not forced to disk: after a power cut the old spec or the new one is there, each whole, and what
    // rewrites a stale one (`cdi watch`) does so at the next start as well.
    written.map(drop)
}

/// Writes a new file, locked until it is closed.
fn fill(path: &Path, content: &[u8]) -> std::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let mut file = File::from(rustix::fs::open(path, flags, mode)?);
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // The umask may have taken bits away.
    rustix::fs::fchmod(&file, mode)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(file)
}

/// Removes temporary files of writers that were killed: no one holds their lock. Trouble here is no trouble for the
/// writer.
fn remove_leftovers(folder: &Path, prefix: &str) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_temporary = |name: &str| name.starts_with(prefix) && name.ends_with(TEMPORARY);
    let temporary = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_temporary));
    for path in temporary.map(|entry| entry.path()) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn spec() -> Spec {
        let spec = json!({ "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": [{ "name": "0", "containerEdits": { "deviceNodes": [{ "path": "/dev/nvidia0" }] } }] });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn written_and_read_back_in_every_format() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.json", "new/b.yaml", "c.YML"] {
            let path = dir.path().join(name);
            spec().write(&path, Format::of_file(&path).unwrap()).unwrap();
            assert_eq!(Spec::from_file(&path).unwrap(), spec());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o644);
        }
        let names: Vec<_> = dir
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 3, "no temporary file stays: {names:?}");
    }

    #[test]
    fn an_invalid_spec_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        spec().write(&path, Format::Json).unwrap();
        let mut bad = spec();
        bad.kind = "gpu".into();
        assert!(matches!(bad.write(&path, Format::Json), Err(Error::Generated(_))));
        assert_eq!(Spec::from_file(&path).unwrap(), spec());
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("x"), "").unwrap();
        let error = spec().write(&path, Format::Json).unwrap_err();
        assert!(error.to_string().starts_with("CDI spec: cannot write "), "{error}");
        assert_eq!(error.exit_code(), 1);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let leftover = dir.path().join(".a.json.1.tmp");
        let others = dir.path().join(".b.json.1.tmp");
        let being_written = fill(&dir.path().join(".a.json.2.tmp"), b"").unwrap();
        std::fs::write(&leftover, "{").unwrap();
        std::fs::write(&others, "{").unwrap();
        spec().write(&dir.path().join("a.json"), Format::Json).unwrap();
        assert!(!leftover.exists() && others.exists() && dir.path().join(".a.json.2.tmp").exists());
        drop(being_written);
    }

    #[test]
    fn broken_files_are_told_in_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let said = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let error = Spec::from_file(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string().replace(&format!("{}/", dir.path().display()), "");
            assert_eq!(text.lines().count(), 1, "{text}");
            text
        };
        let whole = spec().to_json().unwrap();
        let half = said("a.json", &whole[..whole.len() / 2]);
        assert!(half.contains("EOF while parsing") && half.contains("line "), "{half}");
        let unknown = said("b.json", &whole.replace("\"path\"", "\"pth\""));
        assert!(unknown.contains("unknown field `pth`"), "{unknown}");
        let yaml = said("c.yaml", "cdiVersion: 0.5.0\nkind: [");
        assert!(yaml.starts_with("CDI spec: c.yaml: "), "{yaml}");
        let invalid = said("d.json", &whole.replace("0.5.0", "0.3.0"));
        assert_eq!(
            invalid,
            "CDI spec: d.json: cdiVersion: 0.3.0 is too low: the content needs 0.5.0"
        );
        assert!(said("e.txt", &whole).contains("cannot tell its format"));
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        spec().write(&path, Format::Json).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o646)).unwrap();
        let error = Spec::from_file(&path).unwrap_err();
        assert!(matches!(error, Error::File(trusted::Error::Writable { .. })));
        assert_eq!(error.exit_code(), 2);
    }
}
