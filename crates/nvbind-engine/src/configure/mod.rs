//! How an engine is told of `nvbind-runtime`: its configuration, changed in as few lines as will do, and changed back.

pub mod alias;
mod containerd;
mod crio;
mod docker;
mod document;
mod error;
mod file;
mod json_document;
mod podman;
mod program;
mod rancher;
mod record;
mod setting;
#[cfg(test)]
mod tests;
mod toml_document;

pub use error::Error;

use document::Format;
use record::{FileRecord, Record, Records};
use serde::{Deserialize, Serialize};
use setting::Setting;
use std::fmt;
use std::path::{Path, PathBuf};

/// The names under which `nvbind-runtime` is registered when none is asked for: its own, and the one that scripts made for
/// NVIDIA's toolkit say.
pub const DEFAULT_NAMES: [&str; 2] = ["nvbind", "nvidia"];

/// The engines that can be configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker
    Docker,
    /// containerd, alone or below Kubernetes
    Containerd,
    /// CRI-O
    Crio,
    /// Podman
    Podman,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::Podman => "podman",
        })
    }
}

/// Where an engine's present configuration is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// Its files.
    #[default]
    File,
    /// What it prints when asked (`containerd config dump`, `crio status config`).
    Command,
}

/// Where nvbind's lines are put.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DropIn {
    /// Where the engine reads them without harm to what else it reads.
    #[default]
    Auto,
    /// Into the engine's own file.
    Never,
    /// Into this file.
    At(PathBuf),
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Request {
    /// The engine.
    pub engine: Engine,
    /// Its configuration file; `None` for where it usually lies.
    pub config: Option<PathBuf>,
    /// Where nvbind's lines are put.
    pub drop_in: DropIn,
    /// The engine's program; `None` for the one on `PATH`.
    pub executable: Option<PathBuf>,
    /// Where the present configuration is read from.
    pub source: Source,
    /// Names of the runtime; empty for [`DEFAULT_NAMES`], of which those that something else has are left to it.
    pub names: Vec<String>,
    /// `nvbind-runtime`.
    pub program: PathBuf,
    /// Whether containers get it that name no runtime.
    pub set_as_default: bool,
    /// Whether to switch the engine's own CDI support on or off; `None` leaves it.
    pub cdi: Option<bool>,
}

/// One file that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// Its text; `None` when it is not there.
    pub before: Option<String>,
    /// What it becomes; `None` when it goes.
    pub after: Option<String>,
}

impl FileChange {
    /// The change as `diff -u` writes it.
    pub fn diff(&self) -> String {
        let side = |text: &Option<String>| match text {
            Some(_) => self.path.display().to_string(),
            None => "/dev/null".to_owned(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (before, after) = (text(&self.before), text(&self.after));
        let diff = similar::TextDiff::from_lines(&before, &after);
        let header = (side(&self.before), side(&self.after));
        diff.unified_diff().header(&header.0, &header.1).to_string()
    }
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The files that change; none when everything is as it should be.
    pub changes: Vec<FileChange>,
    /// What the user should know besides.
    pub notes: Vec<String>,
    /// What makes the engine read its configuration anew; empty when it does so by itself.
    pub next: &'static str,
}

/// What one engine needs.
struct Plan {
    /// The engine's own file.
    config: PathBuf,
    /// In the order in which they are written: what is imported comes before what imports it.
    files: Vec<FilePlan>,
    notes: Vec<String>,
    next: &'static str,
}

/// What one file must say.
struct FilePlan {
    path: PathBuf,
    format: Format,
    /// What a new file begins with.
    heading: String,
    settings: Vec<Setting>,
}

impl FilePlan {
    /// Works out the change and what to remember of it; `None` when there is nothing to do.
    fn change(&self) -> Result<Option<(FileChange, FileRecord)>, Error> {
        let before = file::read(&self.path)?;
        let mut document = self.format.parse(&self.path, before.as_deref().unwrap_or_default())?;
        let mut edits = Vec::new();
        for setting in &self.settings {
            edits.extend(setting.apply(&self.path, document.as_mut())?);
        }
        if edits.is_empty() && (before.is_some() || self.settings.is_empty()) {
            return Ok(None);
        }
        let heading = if before.is_none() { self.heading.as_str() } else { "" };
        let after = heading.to_owned() + &document.text();
        let record = FileRecord::new(&self.path, self.format, before.as_deref(), &after, edits);
        let change = FileChange {
            path: self.path.clone(),
            before,
            after: Some(after),
        };
        Ok(Some((change, record)))
    }
}

/// Tells an engine of the runtime. With `dry_run` nothing is written.
pub fn configure(request: &Request, state: &Path, dry_run: bool) -> Result<Outcome, Error> {
    let records = match dry_run {
        true => Records::look(state),
        false => Records::open(state)?,
    };
    let plan = match request.engine {
        Engine::Docker => docker::plan(request)?,
        Engine::Containerd => containerd::plan(request)?,
        Engine::Crio => crio::plan(request)?,
        Engine::Podman => podman::plan(request)?,
    };
    let mut changes = Vec::new();
    let mut record = records.load(request.engine, &plan.config)?.unwrap_or_else(|| Record {
        engine: request.engine,
        config: plan.config.clone(),
        files: Vec::new(),
    });
    for file in &plan.files {
        if let Some((change, file)) = file.change()? {
            changes.push(change);
            remember(&mut record, file);
        }
    }
    match request.engine {
        Engine::Docker => docker::check(request, &changes)?,
        Engine::Containerd => containerd::check(request, &plan.config, &changes)?,
        Engine::Crio | Engine::Podman => {}
    }
    if !dry_run && !changes.is_empty() {
        records.save(&record)?;
        changes.iter().try_for_each(write)?;
    }
    Ok(Outcome {
        next: if changes.is_empty() { "" } else { plan.next },
        changes,
        notes: plan.notes,
    })
}

fn remember(record: &mut Record, file: FileRecord) {
    match record.files.iter().position(|known| known.path == file.path) {
        Some(at) => record.files[at] = file.after(&record.files[at]),
        None => record.files.push(file),
    }
}

/// Takes nvbind's lines out of an engine's configuration, as far as no one has changed them since. Without `config`, out of
/// every configuration of that engine. With `dry_run` nothing is written.
pub fn undo(engine: Engine, config: Option<&Path>, state: &Path, dry_run: bool) -> Result<Outcome, Error> {
    let records = match dry_run || !state.exists() {
        true => Records::look(state),
        false => Records::open(state)?,
    };
    let mut outcome = Outcome::default();
    let found = records.of_engine(engine)?;
    for record in found
        .iter()
        .filter(|record| config.is_none_or(|config| config == record.config))
    {
        let mut steps = Vec::new();
        // The importing file first: it must not name one that is gone.
        for file in record.files.iter().rev() {
            steps.push((file, reverted(file, &mut outcome.notes)?));
        }
        if !dry_run {
            steps
                .iter()
                .try_for_each(|(file, change)| take_back(file, change.as_ref()))?;
            records.remove(record)?;
        }
        outcome
            .changes
            .extend(steps.into_iter().filter_map(|(_, change)| change));
    }
    if !outcome.changes.is_empty() {
        outcome.next = next(engine);
    }
    Ok(outcome)
}

fn reverted(record: &FileRecord, notes: &mut Vec<String>) -> Result<Option<FileChange>, Error> {
    let Some(now) = file::read(&record.path)? else {
        return Ok(None);
    };
    let (after, left) = record.revert(&now)?;
    let path = record.path.display();
    notes.extend(
        left.iter()
            .map(|key| format!("{path}: '{key}' was changed since and is left as it is")),
    );
    let change = FileChange {
        path: record.path.clone(),
        before: Some(now),
        after,
    };
    Ok((change.before != change.after).then_some(change))
}

fn take_back(file: &FileRecord, change: Option<&FileChange>) -> Result<(), Error> {
    match change {
        Some(change) if change.after.is_some() => write(change),
        None if file.path.exists() => Ok(()),
        // Also where it is gone already: an undo that was killed may have left its folders.
        _ => file::remove(&file.path, &file.folders),
    }
}

fn write(change: &FileChange) -> Result<(), Error> {
    match &change.after {
        Some(text) => file::write(&change.path, text).map(|_| ()),
        None => file::remove(&change.path, &[]),
    }
}

/// What makes an engine read its configuration.
fn next(engine: Engine) -> &'static str {
    match engine {
        Engine::Docker => "systemctl restart docker",
        Engine::Containerd => "systemctl restart containerd",
        Engine::Crio => "systemctl restart crio",
        Engine::Podman => "",
    }
}

/// The first line of a file that is nvbind's own.
fn heading(engine: Engine) -> String {
    format!("# Written by nvbind; 'nvbind runtime configure --runtime {engine} --undo' takes it away.\n\n")
}

impl Request {
    /// The names to register, and notes about those that something else has. `present` is what is registered under a name.
    fn names(&self, present: impl Fn(&str) -> Option<String>) -> (Vec<String>, Vec<String>) {
        if !self.names.is_empty() {
            return (self.names.clone(), Vec::new());
        }
        let (mut names, mut notes) = (Vec::new(), Vec::new());
        for name in DEFAULT_NAMES {
            match present(name).filter(|program| name != DEFAULT_NAMES[0] && !self.is_ours(program)) {
                Some(program) => notes.push(format!(
                    "the runtime '{name}' is {program} and stays it; --nvidia-runtime-name {name} gives the name to nvbind"
                )),
                None => names.push(name.to_owned()),
            }
        }
        (names, notes)
    }

    /// Whether a program is the one to register, or an nvbind-runtime that was installed elsewhere.
    fn is_ours(&self, program: &str) -> bool {
        let program = Path::new(program);
        program == self.program || program.ends_with("nvbind-runtime")
    }

    /// The program as configuration files name it.
    fn program_text(&self) -> String {
        self.program.display().to_string()
    }
}
