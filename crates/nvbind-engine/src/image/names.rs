//! Which image has which name: `images.json`, written whole.

use crate::image::blob::Digest;
use crate::image::store::{Store, write_whole};
use crate::image::{Error, manifest};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

const FILE: &str = "images.json";
/// Version of the file's form.
const VERSION: u32 = 1;

/// An image with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    /// Complete reference, or `oci:PATH[:REF]`.
    pub(super) name: String,
    /// Digest of the manifest or index that the name stood for in the registry.
    pub(super) manifest: Option<String>,
    /// Digest of the configuration.
    pub(super) config: String,
    /// Seconds since 1970.
    pub(super) created_at: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    images: Vec<Named>,
}

impl Named {
    pub(super) fn new(name: String, manifest: Option<String>, config: &Digest) -> Self {
        Self {
            name,
            manifest,
            config: config.to_string(),
            created_at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_secs()),
        }
    }

    pub(super) fn config(&self) -> Option<Digest> {
        Digest::parse(&self.config)
    }
}

impl Store {
    /// Every image with a name, in the order of their names.
    pub(super) fn names(&self) -> Result<Vec<Named>, Error> {
        let path = self.dir().join(FILE);
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::store(&path, "cannot be read")(error)),
            Ok(bytes) => {
                let document: Document = manifest::parse("store", FILE, &bytes)?;
                match document.version <= VERSION {
                    true => Ok(document.images),
                    false => Err(manifest::malformed("store", FILE, "a newer nvbind wrote it")),
                }
            }
        }
    }

    /// The image with this name.
    pub(super) fn named(&self, name: &str) -> Result<Option<Named>, Error> {
        Ok(self.names()?.into_iter().find(|image| image.name == name))
    }

    /// Gives an image its name, which another may have had.
    pub(super) fn give_name(&self, image: &Named) -> Result<(), Error> {
        let same = |known: &Named| (&known.manifest, &known.config) == (&image.manifest, &image.config);
        if self.named(&image.name)?.as_ref().is_some_and(same) {
            return Ok(());
        }
        let _lock = self.lock_names()?;
        let mut images = self.names()?;
        images.retain(|known| known.name != image.name);
        images.push(image.clone());
        self.write_names(images)
    }

    /// Takes names away.
    pub(super) fn take_names(&self, names: &[&str]) -> Result<(), Error> {
        let _lock = self.lock_names()?;
        let mut images = self.names()?;
        images.retain(|known| !names.contains(&known.name.as_str()));
        self.write_names(images)
    }

    fn write_names(&self, mut images: Vec<Named>) -> Result<(), Error> {
        images.sort_by(|a, b| a.name.cmp(&b.name));
        let document = Document {
            version: VERSION,
            images,
        };
        let path = self.dir().join(FILE);
        let mut bytes = serde_json::to_vec_pretty(&document).map_err(Error::store(&path, "cannot be written"))?;
        bytes.push(b'\n');
        write_whole(self.dir(), FILE, &bytes)
    }
}
