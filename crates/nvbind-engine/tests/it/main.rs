//! The engines, each started for real.

mod common;
mod docker;
mod podman;
