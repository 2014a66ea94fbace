//! `nvbind-runtime`: an OCI runtime that edits a bundle on `create` and `run`, and hands everything to another one.

mod bundle;
mod command_line;
mod devices;
mod just_in_time;
mod link_folder;
mod log;
mod low_level;
mod prepare;
mod time;

use crate::{Devices, Error, Request, request};
use bundle::Bundle;
use command_line::CommandLine;
use log::Log;
use nvbind_cdi::Edits;
use nvbind_config::Config;
use nvbind_gpu::Capabilities;
use prepare::Prepared;
use serde_json::Value;
use std::convert::Infallible;
use std::ffi::OsString;
use std::path::Path;

/// File names of the hooks by which NVIDIA's toolkit injects GPUs: where nvbind does that, they must not do it again.
const OTHER_INJECTORS: [&str; 2] = ["nvidia-container-runtime-hook", "nvidia-container-toolkit"];

/// Where folders of links are kept, below the state's folder.
const LINK_FOLDERS: &str = "links";

/// Runs the shim with its arguments (without the program's name). Returns only on failure, with the exit code: the
/// message has then gone to standard error and to the files that the engine and the configuration name.
pub fn run(args: &[OsString]) -> u8 {
    let line = CommandLine::parse(args);
    let mut log = Log::new(&line);
    match start(args, &line, &mut log) {
        Ok(never) => match never {},
        Err(error) => {
            log.error(&error.to_string());
            error.exit_code()
        }
    }
}

fn start(args: &[OsString], line: &CommandLine, log: &mut Log) -> Result<Infallible, Error> {
    let config = match (Config::load(&[]), line.bundle()) {
        // A configuration that was broken later must not keep anyone from stopping containers.
        (Err(_), None) => Config::default(),
        (config, _) => config?,
    };
    log.also_to(config.runtime.log.as_deref());
    if let Some(folder) = line.bundle() {
        edit(folder, &config, log)?;
    }
    low_level::exec(&config.runtime.runtimes, args)
}

/// Edits the bundle when its container asks for devices. Without a bundle there is nothing to do: the low-level runtime
/// says so better.
fn edit(folder: &Path, config: &Config, log: &mut Log) -> Result<(), Error> {
    let Some(mut bundle) = Bundle::open(folder)? else {
        return Ok(());
    };
    let asked = request(&bundle.config, &config.request)?;
    if asked.is_nothing() {
        return Ok(());
    }
    let mut edits = edits(&asked, config)?;
    let store = config.state_dir().join(LINK_FOLDERS);
    let prepared = Prepared::of(folder, &bundle.config, &mut edits, &store);
    remove_other_injectors(&mut bundle.config);
    crate::apply(&mut bundle.config, &edits)?;
    let warnings = prepared.as_ref().map(Prepared::write).unwrap_or_default();
    bundle.write()?;
    for warning in warnings.lines() {
        log.info(&format!("{}: {warning}", folder.display()));
    }
    log.info(&format!("{}: edited for {:?}", folder.display(), asked.devices));
    // Freeing some thousand strings takes a tenth of the shim's time, and the process is about to become another one.
    std::mem::forget((bundle, edits, prepared));
    Ok(())
}

fn edits(asked: &Request, config: &Config) -> Result<Edits, Error> {
    let mut edits = devices::edits(asked, config)?;
    if asked.devices != Devices::Nothing && asked.capabilities != Capabilities::ALL {
        edits = edits.filter(asked.capabilities);
    }
    if !config.request.cuda_compat {
        edits.forget_host_versions();
    }
    Ok(edits)
}

fn remove_other_injectors(config: &mut Value) {
    let is_other = |hook: &Value| {
        let program = hook
            .get("path")
            .and_then(Value::as_str)
            .and_then(|path| Path::new(path).file_name());
        program.is_some_and(|program| OTHER_INJECTORS.iter().any(|other| program == *other))
    };
    if let Some(hooks) = config.pointer_mut("/hooks/prestart").and_then(Value::as_array_mut) {
        hooks.retain(|hook| !is_other(hook));
    }
}
