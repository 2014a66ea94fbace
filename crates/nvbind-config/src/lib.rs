//! How is this machine set up? Roots under which the host's files lie, configuration files, `NVBIND_*` variables.
//!
//! Precedence, lowest first: built-in defaults, the `config.toml` of NVIDIA's container toolkit, `/etc/nvbind/config.toml`, `~/.config/nvbind/config.toml`
//! (or the one file that `NVBIND_CONFIG` names), `NVBIND_<SECTION>_<KEY>` variables, command line flags.
//! Every layer is merged key by key. A key that nvbind does not know is an error that names the nearest known one.

mod config;
mod error;
mod key;
mod roots;
mod source;
mod toolkit;
pub mod trusted;
mod usd;

pub use config::{
    ANNOTATION_PREFIX, CdiConfig, CloudConfig, Config, ContainerConfig, DEFAULT_KIND, GpuConfig, HOOK_NAME, HookConfig,
    HostConfig, RegistryConfig, RequestConfig, RuntimeConfig, StateConfig,
};
pub use error::{Error, Origin};
pub use roots::Roots;
pub use source::Sources;
pub use usd::{ParseUsdError, Usd};
