//! The bytes of a cache.

use super::{Entry, Error, LdCache, MAX_BYTES, MAX_ENTRIES, MAX_STRING, order};
use std::ffi::CStr;

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
/// Bytes before the old format's entries: the magic, padding and a count.
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// Byte order mark in the header: 0 was never set (before glibc 2.32), 2 little, 3 big.
const BYTE_ORDER: u8 = if cfg!(target_endian = "big") { 3 } else { 2 };

/// `cache_extension_magic`.
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// Bytes of a section's description: tag, flags, offset, size.
const SECTION: usize = 16;
const TAG_GENERATOR: u32 = 0;
const TAG_HWCAPS: u32 = 1;
/// Most sections that are looked at; glibc writes two.
const MAX_SECTIONS: usize = 16;
/// Most `glibc-hwcaps` names; x86-64 has three.
const MAX_HWCAPS: usize = 256;

/// Reads a cache. The old format alone (glibc before 2.2) is not one.
pub fn parse(bytes: &[u8]) -> Result<LdCache, Error> {
    let (bytes, table) = split(bytes)?;
    let mut cache = LdCache {
        entries: entries(bytes, table)?,
        ..LdCache::default()
    };
    // A broken extension area is what the loader takes for none: entries that need it can no longer be chosen.
    read_extension(bytes, &mut cache);
    let names = cache.hwcaps.len();
    cache
        .entries
        .retain(|entry| entry.hwcaps_index().is_none_or(|index| index < names));
    Ok(cache)
}

/// The paths that a cache has for a name, without reading the rest of it.
pub fn lookup<'a>(bytes: &'a [u8], key: &[u8]) -> Result<Vec<&'a [u8]>, Error> {
    let (bytes, table) = split(bytes)?;
    let is_key = |raw: &&[u8]| {
        let name = u32_at(raw, 4).and_then(|offset| bytes.get(offset as usize..));
        name.and_then(|name| name.strip_prefix(key))
            .is_some_and(|rest| rest.first() == Some(&0))
    };
    let paths = table.chunks_exact(ENTRY).filter(is_key);
    paths
        .map(|raw| {
            u32_at(raw, 8)
                .and_then(|offset| string_at(bytes, offset))
                .ok_or(Error::String)
        })
        .collect()
}

/// The cache in the new format, and its table of entries.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge);
    }
    let bytes = skip_old(bytes)?;
    if bytes.len() < HEADER {
        return Err(Error::Truncated);
    }
    if !matches!(bytes[28] & 3, 0 | BYTE_ORDER) {
        return Err(Error::ByteOrder);
    }
    let count = u32_at(bytes, 20).ok_or(Error::Truncated)? as usize;
    if count > MAX_ENTRIES {
        return Err(Error::TooLarge);
    }
    let table = bytes.get(HEADER..HEADER + count * ENTRY).ok_or(Error::Truncated)?;
    Ok((bytes, table))
}

/// The part in the new format, which stands alone or behind entries in the old one.
fn skip_old(bytes: &[u8]) -> Result<&[u8], Error> {
    if bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    if !bytes.starts_with(OLD_MAGIC) {
        return Err(Error::Magic);
    }
    let count = u32_at(bytes, 12).ok_or(Error::Truncated)? as usize;
    let end = count
        .checked_mul(OLD_ENTRY)
        .and_then(|size| size.checked_add(OLD_HEADER))
        .ok_or(Error::Truncated)?;
    // Aligned like the new header, whose 64-bit member asks for 8 bytes on most machines and 4 on i386.
    let starts = [8, 4]
        .into_iter()
        .filter_map(|align| end.checked_next_multiple_of(align));
    let rests = starts.filter_map(|start| bytes.get(start..));
    rests
        .into_iter()
        .find(|rest| rest.starts_with(MAGIC))
        .ok_or(Error::Magic)
}

fn entries(bytes: &[u8], table: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::with_capacity(table.len() / ENTRY);
    // Overlapping strings could blow a small file up: together they may not be longer than the largest file.
    let mut budget = MAX_BYTES;
    for raw in table.chunks_exact(ENTRY) {
        let entry = read_entry(bytes, raw).ok_or(Error::String)?;
        budget = budget
            .checked_sub(entry.key.len() + entry.value.len())
            .ok_or(Error::TooLarge)?;
        entries.push(entry);
    }
    Ok(entries)
}

fn read_entry(bytes: &[u8], raw: &[u8]) -> Option<Entry> {
    Some(Entry {
        flags: u32_at(raw, 0)?.cast_signed(),
        key: string_at(bytes, u32_at(raw, 4)?)?.into(),
        value: string_at(bytes, u32_at(raw, 8)?)?.into(),
        osversion: u32_at(raw, 12)?,
        hwcap: u64::from_ne_bytes(raw.get(16..24)?.try_into().ok()?),
    })
}

fn read_extension(bytes: &[u8], cache: &mut LdCache) -> Option<()> {
    let start = u32_at(bytes, 32)? as usize;
    if start == 0 || u32_at(bytes, start)? != EXTENSION_MAGIC {
        return None;
    }
    let count = (u32_at(bytes, start + 4)? as usize).min(MAX_SECTIONS);
    for section in bytes.get(start + 8..)?.chunks_exact(SECTION).take(count) {
        let (offset, size) = (u32_at(section, 8)? as usize, u32_at(section, 12)? as usize);
        let data = bytes.get(offset..offset.checked_add(size)?)?;
        match u32_at(section, 0)? {
            TAG_GENERATOR => cache.generator = data.get(..data.len().min(MAX_STRING))?.into(),
            TAG_HWCAPS => cache.hwcaps = hwcaps(bytes, data)?,
            _ => {}
        }
    }
    Some(())
}

fn hwcaps(bytes: &[u8], table: &[u8]) -> Option<Vec<Vec<u8>>> {
    if table.len() / 4 > MAX_HWCAPS {
        return None;
    }
    table
        .chunks_exact(4)
        .map(|raw| Some(string_at(bytes, u32_at(raw, 0)?)?.to_vec()))
        .collect()
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let end = offset.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(offset..end)?.try_into().ok()?))
}

fn string_at(bytes: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = bytes.get(offset as usize..)?;
    let window = &rest[..rest.len().min(MAX_STRING)];
    Some(CStr::from_bytes_until_nul(window).ok()?.to_bytes())
}

/// Writes a cache in the new format.
pub(super) fn write(cache: &LdCache) -> Vec<u8> {
    let mut entries: Vec<&Entry> = cache.all().collect();
    entries.sort_by(|a, b| order::compare(a, b, &cache.hwcaps));
    entries.dedup_by(|b, a| (&a.key, a.flags, a.hwcap) == (&b.key, b.flags, b.hwcap));

    let strings_at = HEADER + entries.len() * ENTRY;
    let text: usize = cache
        .entries
        .iter()
        .map(|entry| entry.value.len() + entry.key.len() + 2)
        .sum();
    let mut out = Vec::with_capacity(strings_at + text + 512);
    out.resize(strings_at, 0);
    for (index, entry) in entries.iter().enumerate() {
        let (key, value) = push_strings(&mut out, entry);
        let raw = &mut out[HEADER + index * ENTRY..][..ENTRY];
        raw[0..4].copy_from_slice(&entry.flags.to_ne_bytes());
        raw[4..8].copy_from_slice(&key.to_ne_bytes());
        raw[8..12].copy_from_slice(&value.to_ne_bytes());
        raw[12..16].copy_from_slice(&entry.osversion.to_ne_bytes());
        raw[16..24].copy_from_slice(&entry.hwcap.to_ne_bytes());
    }
    let hwcaps: Vec<u32> = cache.hwcaps.iter().map(|name| push_string(&mut out, name)).collect();
    let strings = out.len() - strings_at;
    let extension = push_extension(&mut out, &cache.generator, &hwcaps);
    out[..20].copy_from_slice(MAGIC);
    out[20..24].copy_from_slice(&position(entries.len()).to_ne_bytes());
    out[24..28].copy_from_slice(&position(strings).to_ne_bytes());
    out[28] = BYTE_ORDER;
    out[32..36].copy_from_slice(&extension.to_ne_bytes());
    out
}

/// Appends path and name and returns their offsets; a name that ends its path (the usual case) is shared with it.
fn push_strings(out: &mut Vec<u8>, entry: &Entry) -> (u32, u32) {
    let value = push_string(out, &entry.value);
    if entry.value.ends_with(&entry.key) {
        return (value + position(entry.value.len() - entry.key.len()), value);
    }
    (push_string(out, &entry.key), value)
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) -> u32 {
    let offset = position(out.len());
    out.extend_from_slice(text);
    out.push(0);
    offset
}

/// Appends the extension area and returns its offset; 0 when there is nothing to say.
fn push_extension(out: &mut Vec<u8>, generator: &[u8], hwcaps: &[u32]) -> u32 {
    if generator.is_empty() && hwcaps.is_empty() {
        return 0;
    }
    out.resize(out.len().next_multiple_of(4), 0);
    let start = out.len();
    let sections_end = start + 8 + 2 * SECTION;
    let names: Vec<u8> = hwcaps.iter().flat_map(|offset| offset.to_ne_bytes()).collect();
    let names_section = [TAG_HWCAPS, 0, position(sections_end), position(names.len())];
    let generator_section = [
        TAG_GENERATOR,
        0,
        position(sections_end + names.len()),
        position(generator.len()),
    ];
    for word in [EXTENSION_MAGIC, 2]
        .into_iter()
        .chain(generator_section)
        .chain(names_section)
    {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    out.extend_from_slice(&names);
    out.extend_from_slice(generator);
    position(start)
}

/// A size as the format stores it. What [`parse`] lets in fits; entries added by code are a few hundred.
fn position(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
