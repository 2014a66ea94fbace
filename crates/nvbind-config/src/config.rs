//! The configuration and where it comes from.

use std::path::PathBuf;

/// Everything that can be set for this machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// `[host]`
    pub host: HostConfig,
    /// `[cdi]`
    pub cdi: CdiConfig,
    /// `[runtime]`
    pub runtime: RuntimeConfig,
    /// `[hook]`
    pub hook: HookConfig,
    /// `[state]`
    pub state: StateConfig,
}
/// `[host]`: roots.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostConfig {}
/// `[cdi]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CdiConfig {}
/// `[runtime]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimeConfig {}
/// `[hook]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HookConfig {}
/// `[state]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateConfig { /// directory
    pub dir: Option<PathBuf> }
/// What can be wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("configuration")]
pub struct Error;
