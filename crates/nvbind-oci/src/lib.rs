//! How do edits get into an OCI container? The nvbind-runtime shim and the nvbind-hook.

mod apply;
mod error;

pub use apply::apply;
pub use error::Error;
