//! What can go wrong with an image.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the image or of the store cannot be used.
    #[error("image {}: {what}: {source}", path.display())]
    Io {
        /// The image, or the file of the store.
        path: PathBuf,
        /// What was to be done.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// There is nothing at the path.
    #[error("image {} is not there; check the path", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// What is at the path is no image.
    #[error("{} is neither an OCI image layout nor a docker archive: it has no index.json and no manifest.json", path.display())]
    NotAnImage {
        /// The path.
        path: PathBuf,
    },
    /// A document of the image does not say what it must.
    #[error("image {}: {document} is broken: {why}", path.display())]
    Malformed {
        /// The image.
        path: PathBuf,
        /// `index.json`, a digest.
        document: String,
        /// What is wrong.
        why: String,
    },
    /// The layout has several images and none was named, or not one of them.
    #[error("image {}: {}; it has: {}", path.display(), problem(wanted.as_deref()), known.join(", "))]
    Reference {
        /// The image.
        path: PathBuf,
        /// The reference that was given.
        wanted: Option<String>,
        /// The references that the layout has.
        known: Vec<String>,
    },
    /// The image is for other machines.
    #[error("image {} has nothing for {wanted}; it is for {}", path.display(), known.join(", "))]
    Platform {
        /// The image.
        path: PathBuf,
        /// This machine, as `linux/amd64`.
        wanted: String,
        /// What the image is for.
        known: Vec<String>,
    },
    /// A part of the image is not what its digest says.
    #[error("image {}: {digest} is damaged ({why}): fetch the image again", path.display())]
    Digest {
        /// The image.
        path: PathBuf,
        /// The digest that it should have.
        digest: String,
        /// What differs.
        why: String,
    },
    /// A layer holds something that no honest image holds.
    #[error("image {}: layer {digest} cannot be unpacked: {why}", path.display())]
    Layer {
        /// The image.
        path: PathBuf,
        /// The layer.
        digest: String,
        /// What is wrong.
        why: String,
    },
}

fn problem(wanted: Option<&str>) -> String {
    wanted.map_or("it holds several images, name one as oci:PATH:REF".to_owned(), |name| {
        format!("it has no '{name}'")
    })
}

impl Error {
    /// Exit code of the command that failed with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 3,
            Self::Missing { .. } | Self::Platform { .. } => 4,
            Self::Reference { wanted: Some(_), .. } => 4,
            Self::NotAnImage { .. } | Self::Malformed { .. } | Self::Reference { .. } => 2,
            Self::Io { .. } | Self::Digest { .. } | Self::Layer { .. } => 1,
        }
    }

    /// Words of an image, or about it, for a message of one line.
    pub(super) fn words(text: &(impl ToString + ?Sized)) -> String {
        text.to_string().replace(char::is_control, "?")
    }

    pub(super) fn io(path: &Path, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let (path, what) = (path.to_owned(), what.into());
        move |source| Self::Io { path, what, source }
    }
}
