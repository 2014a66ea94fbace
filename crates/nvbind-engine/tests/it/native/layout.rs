//! Image layouts made by the tests.

use nvbind_testkit::{check, small_rootfs};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a layer lies in its blob.
#[derive(Clone, Copy)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layout in a folder, written part by part.
pub(super) struct LayoutWriter {
    pub(super) dir: PathBuf,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
}

impl LayoutWriter {
    pub(super) fn new(dir: PathBuf) -> Self {
        std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            dir,
            layers: Vec::new(),
            diff_ids: Vec::new(),
        }
    }

    pub(super) fn layer(&mut self, tar: &[u8], packing: Packing) {
        self.diff_ids.push(digest(tar));
        let (bytes, suffix) = match packing {
            Packing::Plain => (tar.to_vec(), ""),
            Packing::Gzip => (gzip(tar), "+gzip"),
            Packing::Zstd => (
                ruzstd::encoding::compress_to_vec(tar, ruzstd::encoding::CompressionLevel::Fastest),
                "+zstd",
            ),
        };
        let descriptor = self.blob(&bytes, &format!("application/vnd.oci.image.layer.v1.tar{suffix}"));
        self.layers.push(descriptor);
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = digest(bytes);
        std::fs::write(self.blob_path(&digest), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    pub(super) fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir
            .join("blobs/sha256")
            .join(digest.strip_prefix("sha256:").unwrap())
    }

    /// The digest of a layer's blob.
    pub(super) fn layer_digest(&self, index: usize) -> String {
        self.layers[index]["digest"].as_str().unwrap().to_owned()
    }

    /// Writes configuration, manifest, and an index of one image per architecture.
    pub(super) fn finish(&self, config: &Value, architectures: &[&str]) {
        let manifests: Vec<Value> = architectures
            .iter()
            .map(|architecture| self.manifest(config, architecture))
            .collect();
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        std::fs::write(self.dir.join("index.json"), index.to_string()).unwrap();
    }

    fn manifest(&self, config: &Value, architecture: &str) -> Value {
        let rootfs = json!({ "type": "layers", "diff_ids": self.diff_ids });
        let config = json!({ "os": "linux", "architecture": architecture, "config": config, "rootfs": rootfs });
        let config = self.blob(
            config.to_string().as_bytes(),
            "application/vnd.oci.image.config.v1+json",
        );
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": self.layers });
        let mut descriptor = self.blob(
            manifest.to_string().as_bytes(),
            "application/vnd.oci.image.manifest.v1+json",
        );
        descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": format!("test-{architecture}") });
        descriptor
    }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar of the small root file system.
pub(super) fn small_tar() -> Vec<u8> {
    let mut tar = nvbind_testkit::tar_of(&small_rootfs());
    let mut bytes = Vec::new();
    std::io::copy(tar.stdout.as_mut().unwrap(), &mut bytes).unwrap();
    assert!(tar.wait().unwrap().success());
    bytes
}

/// A layout of the small root file system in one plain layer.
pub(super) fn small_image(dir: &Path) -> PathBuf {
    let mut layout = LayoutWriter::new(dir.join("image"));
    layout.layer(&small_tar(), Packing::Plain);
    layout.finish(&json!({}), &["amd64"]);
    layout.dir
}

/// A tar file of a folder's content.
pub(super) fn pack(folder: &Path, file: &Path) {
    check(Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(file).arg("."));
}

/// A tar written member by member, as no tool would.
pub(super) struct TarWriter(tar::Builder<Vec<u8>>);

impl TarWriter {
    pub(super) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, path: &str, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        // Past the checks of `set_path`: hostile names are what this is for.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(size as u64);
        header
    }

    pub(super) fn file(mut self, path: &str, content: &str) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, path, content.len());
        header.set_cksum();
        self.0.append(&header, content.as_bytes()).unwrap();
        self
    }

    pub(super) fn folder(self, path: &str) -> Self {
        self.link(tar::EntryType::Directory, path, "")
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, path, target)
    }

    pub(super) fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, path, target)
    }

    fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = Self::header(kind, path, 0);
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        self.0.append(&header, std::io::empty()).unwrap();
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
