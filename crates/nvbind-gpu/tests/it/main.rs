//! Discovery on machines laid out in folders.
// A test that cannot go on says so by failing, and nobody calls it.
#![allow(clippy::unwrap_used, missing_docs)]

mod discovery;
mod driver_files;
mod machine;
mod nodes;
mod simulated;
