//! OCI images: read from a layout (a folder or a tar file), checked, unpacked once, kept under their digest.

mod blob;
mod config;
mod decompress;
mod error;
mod layer;
mod layout;
mod source;
mod store;
mod tree;

pub use config::ImageConfig;
pub use error::Error;
pub use store::ensure;

use std::path::PathBuf;

/// An image that lies unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its files: never written to, containers get an overlay.
    pub rootfs: PathBuf,
    /// What it says about the command and its surroundings.
    pub config: ImageConfig,
}

/// How far the unpacking of an image came, in bytes of its (compressed) layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpack {
    /// Bytes read.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}
