//! The engines, each started for real.

#[cfg(feature = "bolt")]
mod bolt;
mod common;
mod docker;
mod native;
mod podman;
