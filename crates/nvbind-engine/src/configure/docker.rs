//! Docker: `/etc/docker/daemon.json`.

use super::document::{Format, key_path};
use super::program::{self, Said};
use super::setting::Setting;
use super::{DropIn, Engine, Error, FileChange, FilePlan, Plan, Request, file, next};
use serde_json::{Value, json};
use std::path::PathBuf;

const CONFIG: &str = "/etc/docker/daemon.json";
const DAEMON: &str = "dockerd";

pub(super) fn plan(request: &Request) -> Result<Plan, Error> {
    if let DropIn::At(_) = request.drop_in {
        return Err(Error::NoDropIn);
    }
    let config = request.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG));
    let present = file::read(&config)?.unwrap_or_default();
    let document = Format::Json.parse(&config, &present)?;
    let (names, notes) = request.names(|name| {
        let program = document.get(&key_path(["runtimes", name, "path"]))?;
        Some(program.as_str().unwrap_or_default().to_owned())
    });
    Ok(Plan {
        files: vec![FilePlan {
            path: config.clone(),
            format: Format::Json,
            heading: String::new(),
            settings: settings(request, &names),
        }],
        config,
        notes,
        next: next(Engine::Docker),
    })
}

fn settings(request: &Request, names: &[String]) -> Vec<Setting> {
    let runtime =
        |name: &String| Setting::value(key_path(["runtimes", name]), json!({ "path": request.program_text() }));
    let mut settings: Vec<Setting> = names.iter().map(runtime).collect();
    if let (true, Some(name)) = (request.set_as_default, names.first()) {
        settings.push(Setting::value(key_path(["default-runtime"]), name.as_str()));
    }
    if let Some(cdi) = request.cdi {
        settings.push(Setting::value(key_path(["features", "cdi"]), Value::Bool(cdi)));
    }
    settings
}

/// Has the daemon look at the file, where it can (`--validate` came with version 23).
pub(super) fn check(request: &Request, changes: &[FileChange]) -> Result<(), Error> {
    let daemon = request.executable.clone().unwrap_or_else(|| DAEMON.into());
    for change in changes {
        let folder = program::folder()?;
        let candidate = folder.path().join("daemon.json");
        file::write(&candidate, change.after.as_deref().unwrap_or_default())?;
        let option = format!("--config-file={}", candidate.display());
        if let Said::No(why) = program::ask(&daemon, &["--validate", &option]) {
            if why.contains("unknown flag") {
                continue;
            }
            return Err(Error::Refused {
                program: daemon.display().to_string(),
                path: change.path.clone(),
                why: why.replace(&candidate.display().to_string(), &change.path.display().to_string()),
            });
        }
    }
    Ok(())
}
