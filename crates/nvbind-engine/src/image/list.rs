//! The images that are here.

use crate::image::blob::Digest;
use crate::image::manifest::chains_of;
use crate::image::names::Named;
use crate::image::store::Store;
use crate::image::{Error, Reference};
use std::path::PathBuf;

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Complete name, or `oci:PATH[:REF]`.
    pub name: String,
    /// Digest of its configuration: the same for the same image under every name.
    pub id: String,
    /// Digest of what the name stood for in the registry; `None` for an image of a layout.
    pub digest: Option<String>,
    /// Bytes of its files, those shared with other images among them.
    pub size: u64,
    /// When it got its name, in seconds since 1970.
    pub created_at: u64,
    /// Whether a container runs on it.
    pub in_use: bool,
}

impl Store {
    /// The images that are here, in the order of their names.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        // Whoever removes asks for the same locks as this does.
        let _lock = self.dir().exists().then(|| self.enter()).transpose()?;
        let names = self.names()?;
        names.into_iter().map(|image| self.describe(image)).collect()
    }

    fn describe(&self, image: Named) -> Result<Listed, Error> {
        let config = image.config();
        let document = config
            .as_ref()
            .map(|config| self.document(config))
            .transpose()?
            .flatten();
        let chains = chains_of(&document.unwrap_or_default()).unwrap_or_default();
        Ok(Listed {
            size: self.size(&chains),
            in_use: config.is_some_and(|config| self.is_held(&config)),
            name: image.name,
            id: image.config,
            digest: image.manifest,
            created_at: image.created_at,
        })
    }

    fn size(&self, chains: &[Digest]) -> u64 {
        let size = |folder: PathBuf| {
            std::fs::read_to_string(folder.join("size"))
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        };
        let one_folder = chains.last().is_some_and(|top| self.layer(top).join("whole").exists());
        let counted = if one_folder {
            &chains[chains.len() - 1..]
        } else {
            chains
        };
        counted.iter().filter_map(|chain| size(self.layer(chain))).sum::<u64>()
    }

    /// The image that a person means: by its name as it is or completed, or by the beginning of its id.
    pub(super) fn find<'a>(&self, names: &'a [Named], key: &str) -> Result<&'a Named, Error> {
        let complete = Reference::parse(key).map(|reference| reference.to_string()).ok();
        let is_named = |image: &&Named| image.name == key || Some(&image.name) == complete.as_ref();
        if let Some(image) = names.iter().find(is_named) {
            return Ok(image);
        }
        let start = key.strip_prefix("sha256:").unwrap_or(key);
        let is_id = |image: &&Named| {
            start.len() >= 4
                && image
                    .config
                    .strip_prefix("sha256:")
                    .is_some_and(|id| id.starts_with(start))
        };
        let found: Vec<&Named> = names.iter().filter(is_id).collect();
        match found.as_slice() {
            [] => Err(Error::Unknown {
                name: Error::words(key),
            }),
            [image] => Ok(image),
            several => Err(Error::Ambiguous {
                name: Error::words(key),
                known: several.iter().map(|image| image.name.clone()).collect(),
            }),
        }
    }
}
