//! Discovery on machines laid out in folders.
#![allow(clippy::unwrap_used, missing_docs)]

mod discovery;
mod driver_files;
mod machine;
mod nodes;
mod simulated;
