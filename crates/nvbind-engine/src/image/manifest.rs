//! The documents of an image (OCI image specification): from an index or a manifest to what the image consists of.

use crate::image::blob::{Checked, Digest};
use crate::image::{Error, ImageConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Size in bytes that no honest index, manifest or configuration reaches (the OCI distribution specification sets 4 MiB).
pub(super) const DOCUMENT_LIMIT: u64 = 4 << 20;
/// How deep indexes may lie in each other.
const DEPTH: usize = 4;
/// Layers that an image may have: overlayfs takes 500, docker makes 127 at most.
const LAYER_LIMIT: usize = 400;

/// This machine as images name it.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "amd64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "arm64";

/// What names a document or a layer.
#[derive(Deserialize, Clone)]
pub(super) struct Descriptor {
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: HashMap<String, String>,
    pub(super) platform: Option<Platform>,
}

/// What a manifest is for.
#[derive(Deserialize, Clone)]
pub(super) struct Platform {
    os: String,
    architecture: String,
}

#[derive(Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
}

/// A document that may be an index or a manifest: which, only its keys tell for sure.
#[derive(Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
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
    /// Names this layer on the layers below it ("ChainID" of the specification).
    pub(super) chain: Digest,
}

/// What an image consists of.
#[derive(Debug)]
pub(super) struct Contents {
    /// Digest of the configuration; it names the layers, so it names the image.
    pub(super) id: Digest,
    /// The configuration as it lies.
    pub(super) configuration: Vec<u8>,
    pub(super) layers: Vec<Layer>,
}

/// What a document is: registries keep the two kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An index or a manifest.
    Manifest,
    /// A configuration.
    Configuration,
}

/// Where documents come from. What comes is checked here.
pub(super) trait Documents {
    /// The image, for messages.
    fn image(&self) -> &str;
    /// A document by its descriptor, its size at most [`DOCUMENT_LIMIT`].
    fn fetch(&self, kind: Kind, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
}

/// Goes from the entries of an index to the manifest for this machine.
pub(super) fn choose(documents: &dyn Documents, entries: &[Descriptor]) -> Result<Contents, Error> {
    choose_within(documents, entries, DEPTH)
}

fn choose_within(documents: &dyn Documents, entries: &[Descriptor], depth: usize) -> Result<Contents, Error> {
    let image = documents.image();
    let known: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .map(Platform::to_string)
        .collect();
    let fits = |entry: &&Descriptor| entry.platform.as_ref().is_none_or(Platform::is_ours);
    let entry = entries.iter().find(fits).ok_or_else(|| other_platform(image, &known))?;
    let bytes = verified(documents, Kind::Manifest, entry)?;
    read_within(documents, &entry.digest, &bytes, depth)
}

/// What the image of a manifest, or of an index of manifests, consists of. `name` is for messages.
pub(super) fn read(documents: &dyn Documents, name: &str, bytes: &[u8]) -> Result<Contents, Error> {
    read_within(documents, name, bytes, DEPTH)
}

fn read_within(documents: &dyn Documents, name: &str, bytes: &[u8], depth: usize) -> Result<Contents, Error> {
    let image = documents.image();
    let document: Document = parse(image, name, bytes)?;
    if let Some(entries) = document.manifests {
        if depth == 0 {
            return Err(malformed(image, name, "indexes lie in each other without end"));
        }
        return choose_within(documents, &entries, depth - 1);
    }
    let (Some(config), Some(layers)) = (document.config, document.layers) else {
        return Err(malformed(
            image,
            name,
            "it is neither an index nor a manifest of layers",
        ));
    };
    let blobs = layers.iter().map(|layer| {
        let digest = digest(image, &layer.digest)?;
        Ok(Blob {
            file: blob_path(&digest),
            digest: Some(digest),
            size: layer.size,
        })
    });
    let blobs = blobs.collect::<Result<_, Error>>()?;
    assemble(image, verified(documents, Kind::Configuration, &config)?, blobs)
}

/// Puts a configuration and the files of its layers together.
pub(super) fn assemble(image: &str, configuration: Vec<u8>, blobs: Vec<Blob>) -> Result<Contents, Error> {
    let id = Digest::of(&configuration);
    let read: Configuration = parse(image, &id.to_string(), &configuration)?;
    let platform = Platform {
        os: read.os,
        architecture: read.architecture,
    };
    if !platform.architecture.is_empty() && !platform.is_ours() {
        return Err(other_platform(image, &[platform.to_string()]));
    }
    let diff_ids = read.rootfs.diff_ids.iter().map(|text| digest(image, text));
    let diff_ids = diff_ids.collect::<Result<Vec<_>, Error>>()?;
    if diff_ids.len() != blobs.len() {
        let why = format!(
            "it names {} layers where the manifest has {}",
            diff_ids.len(),
            blobs.len()
        );
        return Err(malformed(image, &id.to_string(), &why));
    }
    if diff_ids.is_empty() || diff_ids.len() > LAYER_LIMIT {
        let why = format!("it has {} layers", diff_ids.len());
        return Err(malformed(image, &id.to_string(), &why));
    }
    let chains = chains(&diff_ids);
    let layers = blobs.into_iter().zip(diff_ids).zip(chains);
    let layers = layers.map(|((blob, diff_id), chain)| Layer { blob, diff_id, chain });
    Ok(Contents {
        layers: layers.collect(),
        id,
        configuration,
    })
}

/// The names of the layers that a stored configuration stands on, lowest first.
pub(super) fn chains_of(configuration: &[u8]) -> Option<Vec<Digest>> {
    let read: Configuration = serde_json::from_slice(configuration).ok()?;
    let diff_ids: Option<Vec<Digest>> = read.rootfs.diff_ids.iter().map(|text| Digest::parse(text)).collect();
    Some(chains(&diff_ids?))
}

/// What a stored configuration says of its command, and the names of its layers.
pub(super) fn stored(image: &str, id: &Digest, configuration: &[u8]) -> Result<(ImageConfig, Vec<Digest>), Error> {
    let read: Configuration = parse(image, &id.to_string(), configuration)?;
    let chains = chains_of(configuration).ok_or_else(|| malformed(image, &id.to_string(), "it names no layers"))?;
    Ok((read.config.unwrap_or_default(), chains))
}

/// `ChainID(L0) = DiffID(L0)`, `ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + DiffID(Ln))`.
fn chains(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut below: Option<Digest> = None;
    let mut chain = |diff_id: &Digest| {
        let own = match &below {
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
            None => diff_id.clone(),
        };
        below = Some(own.clone());
        own
    };
    diff_ids.iter().map(&mut chain).collect()
}

/// A document by its descriptor, after a check.
fn verified(documents: &dyn Documents, kind: Kind, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let image = documents.image();
    let digest = digest(image, &descriptor.digest)?;
    if descriptor.size > DOCUMENT_LIMIT {
        return Err(malformed(image, &descriptor.digest, "it is longer than 4 MiB"));
    }
    let bytes = documents.fetch(kind, descriptor)?;
    Checked::new(bytes.as_slice()).verify(image, &digest, Some(descriptor.size))?;
    Ok(bytes)
}

pub(super) fn digest(image: &str, text: &str) -> Result<Digest, Error> {
    Digest::parse(text).ok_or_else(|| malformed(image, text, "it is no sha256 digest"))
}

pub(super) fn parse<T: DeserializeOwned>(image: &str, document: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| malformed(image, document, &error.to_string()))
}

pub(super) fn malformed(image: &str, document: &str, why: &str) -> Error {
    Error::Malformed {
        image: image.to_owned(),
        document: Error::words(document),
        why: Error::words(why),
    }
}

fn other_platform(image: &str, known: &[String]) -> Error {
    Error::Platform {
        image: image.to_owned(),
        wanted: format!("linux/{ARCHITECTURE}"),
        known: known.iter().map(Error::words).collect(),
    }
}

/// Where a layout keeps a blob.
pub(super) fn blob_path(digest: &Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}

impl Platform {
    fn is_ours(&self) -> bool {
        self.os == "linux" && self.architecture == ARCHITECTURE
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_named_with_all_below_it() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let chain = chains(&[a.clone(), b.clone()]);
        assert_eq!(chain[0], a);
        assert_eq!(chain[1], Digest::of(format!("{a} {b}").as_bytes()));
        assert_ne!(chains(&[b, a])[1], chain[1]);
    }

    struct Endless;

    impl Documents for Endless {
        fn image(&self) -> &str {
            "endless"
        }

        fn fetch(&self, _: Kind, _: &Descriptor) -> Result<Vec<u8>, Error> {
            Ok(b"{}".to_vec())
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_used() {
        let huge = format!(
            r#"{{"config":{{"digest":"{}","size":99999999}},"layers":[]}}"#,
            Digest::of(b"{}")
        );
        for (document, words) in [
            ("", "broken"),
            ("[]", "broken"),
            ("{}", "neither an index nor a manifest"),
            (r#"{"manifests":[]}"#, "has nothing for"),
            (
                r#"{"config":{"digest":"../x","size":2},"layers":[]}"#,
                "no sha256 digest",
            ),
            (&huge, "longer than 4 MiB"),
        ] {
            let error = read(&Endless, "it", document.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{document}: {error}");
        }
    }
}
