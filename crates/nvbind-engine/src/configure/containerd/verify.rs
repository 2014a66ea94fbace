//! containerd itself looks at what its configuration would be, before anything is written.

use super::super::document::{Format, KeyPath, key_path};
use super::super::program::{self, Said};
use super::super::{Error, FileChange, Request, file};
use super::imports::{expand, patterns};
use super::{executable, section_of};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Has containerd read a copy of its files with the changes in them, and looks for the runtimes in what it makes of them.
/// Without a containerd there is no one to ask.
pub(in super::super) fn check(request: &Request, config: &Path, changes: &[FileChange]) -> Result<(), Error> {
    let Some(last) = changes.last() else { return Ok(()) };
    let program = executable(request);
    if config.exists() {
        // First as it is: what is wrong with it has then its own line.
        dump(&program, config, config)?;
    }
    let folder = program::folder()?;
    let copy = copied(config, changes, folder.path())?;
    let Some(text) = dump(&program, &copy, config)? else {
        return Ok(());
    };
    let whole = Format::Toml.parse(&program, &text)?.get(&[]).unwrap_or_default();
    let ours = names(changes, &request.program_text());
    let seen = runtimes(&section_of(&whole), &request.program_text());
    match ours.into_iter().find(|name| !seen.contains(name)) {
        Some(name) => Err(Error::Shadowed {
            name,
            path: last.path.clone(),
        }),
        None => Ok(()),
    }
}

/// The whole configuration that containerd makes of `copy`, which stands for `config`; `None` without a containerd.
fn dump(program: &Path, copy: &Path, config: &Path) -> Result<Option<String>, Error> {
    let copy = copy.display().to_string();
    match program::ask(program, &["--config", &copy, "config", "dump"]) {
        Said::Yes(text) => Ok(Some(text)),
        Said::Absent => Ok(None),
        Said::No(why) => Err(Error::Refused {
            program: program.display().to_string(),
            path: config.to_owned(),
            why: why.replace(&copy, &config.display().to_string()),
        }),
    }
}

/// The names under which a section has our program.
fn runtimes(section: &Value, program: &str) -> Vec<String> {
    let runtimes = section.pointer("/containerd/runtimes").and_then(Value::as_object);
    let is_ours = |runtime: &Value| runtime.pointer("/options/BinaryName") == Some(&json!(program));
    let named = runtimes.into_iter().flatten().filter(|(_, runtime)| is_ours(runtime));
    named.map(|(name, _)| name.clone()).collect()
}

/// The names that the changed files give to our program.
fn names(changes: &[FileChange], program: &str) -> Vec<String> {
    let texts = changes.iter().filter_map(|change| change.after.as_deref());
    let documents = texts.filter_map(|text| Format::Toml.parse(Path::new(""), text).ok());
    documents
        .flat_map(|document| runtimes(&section_of(&document.get(&[]).unwrap_or_default()), program))
        .collect()
}

/// Writes the files as they would be into a folder; returns the main one's copy.
fn copied(config: &Path, changes: &[FileChange], folder: &Path) -> Result<PathBuf, Error> {
    let changed = |path: &Path| {
        let at = changes.iter().position(|change| change.path == path)?;
        Some((at, changes[at].after.clone().unwrap_or_default()))
    };
    let text = match changed(config) {
        Some((_, text)) => text,
        None => file::read(config)?.unwrap_or_default(),
    };
    let mut main = Format::Toml.parse(config, &text)?;
    let mut imports: Vec<PathBuf> = patterns(config, main.as_ref())
        .iter()
        .flat_map(|pattern| with_new(pattern, config, changes))
        .collect();
    for path in &mut imports {
        if let Some((at, text)) = changed(path) {
            *path = folder.join(format!("import-{at}.toml"));
            file::write(path, &text)?;
        }
    }
    let key: KeyPath = key_path(["imports"]);
    if !imports.is_empty() {
        // It was there, so it can be set.
        let _ = main.set(&key, &json!(imports));
    }
    let copy = folder.join("config.toml");
    file::write(&copy, &main.text())?;
    Ok(copy)
}

/// The files that a pattern will mean, with those that are yet to be written.
fn with_new(pattern: &Path, config: &Path, changes: &[FileChange]) -> Vec<PathBuf> {
    let mut paths = expand(pattern);
    let new = changes.iter().map(|change| &change.path).filter(|path| *path != config);
    paths.extend(new.filter(|path| super::imports::is_meant(pattern, path)).cloned());
    paths.sort();
    paths.dedup();
    paths
}
