//! Whole simulated machines.

mod command;
mod machine;
mod root;
mod stub;
