//! What can go wrong with an image.

use crate::image::registry;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of an image cannot be used.
    #[error("image {}: {what}: {source}", path.display())]
    Io {
        /// The image.
        path: PathBuf,
        /// What was to be done.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The store cannot be used.
    #[error("image store {}: {what}: {source}{}", path.display(), remedy(source))]
    Store {
        /// The folder or file of the store.
        path: PathBuf,
        /// What was to be done.
        what: &'static str,
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
    /// The tar file ends too early.
    #[error("image {} is cut off: the tar file ends in the middle, at {length} bytes; copy or save it again", path.display())]
    Truncated {
        /// The tar file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// A name that no image of a registry can have.
    #[error("'{name}' is no image name: {why}; write it as [REGISTRY/]NAME[:TAG][@DIGEST], or oci:PATH")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A document of the image does not say what it must.
    #[error("image {image}: {document} is broken: {why}")]
    Malformed {
        /// The image.
        image: String,
        /// `index.json`, a digest.
        document: String,
        /// What is wrong.
        why: String,
    },
    /// The layout has several images and none was named, or not one of them.
    #[error("image {image}: {}; it has: {}", problem(wanted.as_deref()), known.join(", "))]
    Reference {
        /// The image.
        image: String,
        /// The reference that was given.
        wanted: Option<String>,
        /// The references that the layout has.
        known: Vec<String>,
    },
    /// The image is for other machines.
    #[error("image {image} has nothing for {wanted}; it is for {}", known.join(", "))]
    Platform {
        /// The image.
        image: String,
        /// This machine, as `linux/amd64`.
        wanted: String,
        /// What the image is for.
        known: Vec<String>,
    },
    /// A part of the image is not what its digest says.
    #[error("image {image}: {digest} is damaged ({why}): fetch the image again, or ask whoever provides it")]
    Digest {
        /// The image.
        image: String,
        /// The digest that it should have.
        digest: String,
        /// What differs.
        why: String,
    },
    /// A layer holds something that no honest image holds.
    #[error("image {image}: layer {digest} cannot be unpacked: {why}")]
    Layer {
        /// The image.
        image: String,
        /// The layer.
        digest: String,
        /// What is wrong.
        why: String,
    },
    /// The image was never pulled, and may not be now.
    #[error("image '{name}' is not on this machine: run 'nvbind image pull {name}' first, or leave --pull never out")]
    NotPulled {
        /// The image.
        name: String,
    },
    /// The store has no such image.
    #[error("there is no image '{name}' here: see 'nvbind image ls'")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The beginning of an id that several images have.
    #[error("'{name}' could be {}: write more of it", known.join(" or "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The images.
        known: Vec<String>,
    },
    /// A container runs on the image.
    #[error("image '{name}' is in use by {}: stop it first", holders(containers))]
    InUse {
        /// The image.
        name: String,
        /// Names of the containers, as far as they are known.
        containers: Vec<String>,
    },
    /// The registry, or what is between, refused.
    #[error(transparent)]
    Registry(#[from] registry::Error),
}

fn problem(wanted: Option<&str>) -> String {
    wanted.map_or("it holds several images, name one as oci:PATH:REF".to_owned(), |name| {
        format!("it has no '{name}'")
    })
}

fn holders(containers: &[String]) -> String {
    match containers {
        [] => "a container".to_owned(),
        [name] => format!("container '{name}'"),
        names => format!("containers {}", names.join(", ")),
    }
}

/// What to do about a store that cannot be written.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, with 'nvbind image prune' or 'nvbind image rm', and try again"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; set state.dir to a folder that can be written",
        io::ErrorKind::PermissionDenied => "; run nvbind as its owner",
        _ => "",
    }
}

impl Error {
    /// Exit code of the command that failed with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } | Self::Store { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                3
            }
            Self::Missing { .. } | Self::Platform { .. } | Self::NotPulled { .. } | Self::Unknown { .. } => 4,
            Self::Reference { wanted: Some(_), .. } => 4,
            Self::NotAnImage { .. }
            | Self::Name { .. }
            | Self::Malformed { .. }
            | Self::Reference { .. }
            | Self::Ambiguous { .. }
            | Self::InUse { .. } => 2,
            Self::Io { .. }
            | Self::Store { .. }
            | Self::Truncated { .. }
            | Self::Digest { .. }
            | Self::Layer { .. } => 1,
            Self::Registry(error) => error.exit_code(),
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

    /// For `map_err`: the failure to do `what` to a part of the store.
    pub(super) fn store<E: Into<io::Error>>(path: &Path, what: &'static str) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Store {
            path,
            what,
            source: source.into(),
        }
    }
}
