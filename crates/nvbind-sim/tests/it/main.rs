//! Whole simulated machines.

// A test that cannot go on says so by failing.
#![allow(clippy::unwrap_used)]

mod command;
mod machine;
mod root;
mod stub;
