//! The engines, each started for real.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where

#[cfg(feature = "bolt")]
mod bolt;
mod common;
mod configure;
mod containerd;
mod docker;
mod native;
mod podman;
