//! How is this machine set up? Roots under which the host's files lie, configuration files, `NVBIND_*` variables.
//!
//! Precedence, lowest first: built-in defaults, `/etc/nvbind/config.toml`, `~/.config/nvbind/config.toml`
//! (or the one file that `NVBIND_CONFIG` names), `NVBIND_<SECTION>_<KEY>` variables, command line flags.

mod config;
mod roots;

pub use config::{CdiConfig, Config, Error, HookConfig, HostConfig, RuntimeConfig, StateConfig};
pub use roots::Roots;
