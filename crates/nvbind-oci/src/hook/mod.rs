//! The `createContainer` hook: links to the driver's libraries, the dynamic loader's cache that knows them, and the driver's
//! parameters as the container is to see them.
//!
//! It runs as the host's root beside a file system that an attacker may have written: every path is resolved by the
//! kernel below one handle of the container's root, and nothing there is executed. What it does is a convenience: a step
//! that fails (a read-only root, a folder where a link should be) is a warning and the container starts. Only a
//! state that names no root is an error.

pub(crate) mod arguments;
pub(crate) mod compat;
pub(crate) mod ldcache;
pub(crate) mod library;
pub(crate) mod links;
pub(crate) mod musl;
pub(crate) mod params;
pub(crate) mod root;
mod state;

use crate::Error;
use arguments::Arguments;
use root::Root;
use std::io::Read;

/// What this hook is called in a spec.
pub(crate) const COMMAND: &str = "create-container";

/// What docker (before version 25) asks of `nvidia-container-runtime-hook` for `--gpus`. `nvbind-runtime` takes that hook out
/// of a bundle; where it runs all the same, a container without the GPUs that it asks for must not start.
const PRESTART: &str = "prestart";

/// What went wrong without stopping the container, a line each.
#[derive(Debug, Default)]
pub struct Warnings(Vec<String>);

impl Warnings {
    pub(crate) fn add(&mut self, text: String) {
        self.0.push(text);
    }

    /// The lines in the order in which they came up.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

/// Runs the hook with its arguments (without the program's name) and the container's state as OCI runtimes write it.
///
/// # Errors
///
/// When the state cannot be read or names no root that can be opened, or when it is called as NVIDIA's own hook.
pub fn run(args: &[String], state: impl Read) -> Result<Warnings, Error> {
    let mut warnings = Warnings::default();
    if args.first().is_some_and(|command| command == PRESTART) {
        return Err(Error::Prestart);
    }
    if args.first().is_none_or(|command| command != COMMAND) {
        // A spec of a newer version must not break containers while an older hook is installed.
        warnings.add(format!(
            "unknown command {:?}: nothing done",
            args.first().map_or("", String::as_str)
        ));
        return Ok(warnings);
    }
    let arguments = Arguments::parse(&args[1..], &mut warnings);
    let root = Root::open(&state::container_root(state)?)?;
    let given = arguments
        .device_links
        .iter()
        .filter(|link| root.exists(&link.leads_to()));
    links::make(&root, arguments.links.iter().chain(given), &mut warnings);
    let mut libraries = library::inspect(&root, &arguments.libraries, &mut warnings);
    compat::prefer(&root, &arguments, &mut libraries);
    ldcache::update(&root, &libraries, &mut warnings);
    musl::update(&root, &libraries, &mut warnings);
    if arguments.protects_nodes {
        params::protect(&root, &mut warnings);
    }
    Ok(warnings)
}
