//! The files of an image as they lie: an OCI image layout or a docker archive.

use crate::image::blob::{Checked, Digest};
use crate::image::source::Source;
use crate::image::{Error, ImageConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Size in bytes that no honest index, manifest or configuration reaches (the OCI distribution specification sets 4 MiB).
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// How deep indexes may lie in each other.
const DEPTH: usize = 4;
/// What names an image of a layout.
const REFERENCE_KEYS: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// This machine as images name it.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "amd64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "arm64";

/// Where an image lies.
pub(super) struct Layout {
    source: Source,
}

/// The file of a layer.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Its path below the layout.
    pub(super) file: PathBuf,
    /// Its digest, where the layout says.
    pub(super) digest: Option<Digest>,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// One layer as it lies.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Its file.
    pub(super) blob: Blob,
    /// Digest of the plain tar in it.
    pub(super) diff_id: Digest,
}

/// What an image consists of.
#[derive(Debug)]
pub(super) struct Contents {
    /// Digest of the configuration; it names the layers, so it names the image.
    pub(super) id: Digest,
    pub(super) config: ImageConfig,
    pub(super) layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: HashMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Deserialize, Clone)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    config: Option<ImageConfig>,
    rootfs: RootFs,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
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

impl Layout {
    /// Opens a layout.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            source: Source::open(path)?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.source.path()
    }

    /// What the image with this reference consists of.
    pub(super) fn contents(&self, reference: Option<&str>) -> Result<Contents, Error> {
        if let Some(bytes) = self.document(Path::new("index.json"))? {
            let index: Index = self.parse("index.json", &bytes)?;
            return self.oci(&self.choose(index.manifests, reference)?, DEPTH);
        }
        let bytes = self.document(Path::new("manifest.json"))?;
        let bytes = bytes.ok_or_else(|| Error::NotAnImage {
            path: self.path().to_owned(),
        })?;
        self.docker(&self.parse::<Vec<_>>("manifest.json", &bytes)?, reference)
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
            path: self.path().to_owned(),
            wanted: wanted.map(Error::words),
            known,
        }
    }

    /// Goes from the entries of an index to the manifest for this machine.
    fn oci(&self, entries: &[Descriptor], depth: usize) -> Result<Contents, Error> {
        let fits = |entry: &&Descriptor| {
            entry
                .platform
                .as_ref()
                .is_none_or(|platform| platform.os == "linux" && platform.architecture == ARCHITECTURE)
        };
        let known: Vec<String> = entries
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            .map(Platform::to_string)
            .collect();
        let entry = entries.iter().find(fits).ok_or_else(|| self.platform_error(&known))?;
        let bytes = self.verified(entry)?;
        if entry.media_type.contains("index") || entry.media_type.contains("manifest.list") {
            if depth == 0 {
                return Err(self.malformed(&entry.digest, "indexes lie in each other without end"));
            }
            let index: Index = self.parse(&entry.digest, &bytes)?;
            return self.oci(&index.manifests, depth - 1);
        }
        let manifest: Manifest = self.parse(&entry.digest, &bytes)?;
        let configuration = self.verified(&manifest.config)?;
        let blobs = manifest.layers.iter().map(|layer| {
            let digest = self.digest(&layer.digest)?;
            Ok(Blob {
                file: blob_path(&digest),
                digest: Some(digest),
                size: layer.size,
            })
        });
        self.assemble(&configuration, blobs.collect::<Result<_, Error>>()?)
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
        self.assemble(&configuration, layers.collect::<Result<_, Error>>()?)
    }

    fn assemble(&self, bytes: &[u8], blobs: Vec<Blob>) -> Result<Contents, Error> {
        let id = Digest::of(bytes);
        let configuration: Configuration = self.parse(&id.to_string(), bytes)?;
        let platform = Platform {
            os: configuration.os,
            architecture: configuration.architecture,
        };
        if !platform.architecture.is_empty() && (platform.architecture != ARCHITECTURE || platform.os != "linux") {
            return Err(self.platform_error(&[platform.to_string()]));
        }
        let diff_ids = configuration.rootfs.diff_ids;
        if diff_ids.len() != blobs.len() {
            let why = format!(
                "it names {} layers where the manifest has {}",
                diff_ids.len(),
                blobs.len()
            );
            return Err(self.malformed(&id.to_string(), &why));
        }
        let layers = blobs.into_iter().zip(&diff_ids).map(|(blob, diff_id)| {
            Ok(Layer {
                blob,
                diff_id: self.digest(diff_id)?,
            })
        });
        let layers = layers.collect::<Result<_, Error>>()?;
        Ok(Contents {
            id,
            config: configuration.config.unwrap_or_default(),
            layers,
        })
    }

    fn platform_error(&self, known: &[String]) -> Error {
        let known = known.iter().map(Error::words).collect();
        Error::Platform {
            path: self.path().to_owned(),
            wanted: format!("linux/{ARCHITECTURE}"),
            known,
        }
    }

    fn digest(&self, text: &str) -> Result<Digest, Error> {
        Digest::parse(text).ok_or_else(|| self.malformed(text, "it is no sha256 digest"))
    }

    /// A document by its descriptor, after a check.
    fn verified(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let digest = self.digest(&descriptor.digest)?;
        let bytes = self.document(&blob_path(&digest))?;
        let bytes = bytes.ok_or_else(|| self.malformed(&descriptor.digest, "it is missing"))?;
        Checked::new(bytes.as_slice()).verify(self.path(), &digest, Some(descriptor.size))?;
        Ok(bytes)
    }

    fn document(&self, file: &Path) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        let Some(reader) = self.read(file)? else {
            return Ok(None);
        };
        let read = reader.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes);
        read.map_err(Error::io(self.path(), format!("cannot read {}", file.display())))?;
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            return Err(self.malformed(&file.display().to_string(), "it is longer than 4 MiB"));
        }
        Ok(Some(bytes))
    }

    fn parse<T: DeserializeOwned>(&self, document: &str, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|error| self.malformed(document, &error.to_string()))
    }

    pub(super) fn malformed(&self, document: &str, why: &str) -> Error {
        Error::Malformed {
            path: self.path().to_owned(),
            document: Error::words(document),
            why: Error::words(why),
        }
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

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}
