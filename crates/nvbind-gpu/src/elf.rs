//! The little of ELF that is asked for: word size and SONAME.

use crate::ElfClass;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
/// Most bytes of program headers, dynamic section or name that are read; real ones are far below.
const MAX_TABLE: u64 = 64 << 10;
const MAX_NAME: u64 = 256;
/// Bytes of a file's start that are read at once: the program headers follow the ELF header, and rarely are 16 of them.
const START: u64 = 1024;

/// Where the fields lie in files of one word size (ELF specification, figures 1-3, 2-1, 2-9).
struct Layout {
    word: usize,
    program_offset: usize,
    program_size: usize,
    segment: SegmentLayout,
}

struct SegmentLayout {
    size: usize,
    offset: usize,
    address: usize,
    length: usize,
}

const LAYOUT64: Layout = Layout {
    word: 8,
    program_offset: 32,
    program_size: 54,
    segment: SegmentLayout {
        size: 56,
        offset: 8,
        address: 16,
        length: 32,
    },
};
const LAYOUT32: Layout = Layout {
    word: 4,
    program_offset: 28,
    program_size: 42,
    segment: SegmentLayout {
        size: 32,
        offset: 4,
        address: 8,
        length: 16,
    },
};

/// The word size of an ELF file; `None` for what is no ELF file.
pub(crate) fn class(path: &Path) -> Option<ElfClass> {
    let mut header = [0; 5];
    File::open(path).ok()?.read_exact_at(&mut header, 0).ok()?;
    class_of(&header)
}

fn class_of(header: &[u8]) -> Option<ElfClass> {
    match header.strip_prefix(b"\x7fELF")?.first()? {
        1 => Some(ElfClass::Elf32),
        2 => Some(ElfClass::Elf64),
        _ => None,
    }
}

/// The SONAME of a library; `None` when it has none or is no library.
pub(crate) fn soname(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let header = read(&file, 0, START).ok()?;
    let layout = match class_of(&header)? {
        ElfClass::Elf64 => LAYOUT64,
        ElfClass::Elf32 => LAYOUT32,
    };
    let start = layout.word_at(&header, layout.program_offset)?;
    let count = u64::from(u16::from_ne_bytes(
        header.get(layout.program_size + 2..)?.get(..2)?.try_into().ok()?,
    ));
    let length = count * layout.segment.size as u64;
    let elsewhere = || read(&file, start, length).ok();
    let programs = within(&header, start, length).map_or_else(elsewhere, |programs| Some(programs.to_vec()))?;
    let segments = || programs.chunks_exact(layout.segment.size);
    let dynamic = segments().find(|segment| kind(segment) == Some(PT_DYNAMIC))?;
    let length = layout.word_at(dynamic, layout.segment.length)?;
    let dynamic = read(&file, layout.word_at(dynamic, layout.segment.offset)?, length).ok()?;
    let tag = |wanted| {
        let mut tags = dynamic.chunks_exact(2 * layout.word);
        tags.find(|tag| layout.word_at(tag, 0) == Some(wanted))
            .and_then(|tag| layout.word_at(tag, layout.word))
    };
    let address = tag(DT_STRTAB)?.checked_add(tag(DT_SONAME)?)?;
    let offset = segments().find_map(|segment| layout.file_offset(segment, address))?;
    let name = read(&file, offset, MAX_NAME).ok()?;
    let end = name.iter().position(|&byte| byte == 0)?;
    let name = String::from_utf8(name[..end].to_vec()).ok()?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

impl Layout {
    fn word_at(&self, bytes: &[u8], offset: usize) -> Option<u64> {
        let raw = bytes.get(offset..offset + self.word)?;
        match self.word {
            8 => Some(u64::from_ne_bytes(raw.try_into().ok()?)),
            _ => Some(u32::from_ne_bytes(raw.try_into().ok()?).into()),
        }
    }

    /// Where an address lies in the file, if it is in that segment.
    fn file_offset(&self, segment: &[u8], address: u64) -> Option<u64> {
        let base = self.word_at(segment, self.segment.address)?;
        let inside = address.checked_sub(base)?;
        let loaded = kind(segment) == Some(PT_LOAD) && inside < self.word_at(segment, self.segment.length)?;
        loaded.then_some(self.word_at(segment, self.segment.offset)?.checked_add(inside)?)
    }
}

fn kind(segment: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(segment.get(..4)?.try_into().ok()?))
}

/// That part of the bytes, if they have all of it.
fn within(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..)?.get(..usize::try_from(length).ok()?)
}

/// Up to `length` bytes at an offset.
fn read(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length.min(MAX_TABLE) as usize];
    let got = file.read_at(&mut bytes, offset)?;
    bytes.truncate(got);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_library_tells_its_soname() {
        let libc = crate::ldcache::parse(&std::fs::read("/etc/ld.so.cache").unwrap()).unwrap();
        let path = String::from_utf8(libc.find(b"libc.so.6").unwrap().value.clone()).unwrap();
        assert_eq!(soname(Path::new(&path)).as_deref(), Some("libc.so.6"));
        assert_eq!(class(Path::new(&path)), Some(ElfClass::Elf64));
    }

    #[test]
    fn what_is_no_library_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        for bytes in [
            &b""[..],
            b"text",
            b"\x7fELF",
            b"\x7fELF\x02\x01\x01",
            &[0xff; 200],
            b"\x7fELF\x01aaaaaaaaaaa",
        ] {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(soname(&file), None);
        }
        let garbage = [b"\x7fELF\x02".as_slice(), &[0xfe; 300]].concat();
        std::fs::write(&file, garbage).unwrap();
        assert_eq!(soname(&file), None);
    }
}
