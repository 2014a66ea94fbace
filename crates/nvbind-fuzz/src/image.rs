//! Images: the documents that a registry answers with, and the layers.

use nvbind_engine::image::Error;
use nvbind_engine::image::hostile::{self, Said};
use nvbind_workload::Workload;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

/// What stands between two documents.
const BETWEEN: &[u8] = b"\n%%\n";
/// Documents of one input; they name each other by one digit.
const MOST: usize = 10;
/// How many documents one image may take: indexes in each other, a manifest, a configuration.
const FETCHES: usize = 6;

/// An index or a manifest, and what it names. `@3` stands for the digest of the fourth document, `#3` for its size, in those
/// before it: no fuzzer finds a sum that fits.
pub(crate) fn documents(data: &[u8]) {
    let said = match read(data) {
        Ok(said) => said,
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains(char::is_control), "{line:?}");
            return;
        }
    };
    assert!(said.fetched <= FETCHES, "{}", said.fetched);
    assert!(!said.layers.is_empty());
    for file in &said.layers {
        assert!(is_a_blob(file), "{}", file.display());
    }
    assert_eq!(said.chains[0], said.chains[1]);
    assert_eq!(said.chains[0].len(), said.layers.len());
    said.config.fill(&mut Workload::new("hostile"));
}

fn read(data: &[u8]) -> Result<Said, Error> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (index, part) in split(data).into_iter().enumerate().rev() {
        let mut part = part.to_vec();
        for (later, document) in (index + 1..).zip(&all) {
            part = replace(&part, &format!("@{later}"), &hostile::digest(document));
            part = replace(&part, &format!("#{later}"), &document.len().to_string());
        }
        all.insert(0, part);
    }
    let first = all.remove(0);
    hostile::documents(&first, all)
}

/// `blobs/sha256/<64 hexadecimal digits>`.
fn is_a_blob(file: &Path) -> bool {
    let name = file.strip_prefix("blobs/sha256").ok().and_then(Path::to_str);
    name.is_some_and(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = position(rest, BETWEEN)
        && parts.len() + 1 < MOST
    {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (mut new, mut rest) = (Vec::new(), bytes);
    while let Some(at) = position(rest, from.as_bytes()) {
        new.extend_from_slice(&rest[..at]);
        new.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    new.extend_from_slice(rest);
    new
}

/// Where layers are unpacked, and a folder beside it in which nothing must change.
static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let place = TempDir::new().unwrap();
    std::fs::create_dir(place.path().join("canary")).unwrap();
    std::fs::write(place.path().join("canary/file"), "alive").unwrap();
    place
});

/// Bytes of a tar's block, and where in a member's header its type stands (POSIX ustar).
const BLOCK: usize = 512;
const TYPE: usize = 156;

/// The tar of a layer. Whatever it says, nothing outside of its folder changes.
pub(crate) fn layer(data: &[u8]) {
    // A sparse member is as long as it says: that fills disks, here as with every other program.
    if data.iter().skip(TYPE).step_by(BLOCK).any(|kind| *kind == b'S') {
        return;
    }
    let rootfs = PLACE.path().join("rootfs");
    std::fs::create_dir(&rootfs).unwrap();
    if let Err(error) = hostile::layer(data, &rootfs) {
        assert_ne!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }
    let mut names: Vec<PathBuf> = std::fs::read_dir(PLACE.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert_eq!(names, ["canary", "rootfs"].map(|name| PLACE.path().join(name)));
    assert_eq!(std::fs::read_dir(PLACE.path().join("canary")).unwrap().count(), 1);
    assert_eq!(std::fs::read(PLACE.path().join("canary/file")).unwrap(), b"alive");
    std::fs::remove_dir_all(&rootfs).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each input of the corpora leads to: where they all failed early, they would try nothing.
    #[test]
    fn the_corpora_reach_what_they_are_for() {
        let corpus = |name: &str| std::fs::read(format!("../../fuzz/corpus/{name}")).unwrap();
        for (name, layers, fetched) in [("manifest", 2, 1), ("index", 2, 2), ("docker", 2, 1)] {
            let said = read(&corpus(&format!("image_documents/{name}"))).unwrap();
            assert_eq!((said.layers.len(), said.fetched), (layers, fetched), "{name}");
        }
        let found = |name: &str| {
            read(&corpus(&format!("image_documents/{name}")))
                .unwrap_err()
                .to_string()
        };
        for (name, words) in [
            ("nested", "indexes lie in each other without end"),
            ("evil", "no sha256 digest"),
            ("lies", "broken"),
        ] {
            assert!(found(name).contains(words), "{name}: {}", found(name));
        }
        let place = TempDir::new().unwrap();
        let unpacked = |name: &str| hostile::layer(&corpus(&format!("image_layer/{name}")), place.path());
        unpacked("plain").unwrap();
        assert_eq!(std::fs::read(place.path().join("bin/hard")).unwrap(), b"root:x:0:0\n");
        let error = unpacked("climbs").unwrap_err().to_string();
        assert!(error.contains("climbs out of its folder"), "{error}");
    }
}
