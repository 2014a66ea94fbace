//! Where the fuzz targets come in: what a hostile registry or image could send, without a registry and without a store.

use crate::image::blob::Digest;
use crate::image::layer::unpack_layer;
use crate::image::manifest::{self, Descriptor, Documents, Kind};
use crate::image::{Error, ImageConfig, unpack};
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// What documents say of an image.
#[derive(Debug)]
pub struct Said {
    /// Where its layers would be looked for, below the store.
    pub layers: Vec<PathBuf>,
    /// Their names in the store, lowest first: the same as are made of the stored configuration later.
    pub chains: [Vec<String>; 2],
    /// Its command and its surroundings.
    pub config: ImageConfig,
    /// How many documents were fetched.
    pub fetched: usize,
}

/// Documents that name each other, as a registry has them by their digests.
struct Shelf {
    documents: Vec<Vec<u8>>,
    fetched: Cell<usize>,
}

impl Documents for Shelf {
    fn image(&self) -> &str {
        "hostile"
    }

    fn fetch(&self, _: Kind, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.fetched.set(self.fetched.get() + 1);
        let wanted = manifest::digest(self.image(), &descriptor.digest)?;
        let found = self.documents.iter().find(|bytes| Digest::of(bytes) == wanted);
        found
            .cloned()
            .ok_or_else(|| manifest::malformed(self.image(), &descriptor.digest, "it is missing"))
    }
}

/// The digest by which a document names another.
pub fn digest(document: &[u8]) -> String {
    Digest::of(document).to_string()
}

/// Reads an index or a manifest, and whatever it leads to among the other documents.
pub fn documents(first: &[u8], others: Vec<Vec<u8>>) -> Result<Said, Error> {
    let shelf = Shelf {
        documents: others,
        fetched: Cell::default(),
    };
    let contents = manifest::read(&shelf, "hostile", first)?;
    let (config, stored) = manifest::stored(shelf.image(), &contents.id, &contents.configuration)?;
    let names = |digests: Vec<Digest>| digests.iter().map(Digest::to_string).collect();
    Ok(Said {
        layers: contents.layers.iter().map(|layer| layer.blob.file.clone()).collect(),
        chains: [
            names(contents.layers.iter().map(|layer| layer.chain.clone()).collect()),
            names(stored),
        ],
        config,
        fetched: shelf.fetched.get(),
    })
}

/// Unpacks the tar of a layer in a folder, by a thread whose root that folder is. Wants root's rights.
pub fn layer(tar: &[u8], folder: &Path) -> std::io::Result<()> {
    let work = || {
        unpack::enter(folder)?;
        unpack_layer(tar)
    };
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
