//! The files of an image as they lie: an OCI image layout or a docker archive.

use crate::image::Error;
use crate::image::manifest::{self, Blob, Contents, DOCUMENT_LIMIT, Descriptor, Documents, Index, Kind};
use crate::image::source::Source;
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What names an image of a layout.
const REFERENCE_KEYS: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// Where an image lies.
pub(super) struct Layout {
    source: Source,
    /// The path, for messages.
    name: String,
}

/// One image of a docker archive (`manifest.json`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: PathBuf,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

impl Documents for Layout {
    fn image(&self) -> &str {
        &self.name
    }

    fn fetch(&self, _: Kind, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = manifest::digest(&self.name, &descriptor.digest)?;
        let bytes = self.document(&manifest::blob_path(&digest))?;
        bytes.ok_or_else(|| self.malformed(&descriptor.digest, "it is missing"))
    }
}

impl Layout {
    /// Opens a layout.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            source: Source::open(path)?,
            name: path.display().to_string(),
        })
    }

    /// The blobs of a store, under the name of the image that they belong to.
    pub(super) fn of_store(folder: &Path, name: &str) -> Self {
        Self {
            source: Source::Folder(folder.to_owned()),
            name: name.to_owned(),
        }
    }

    /// What the image with this reference consists of.
    pub(super) fn contents(&self, reference: Option<&str>) -> Result<Contents, Error> {
        if let Some(bytes) = self.document(Path::new("index.json"))? {
            let index: Index = manifest::parse(&self.name, "index.json", &bytes)?;
            return manifest::choose(self, &self.choose(index.manifests, reference)?);
        }
        let bytes = self.document(Path::new("manifest.json"))?;
        let bytes = bytes.ok_or_else(|| Error::NotAnImage {
            path: self.source.path().to_owned(),
        })?;
        let images: Vec<DockerManifest> = manifest::parse(&self.name, "manifest.json", &bytes)?;
        self.docker(&images, reference)
    }

    fn choose(&self, all: Vec<Descriptor>, reference: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let names = |image: &Descriptor| -> Vec<String> {
            REFERENCE_KEYS
                .iter()
                .filter_map(|key| image.annotations.get(*key))
                .cloned()
                .collect()
        };
        let known = || all.iter().flat_map(names).collect::<Vec<_>>();
        let ambiguous = || self.reference_error(reference, &known());
        let Some(wanted) = reference else {
            // Without names, several entries are one image for several platforms.
            return if all.len() > 1 && known().len() > 1 {
                Err(ambiguous())
            } else {
                Ok(all)
            };
        };
        let chosen: Vec<_> = all
            .iter()
            .filter(|image| names(image).iter().any(|name| name == wanted))
            .cloned()
            .collect();
        if chosen.is_empty() {
            Err(ambiguous())
        } else {
            Ok(chosen)
        }
    }

    fn reference_error(&self, wanted: Option<&str>, known: &[String]) -> Error {
        let known = known.iter().map(Error::words).collect();
        Error::Reference {
            image: self.name.clone(),
            wanted: wanted.map(Error::words),
            known,
        }
    }

    fn docker(&self, images: &[DockerManifest], reference: Option<&str>) -> Result<Contents, Error> {
        let known: Vec<String> = images
            .iter()
            .flat_map(|image| image.repo_tags.clone().unwrap_or_default())
            .collect();
        let tagged = |image: &&DockerManifest| {
            reference.is_none_or(|wanted| image.repo_tags.iter().flatten().any(|tag| tag == wanted))
        };
        let mut fitting = images.iter().filter(tagged);
        let (Some(image), None) = (fitting.next(), fitting.next()) else {
            return Err(self.reference_error(reference, &known));
        };
        let configuration = self.document(&image.config)?;
        let name = image.config.display().to_string();
        let configuration = configuration.ok_or_else(|| self.malformed(&name, "it is missing"))?;
        let layers = image.layers.iter().map(|file| {
            Ok(Blob {
                file: file.clone(),
                digest: None,
                size: self.size(file)?,
            })
        });
        manifest::assemble(&self.name, configuration, layers.collect::<Result<_, Error>>()?)
    }

    fn document(&self, file: &Path) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        let Some(reader) = self.read(file)? else {
            return Ok(None);
        };
        let read = reader.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(Error::io(self.source.path(), format!("cannot read {}", file.display())))?;
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            return Err(self.malformed(&file.display().to_string(), "it is longer than 4 MiB"));
        }
        Ok(Some(bytes))
    }

    /// What the image is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn malformed(&self, document: &str, why: &str) -> Error {
        manifest::malformed(&self.name, document, why)
    }

    fn size(&self, file: &Path) -> Result<u64, Error> {
        let missing = || self.malformed(&file.display().to_string(), "it is missing");
        self.source.size(file).ok_or_else(missing)
    }

    /// A reader of one file; `None` when there is none.
    pub(super) fn read(&self, file: &Path) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
        self.source.read(file)
    }
}
