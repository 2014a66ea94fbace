//! What every command starts from: the configuration and the machine it looks at.

use crate::cli::{Global, RootArgs};
use crate::failure::{Failure, NOT_FOUND};
use nvbind_config::{Config, Roots, Sources};
use nvbind_sim::root::SimRoot;
use std::env;
use std::path::{Path, PathBuf};

/// Names an unpacked user-space driver of NVIDIA's to lay over a simulated machine.
const SIM_DRIVER: &str = "NVBIND_SIM_DRIVER";

/// The options that stand before everything, not looked into until a command needs them.
pub(crate) struct Context {
    sim: Option<String>,
    config: Option<PathBuf>,
    is_verbose: bool,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            sim: global.sim.clone().filter(|sim| !sim.is_empty()),
            config: global.config.clone(),
            is_verbose: global.is_verbose(),
        }
    }

    /// Whether more is to be said than is asked for.
    pub(crate) fn is_verbose(&self) -> bool {
        self.is_verbose
    }

    /// The configuration.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        self.config_with(&RootArgs::default())
    }

    /// The configuration with the roots of the command line.
    pub(crate) fn config_with(&self, roots: &RootArgs) -> Result<Config, Failure> {
        let mut config = self.load()?;
        if let Some(driver_root) = &roots.driver_root {
            config.host.driver_root = folder("driver root", driver_root)?;
        }
        if let Some(dev_root) = &roots.dev_root {
            config.host.dev_root = Some(folder("device root", dev_root)?);
        }
        Ok(config)
    }

    fn load(&self) -> Result<Config, Failure> {
        let mut sources = Sources::of_process();
        if let Some(file) = &self.config {
            sources.files = vec![file.clone()];
            sources.files_must_exist = true;
        }
        Ok(sources.load(&[])?)
    }

    /// The machine to look at: the roots of the command line, else the simulated machine, else what the configuration says.
    pub(crate) fn roots(&self, config: &Config, args: &RootArgs) -> Result<Roots, Failure> {
        match &self.sim {
            Some(machine) if !args.is_given() => Ok(Roots::under(sim_root(config, machine)?.path())),
            _ => Ok(config.roots()),
        }
    }

    /// The simulated machine that was asked for, if one was.
    pub(crate) fn sim(&self) -> Option<&str> {
        self.sim.as_deref()
    }
}

/// The simulated machine of that name, made when it is not there yet.
pub(crate) fn sim_root(config: &Config, machine: &str) -> Result<SimRoot, Failure> {
    let overlay = env::var_os(SIM_DRIVER)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let library = nvbind_sim::library_path()?;
    Ok(nvbind_sim::root::ensure(
        &sim_base(config),
        machine,
        &library,
        overlay.as_deref(),
    )?)
}

/// The folder of the simulated machines.
pub(crate) fn sim_base(config: &Config) -> PathBuf {
    config.state_dir().join("sim")
}

fn folder(what: &str, path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::io(format!("cannot use {what} '{}'", path.display()), &error);
    let folder = path.canonicalize().map_err(failed)?;
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(Failure::new(
            NOT_FOUND,
            format!("{what} '{}' is not a folder", path.display()),
        )),
    }
}
