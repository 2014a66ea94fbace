//! CUDA compatibility libraries: a newer `libcuda.so` that an image brings along for hosts whose driver is older.
//!
//! They are not mounted and not executed: when they fit, the loader's cache names them in place of the driver's. What the
//! image says about them is hostile input like everything in it; a lie leads only its own programs astray.

use super::arguments::Arguments;
use super::library::Library;
use super::root::{Folder, Root};
use crate::version;
use nvbind_gpu::ldcache::flags_of_elf;
use serde::Deserialize;
use std::cmp::Ordering;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where NVIDIA's `cuda-compat` packages install them.
const FOLDER: &str = "/usr/local/cuda/compat";

/// Most files that are looked at there; the packages have about a dozen.
const MAX_FILES: usize = 256;

/// The note in which the library says for which drivers it is.
const SECTION: &[u8] = b".note.cuda.fwd_compatibility";
const OWNER: &[u8] = b"NVIDIA Corporation";

/// Most bytes of a section header table, of section names and of a note that are read.
const MAX_TABLE: u64 = 64 << 10;

/// `SHT_NOTE` of the ELF specification.
const SHT_NOTE: u32 = 7;

/// What the note says, as JSON.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Note {
    /// The newest CUDA version of the libraries.
    #[serde(rename = "CUDA Version", default)]
    cuda_version: String,
    /// Major versions of the drivers on which they run.
    #[serde(rename = "Driver", default)]
    drivers: Vec<u64>,
}

/// Puts the image's libraries in the place of the driver's of the same names, where they fit this host.
pub(crate) fn prefer(root: &Root, arguments: &Arguments, libraries: &mut Vec<Library>) {
    let found = fitting(root, arguments).unwrap_or_default();
    if found.is_empty() {
        return;
    }
    let replaced = |library: &Library| {
        let same = |other: &Library| other.path.file_name() == library.path.file_name() && other.flags == library.flags;
        found.iter().any(same)
    };
    libraries.retain(|library| !replaced(library));
    libraries.splice(..0, found);
}

fn fitting(root: &Root, arguments: &Arguments) -> Option<Vec<Library>> {
    let driver = arguments.host_driver_version.as_deref()?;
    let folder = root.folder(Path::new(FOLDER)).ok()?;
    let names = names(&folder);
    let mut candidates = names.iter().filter_map(|name| Some((name, libcuda_version(name)?)));
    let (name, version) = candidates.next()?;
    // Of two it cannot be said which is meant.
    if candidates.next().is_some() {
        return None;
    }
    let file = root.file(&Path::new(FOLDER).join(name)).ok()?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    let flags = flags_of_elf(&header)?;
    let read = |offset, length| read(&file, offset, length);
    if !fits(
        note(&header, &read).as_ref(),
        version,
        driver,
        arguments.host_cuda_version.as_deref(),
    ) {
        return None;
    }
    let library = |name: &String| Library {
        path: Path::new(FOLDER).join(name),
        flags,
    };
    Some(names.iter().filter(|name| is_soname(name)).map(library).collect())
}

fn names(folder: &Folder) -> Vec<String> {
    let mut names = folder.names(MAX_FILES).unwrap_or_default();
    names.sort();
    names
}

/// Version in the name of the library itself, which is `libcuda.so.<a>.<b>...`.
fn libcuda_version(name: &str) -> Option<&str> {
    let version = name.strip_prefix("libcuda.so.")?;
    (version.contains('.') && version::parse(version).is_some()).then_some(version)
}

/// `lib<name>.so.<number>`, under which programs ask for a library.
fn is_soname(name: &str) -> bool {
    let number = name
        .strip_prefix("lib")
        .and_then(|rest| rest.split_once(".so."))
        .map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether libraries of `version` are to be used on a host: as the note says, else when their major version is newer.
fn fits(note: Option<&Note>, library: &str, driver: &str, cuda: Option<&str>) -> bool {
    let is_newer = |a: &str, b: &str| version::compare(a, b) == Some(Ordering::Greater);
    let Some(major) = version::parse(driver).and_then(|numbers| numbers.first().copied()) else {
        return false;
    };
    match note {
        Some(note) if !note.drivers.is_empty() => note.drivers.contains(&major) && is_newer(library, driver),
        Some(note) => cuda.is_some_and(|cuda| is_newer(&note.cuda_version, cuda)),
        None => version::parse(library).and_then(|numbers| numbers.first().copied()) > Some(major),
    }
}

fn read(file: &File, offset: u64, length: u64) -> Option<Vec<u8>> {
    if length > MAX_TABLE {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// The note of a little-endian 64-bit library, the only kind there is of these.
fn note(header: &[u8; 64], read: &dyn Fn(u64, u64) -> Option<Vec<u8>>) -> Option<Note> {
    let (table, size) = (number(header, 40, 8)?, number(header, 58, 2)?);
    let (count, names_at) = (number(header, 60, 2)?, number(header, 62, 2)?);
    if size != 64 {
        return None;
    }
    let table = read(table, size.checked_mul(count)?)?;
    let sections: Vec<&[u8]> = table.chunks_exact(64).collect();
    let names = content(sections.get(usize::try_from(names_at).ok()?)?, read)?;
    let is_note = |section: &&&[u8]| {
        let name = number(section, 0, 4).and_then(|at| names.get(usize::try_from(at).ok()?..));
        let name = name.and_then(|rest| rest.split(|byte| *byte == 0).next());
        number(section, 4, 4) == Some(u64::from(SHT_NOTE)) && name == Some(SECTION)
    };
    let section = sections.iter().find(is_note)?;
    parse_note(&content(section, read)?, number(section, 48, 8)?)
}

fn content(section: &[u8], read: &dyn Fn(u64, u64) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    read(number(section, 24, 8)?, number(section, 32, 8)?)
}

/// Reads a note: sizes of owner and text, a type, then both, each padded to `alignment`.
fn parse_note(bytes: &[u8], alignment: u64) -> Option<Note> {
    let (owner_size, size) = (number(bytes, 0, 4)?, number(bytes, 4, 4)?);
    let padded = owner_size.checked_next_multiple_of(alignment.max(1))?;
    let rest = bytes.get(12..)?;
    let owner = rest.get(..usize::try_from(owner_size).ok()?)?;
    let start = usize::try_from(padded).ok()?;
    let text = rest.get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
    if trimmed(owner) != OWNER {
        return None;
    }
    serde_json::from_slice(trimmed(text)).ok()
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note as the linker writes it.
    fn note_bytes(text: &str) -> Vec<u8> {
        let mut owner = OWNER.to_vec();
        owner.push(0);
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(owner.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        owner.resize(owner.len().next_multiple_of(4), 0);
        bytes.extend(owner);
        bytes.extend(text.as_bytes());
        bytes
    }

    const TEXT: &str = r#"{"Format": 1, "CUDA Version": "13.1", "Driver": [535, 550], "Device": [1, 2]}"#;

    #[test]
    fn notes_are_read_and_broken_ones_are_none() {
        let bytes = note_bytes(TEXT);
        let note = parse_note(&bytes, 4).unwrap();
        assert_eq!(
            (note.cuda_version.as_str(), note.drivers.as_slice()),
            ("13.1", &[535, 550][..])
        );
        for length in 0..bytes.len() {
            assert_eq!(parse_note(&bytes[..length], 4), None);
        }
        assert_eq!(parse_note(&bytes, 0).map(|note| note.drivers.len()), None);
        let mut huge = bytes.clone();
        huge[..8].fill(0xff);
        assert_eq!(parse_note(&huge, u64::MAX), None);
        assert_eq!(parse_note(&note_bytes("{\"Driver\": 535}"), 4), None);
    }

    #[test]
    fn fitting_table() {
        let note = |drivers: &[u64]| Note {
            cuda_version: "13.1".into(),
            drivers: drivers.to_vec(),
        };
        let table = [
            (Some(note(&[535, 550])), "590.44.01", "535.183.01", Some("12.2"), true),
            (Some(note(&[550])), "590.44.01", "535.183.01", Some("12.2"), false),
            (Some(note(&[590])), "590.44.01", "590.44.01", Some("13.1"), false),
            (Some(note(&[590])), "590.44.02", "590.44.01", Some("13.1"), true),
            (Some(note(&[])), "590.44.01", "535.183.01", Some("12.2"), true),
            (Some(note(&[])), "590.44.01", "600.1", Some("13.1"), false),
            (Some(note(&[])), "590.44.01", "535.183.01", None, false),
            (None, "550.54.15", "535.183.01", None, true),
            (None, "535.200.1", "535.183.01", None, false),
            (None, "550.54.15", "nonsense", None, false),
        ];
        for (note, library, driver, cuda, fit) in table {
            assert_eq!(
                fits(note.as_ref(), library, driver, cuda),
                fit,
                "{note:?} {library} {driver}"
            );
        }
    }

    #[test]
    fn names_table() {
        assert_eq!(libcuda_version("libcuda.so.550.54.15"), Some("550.54.15"));
        for name in ["libcuda.so.1", "libcuda.so", "libcuda.so.a.b", "libcudadebugger.so.1.2"] {
            assert_eq!(libcuda_version(name), None, "{name}");
        }
        for (name, is) in [
            ("libcuda.so.1", true),
            ("libnvidia-nvvm.so.4", true),
            ("libcuda.so", false),
            ("libcuda.so.550.1", false),
        ] {
            assert_eq!(is_soname(name), is, "{name}");
        }
    }
}
