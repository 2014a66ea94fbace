//! The shim and the hook as programs: with a stand-in runtime, with runc, and against hostile images.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod attacks;
mod compat;
mod container;
mod hook;
mod just_in_time;
mod params;
mod passthrough;
mod preload;
mod prepare;
mod properties;
mod refusals;
mod requirements;
mod support;
