//! CRI-O: a drop-in of `crio.conf`. CRI-O reads every file of the folder, in the order of their names, each over those before
//! it, key by key.

use super::document::{Format, key_path};
use super::program::{self, Said};
use super::setting::Setting;
use super::{DropIn, Engine, Error, FilePlan, Plan, Request, Source, file, heading, next};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const CONFIG: &str = "/etc/crio/crio.conf";
const DROP_IN: &str = "/etc/crio/crio.conf.d/99-nvbind.conf";
const PROGRAM: &str = "crio";
/// What prints the configuration of a running CRI-O.
const DUMP: [&str; 2] = ["status", "config"];
/// Keys of a runtime that say which one it is: they are not copied from the default one.
const IDENTITY: [&str; 3] = ["runtime_path", "runtime_type", "runtime_config_path"];

pub(super) fn plan(request: &Request) -> Result<Plan, Error> {
    let config = request.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG));
    let drop_in = match &request.drop_in {
        DropIn::Auto => PathBuf::from(DROP_IN),
        DropIn::Never => config.clone(),
        DropIn::At(path) => path.clone(),
    };
    let sections = match request.source {
        Source::File => sections_of_files(&config, &drop_in)?,
        Source::Command => vec![section_of_command(request)?],
    };
    let (names, mut notes) = request.names(|name| {
        let program = find(&sections, |section| {
            section.pointer(&format!("/runtimes/{name}/runtime_path"))
        })?;
        Some(program.as_str()?.to_owned())
    });
    if request.cdi.is_some() {
        notes.push("CRI-O has CDI of its own since 1.23 and no switch for it".to_owned());
    }
    Ok(Plan {
        files: vec![FilePlan {
            path: drop_in,
            format: Format::Toml,
            heading: heading(Engine::Crio),
            settings: settings(request, &names, &sections),
        }],
        config,
        notes,
        next: next(Engine::Crio),
    })
}

/// The sections `crio.runtime` of the files that CRI-O reads, in its order, without nvbind's own.
fn sections_of_files(config: &Path, drop_in: &Path) -> Result<Vec<Value>, Error> {
    let folder = drop_in.parent().filter(|_| drop_in != config);
    let mut paths = vec![config.to_owned()];
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let mut others: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path != drop_in && path.is_file())
        .collect();
    others.sort();
    paths.extend(others);
    let mut sections = Vec::new();
    for path in paths {
        let text = file::read(&path)?.unwrap_or_default();
        sections.extend(Format::Toml.parse(&path, &text)?.get(&key_path(["crio", "runtime"])));
    }
    Ok(sections)
}

fn section_of_command(request: &Request) -> Result<Value, Error> {
    let program = request.executable.clone().unwrap_or_else(|| PROGRAM.into());
    let failed = |why: &str| Error::Source {
        program: format!("{} {}", program.display(), DUMP.join(" ")),
        why: why.to_owned(),
    };
    match program::ask(&program, &DUMP) {
        Said::Yes(text) => {
            let document = Format::Toml.parse(&program, &text)?;
            Ok(document.get(&key_path(["crio", "runtime"])).unwrap_or_default())
        }
        Said::No(why) => Err(failed(&why)),
        Said::Absent => Err(failed("it is not installed")),
    }
}

/// What the last file says that says anything.
fn find(sections: &[Value], look: impl Fn(&Value) -> Option<&Value>) -> Option<Value> {
    sections.iter().rev().find_map(look).cloned()
}

fn settings(request: &Request, names: &[String], sections: &[Value]) -> Vec<Setting> {
    let mut runtime = default_runtime(sections);
    runtime.insert("runtime_path".to_owned(), request.program_text().into());
    runtime.insert("runtime_type".to_owned(), "oci".into());
    let entry = |name: &String| {
        Setting::value(
            key_path(["crio", "runtime", "runtimes", name]),
            Value::Object(runtime.clone()),
        )
    };
    let mut settings: Vec<Setting> = names.iter().map(entry).collect();
    if let (true, Some(name)) = (request.set_as_default, names.first()) {
        settings.push(Setting::value(
            key_path(["crio", "runtime", "default_runtime"]),
            name.as_str(),
        ));
    }
    settings
}

/// What the default runtime is set to besides what it is: its monitor, its cgroup, its annotations.
fn default_runtime(sections: &[Value]) -> Map<String, Value> {
    let name = find(sections, |section| section.get("default_runtime"));
    let name = name.as_ref().and_then(Value::as_str).unwrap_or("runc").to_owned();
    let mut runtime = Map::new();
    for section in sections {
        let keys = section.pointer(&format!("/runtimes/{name}")).and_then(Value::as_object);
        runtime.extend(keys.cloned().unwrap_or_default());
    }
    // A virtual machine's settings are none for a process.
    if runtime.get("runtime_type").is_some_and(|kind| kind == "vm") {
        return Map::new();
    }
    runtime.retain(|key, _| !IDENTITY.contains(&key.as_str()));
    runtime
}
