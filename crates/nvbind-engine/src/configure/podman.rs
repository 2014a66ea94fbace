//! Podman: a drop-in of `containers.conf`.

use super::document::{Format, key_path};
use super::setting::Setting;
use super::{DropIn, Engine, Error, FilePlan, Plan, Request, file, heading, next};
use serde_json::json;
use std::path::PathBuf;

/// Folder of containers-common's configuration, below `/etc` or the user's folder of configurations.
const FOLDER: &str = "containers";
const CONFIG: &str = "containers.conf";
const DROP_IN: &str = "containers.conf.d/99-nvbind.conf";

pub(super) fn plan(request: &Request) -> Result<Plan, Error> {
    let folder = folder();
    let config = request.config.clone().unwrap_or_else(|| folder.join(CONFIG));
    let path = match &request.drop_in {
        DropIn::Auto => folder.join(DROP_IN),
        DropIn::Never => config.clone(),
        DropIn::At(path) => path.clone(),
    };
    let present = file::read(&config)?.unwrap_or_default();
    let document = Format::Toml.parse(&config, &present)?;
    let (names, mut notes) = request.names(|name| {
        let programs = document.get(&key_path(["engine", "runtimes", name]))?;
        Some(programs.get(0)?.as_str()?.to_owned())
    });
    if request.cdi.is_some() {
        notes.push("podman has CDI of its own and no switch for it".to_owned());
    }
    Ok(Plan {
        files: vec![FilePlan {
            path,
            format: Format::Toml,
            heading: heading(Engine::Podman),
            settings: settings(request, &names),
        }],
        config,
        notes,
        next: next(Engine::Podman),
    })
}

/// A user's podman does not read what root's does where the user has files of their own, and reads it else.
fn folder() -> PathBuf {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    let own = || std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    match rustix::process::geteuid().is_root() {
        true => None,
        false => own(),
    }
    .unwrap_or_else(|| PathBuf::from("/etc"))
    .join(FOLDER)
}

fn settings(request: &Request, names: &[String]) -> Vec<Setting> {
    let runtime =
        |name: &String| Setting::value(key_path(["engine", "runtimes", name]), json!([request.program_text()]));
    let mut settings: Vec<Setting> = names.iter().map(runtime).collect();
    if let (true, Some(name)) = (request.set_as_default, names.first()) {
        settings.push(Setting::value(key_path(["engine", "runtime"]), name.as_str()));
    }
    settings
}
