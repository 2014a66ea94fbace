//! Every spec of the host: which file does a device name come from?

use crate::{Device, Edits, Error, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The specs of the configured folders and the devices they define.
#[derive(Debug, Default)]
pub struct Registry {
    specs: Vec<SpecFile>,
    devices: BTreeMap<String, Position>,
    errors: Vec<Error>,
}

/// A spec and where it was read.
#[derive(Debug)]
pub struct SpecFile {
    /// The file.
    pub path: PathBuf,
    /// Priority: the position of its folder; the highest one wins.
    pub priority: usize,
    /// Its content, valid.
    pub spec: Spec,
}

/// Where a device is defined: indices of the spec and of the device in it.
#[derive(Debug, Clone, Copy)]
struct Position {
    spec: usize,
    device: usize,
}

impl Registry {
    /// Reads every spec of the folders, lowest priority first. A later folder wins over an earlier one; a device that
    /// two files of one folder define is in neither. What cannot be read is told by [`Registry::errors`].
    pub fn load(spec_dirs: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        let mut conflicts = BTreeSet::new();
        for (priority, folder) in spec_dirs.iter().enumerate() {
            for path in registry.spec_files(folder) {
                registry.load_file(path, priority, &mut conflicts);
            }
        }
        for name in &conflicts {
            registry.devices.remove(name);
        }
        registry
    }

    /// Spec files of a folder, sorted by name. As engines do, `.json` and `.yaml` only.
    fn spec_files(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Vec::new(),
            Err(source) => {
                self.errors.push(Error::Folder {
                    path: folder.to_owned(),
                    source,
                });
                return Vec::new();
            }
        };
        let is_spec = |path: &PathBuf| path.extension().is_some_and(|e| e == "json" || e == "yaml");
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_spec).collect();
        paths.sort();
        paths
    }

    fn load_file(&mut self, path: PathBuf, priority: usize, conflicts: &mut BTreeSet<String>) {
        match Spec::from_file(&path) {
            Ok(spec) => self.add(SpecFile { path, priority, spec }, conflicts),
            // It went away between listing and reading: as if it had never been there.
            Err(Error::File(error)) if error.is_not_found() => (),
            Err(error) => self.errors.push(error),
        }
    }

    fn add(&mut self, file: SpecFile, conflicts: &mut BTreeSet<String>) {
        for (device, defined) in file.spec.devices.iter().enumerate() {
            let name = format!("{}={}", file.spec.kind, defined.name);
            let rival = self.devices.get(&name).map(|position| &self.specs[position.spec]);
            match rival {
                Some(rival) if rival.priority == file.priority => {
                    let paths = (rival.path.clone(), file.path.clone());
                    self.errors.push(Error::Conflict {
                        name: name.clone(),
                        paths,
                    });
                    conflicts.insert(name);
                }
                // A folder of higher priority settles what the lower ones could not.
                _ => {
                    conflicts.remove(&name);
                    self.devices.insert(
                        name,
                        Position {
                            spec: self.specs.len(),
                            device,
                        },
                    );
                }
            }
        }
        self.specs.push(file);
    }

    /// The specs that could be read, lowest priority first.
    pub fn specs(&self) -> &[SpecFile] {
        &self.specs
    }

    /// What could not be read, and devices that are defined twice.
    pub fn errors(&self) -> &[Error] {
        &self.errors
    }

    /// The devices by qualified name, sorted.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &Device)> {
        self.devices
            .iter()
            .map(|(name, position)| (name.as_str(), self.at(*position)))
    }

    /// The device of a qualified name.
    pub fn device(&self, qualified: &str) -> Option<&Device> {
        self.devices.get(qualified).map(|position| self.at(*position))
    }

    /// The file that defines the device of a qualified name.
    pub fn spec_of(&self, qualified: &str) -> Option<&SpecFile> {
        self.devices.get(qualified).map(|position| &self.specs[position.spec])
    }

    /// What a container needs for devices given by qualified names: the edits common to a spec come once, before those
    /// of its devices.
    pub fn edits<S: AsRef<str>>(&self, qualified: &[S]) -> Result<Edits, Error> {
        let mut edits = Edits::default();
        let mut seen = BTreeSet::new();
        for position in self.positions(qualified)? {
            if seen.insert(position.spec) {
                edits.merge(self.specs[position.spec].spec.container_edits.clone());
            }
            edits.merge(self.at(position).container_edits.clone());
        }
        Ok(edits)
    }

    /// As [`Registry::edits`], taken out of the specs rather than copied: for who asks once and starts a container.
    pub fn take_edits<S: AsRef<str>>(&mut self, qualified: &[S]) -> Result<Edits, Error> {
        let mut edits = Edits::default();
        for position in self.positions(qualified)? {
            let spec = &mut self.specs[position.spec].spec;
            edits.merge(std::mem::take(&mut spec.container_edits));
            edits.merge(std::mem::take(&mut spec.devices[position.device].container_edits));
        }
        Ok(edits)
    }

    fn positions<S: AsRef<str>>(&self, qualified: &[S]) -> Result<Vec<Position>, Error> {
        let names = qualified.iter().map(AsRef::as_ref);
        names
            .map(|name| self.devices.get(name).copied().ok_or_else(|| self.unresolved(name)))
            .collect()
    }

    fn at(&self, position: Position) -> &Device {
        &self.specs[position.spec].spec.devices[position.device]
    }

    fn unresolved(&self, name: &str) -> Error {
        Error::Unresolved {
            name: name.to_owned(),
            hint: self.hint(name),
        }
    }

    /// Why a name is not found: it is in conflict, other devices of its kind are there, or files could not be read.
    fn hint(&self, name: &str) -> String {
        let conflict = self
            .errors
            .iter()
            .find(|error| matches!(error, Error::Conflict { name: other, .. } if other == name));
        if let Some(conflict) = conflict {
            return conflict.to_string();
        }
        let kind = name.split_once('=').map_or("", |(kind, _)| kind);
        let alike: Vec<&str> = self
            .devices
            .keys()
            .filter_map(|key| key.strip_prefix(kind)?.strip_prefix('='))
            .take(16)
            .collect();
        match self.errors.first() {
            _ if !alike.is_empty() => format!("devices of {kind} are {}", alike.join(", ")),
            Some(error) => error.to_string(),
            None => "run nvbind cdi list to see those there are, nvbind cdi generate to make them".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
