//! Image layouts made by the tests.

use crate::{check, small_rootfs, tar_of};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a layer lies in its blob.
#[derive(Clone, Copy)]
pub enum Packing {
    /// As it is.
    Plain,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// A layout in a folder, written part by part.
pub struct LayoutWriter {
    /// The folder.
    pub dir: PathBuf,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
}

impl LayoutWriter {
    /// An empty layout in a new folder.
    pub fn new(dir: PathBuf) -> Self {
        std::fs::create_dir_all(dir.join("blobs/sha256")).expect("a layout of the tests");
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a layout of the tests");
        Self {
            dir,
            layers: Vec::new(),
            diff_ids: Vec::new(),
        }
    }

    /// Adds a layer.
    pub fn layer(&mut self, tar: &[u8], packing: Packing) {
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
        std::fs::write(self.blob_path(&digest), bytes).expect("a layout of the tests");
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// The file of a blob.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir
            .join("blobs/sha256")
            .join(digest.strip_prefix("sha256:").expect("a layout of the tests"))
    }

    /// The digest of a layer's blob.
    pub fn layer_digest(&self, index: usize) -> String {
        self.layers[index]["digest"]
            .as_str()
            .expect("a layout of the tests")
            .to_owned()
    }

    /// Writes configuration, manifest, and an index of one image per architecture.
    pub fn finish(&self, config: &Value, architectures: &[&str]) {
        let manifests = self.manifests(config, architectures);
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        std::fs::write(self.dir.join("index.json"), index.to_string()).expect("a layout of the tests");
    }

    /// As [`LayoutWriter::finish`], with one named index of all architectures.
    pub fn finish_as_index(&self, config: &Value, architectures: &[&str], name: &str) {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let mut manifests = self.manifests(config, architectures);
        manifests
            .iter_mut()
            .for_each(|manifest| manifest["annotations"] = json!({}));
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        let mut descriptor = self.blob(index.to_string().as_bytes(), media_type);
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        std::fs::write(self.dir.join("index.json"), index.to_string()).expect("a layout of the tests");
    }

    fn manifests(&self, config: &Value, architectures: &[&str]) -> Vec<Value> {
        let manifest = |architecture: &&str| self.manifest(config, architecture);
        architectures.iter().map(manifest).collect()
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
    encoder.write_all(bytes).expect("a layout of the tests");
    encoder.finish().expect("a layout of the tests")
}

/// A tar of the small root file system.
pub fn small_tar() -> Vec<u8> {
    let mut tar = tar_of(&small_rootfs());
    let mut bytes = Vec::new();
    std::io::copy(tar.stdout.as_mut().expect("a layout of the tests"), &mut bytes).expect("a layout of the tests");
    assert!(tar.wait().expect("a layout of the tests").success());
    bytes
}

/// A layout of the small root file system in one plain layer.
pub fn small_image(dir: &Path) -> PathBuf {
    let mut layout = LayoutWriter::new(dir.join("image"));
    layout.layer(&small_tar(), Packing::Plain);
    layout.finish(&json!({}), &["amd64"]);
    layout.dir
}

/// A tar file of a folder's content.
pub fn pack(folder: &Path, file: &Path) {
    check(Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(file).arg("."));
}

/// A tar written member by member, as no tool would.
pub struct TarWriter(tar::Builder<Vec<u8>>);

impl Default for TarWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl TarWriter {
    /// An empty tar.
    pub fn new() -> Self {
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

    /// Adds a file.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, path, content.len());
        header.set_cksum();
        self.0
            .append(&header, content.as_bytes())
            .expect("a layout of the tests");
        self
    }

    /// Adds a folder.
    pub fn folder(self, path: &str) -> Self {
        self.link(tar::EntryType::Directory, path, "")
    }

    /// Adds a folder that only its owner, who is not root, can write to.
    pub fn folder_of(mut self, path: &str, uid: u64) -> Self {
        let mut header = Self::header(tar::EntryType::Directory, path, 0);
        header.set_uid(uid);
        header.set_cksum();
        self.0.append(&header, std::io::empty()).expect("a layout of the tests");
        self
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, path, target)
    }

    /// Adds a hard link.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.link(tar::EntryType::Link, path, target)
    }

    fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = Self::header(kind, path, 0);
        header.set_link_name_literal(target).expect("a layout of the tests");
        header.set_cksum();
        self.0.append(&header, std::io::empty()).expect("a layout of the tests");
        self
    }

    /// The bytes of the tar.
    pub fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("a layout of the tests")
    }
}
