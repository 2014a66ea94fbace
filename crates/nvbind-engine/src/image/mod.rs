//! Images: pulled from registries or read from layouts (a folder or a tar file), checked, unpacked once, kept under their
//! digests.

mod blob;
mod collect;
mod config;
pub(crate) mod copy;
mod decompress;
mod error;
#[doc(hidden)]
pub mod hostile;
mod layer;
mod layout;
mod list;
mod manifest;
mod names;
mod obtain;
pub(crate) mod overlay;
mod reference;
pub mod registry;
mod source;
mod store;
mod tree;
mod unpack;

pub use collect::Removed;
pub use config::ImageConfig;
pub use error::Error;
pub use list::Listed;
pub use obtain::{Sources, Wanted};
pub use reference::Reference;
pub use registry::Registries;
pub use store::{Hold, Store};

use std::path::PathBuf;

/// An image that lies unpacked.
#[derive(Debug)]
pub struct Image {
    /// Folders of its layers, topmost first: never written to, containers get an overlay.
    pub lowers: Vec<PathBuf>,
    /// What it says about the command and its surroundings.
    pub config: ImageConfig,
    /// Keeps it from being removed.
    pub hold: Hold,
}

/// How far something came, in bytes of (compressed) layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// What is done for an image, told to the caller, who may show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Layers are fetched.
    Pull(Amount),
    /// Layers are unpacked.
    Unpack(Amount),
    /// Another process uses the store, and is waited for.
    Wait,
}

/// Told of each step.
pub type Progress<'a> = dyn FnMut(Step) + Send + 'a;
