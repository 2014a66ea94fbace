//! glibc's `/etc/ld.so.cache`, read and written natively.
//!
//! The format is that of glibc 2.2 and newer (`sysdeps/generic/dl-cache.h`): a header of 48 bytes, entries of
//! 24 bytes, strings (offsets count from the header), and since 2.32 an extension area with the names of the
//! `glibc-hwcaps` folders. A cache comes out of a container image, so nothing in it is believed: every size is
//! bounded and every offset checked.

mod format;
mod order;

pub use format::{lookup, parse};

/// Largest cache that is read, in bytes. Real ones are some hundred KiB.
pub const MAX_BYTES: usize = 64 << 20;
/// Most entries that are read. Real caches have some thousands.
pub const MAX_ENTRIES: usize = 1 << 18;
/// Longest string that is read (`PATH_MAX`).
pub const MAX_STRING: usize = 4096;

/// `FLAG_ELF_LIBC6`: an ELF library for glibc 2. Alone it stands for i386.
pub const FLAG_ELF_LIBC6: i32 = 0x0003;

/// An entry's flags by ELF class (`e_ident[EI_CLASS]`) and machine (`e_machine`).
const MACHINES: [(u8, u16, i32); 4] = [
    (2, 62, FLAG_ELF_LIBC6 | 0x0300),  // x86-64: FLAG_X8664_LIB64
    (1, 3, FLAG_ELF_LIBC6),            // i386
    (2, 183, FLAG_ELF_LIBC6 | 0x0a00), // aarch64: FLAG_AARCH64_LIB64
    (1, 40, FLAG_ELF_LIBC6 | 0x0900),  // arm with hard float: FLAG_ARM_LIBHF
];

/// Bit 62 of `hwcap`: the low half is an index into the `glibc-hwcaps` names (`DL_CACHE_HWCAP_EXTENSION`).
const HWCAP_EXTENSION: u64 = 1 << 62;

/// One library of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Kind of library and architecture.
    pub flags: i32,
    /// SONAME.
    pub key: Vec<u8>,
    /// Path of the file.
    pub value: Vec<u8>,
    /// OS version that the library needs (obsolete; 0).
    pub osversion: u32,
    /// Hardware capabilities, or an index into [`LdCache::hwcaps`].
    pub hwcap: u64,
}

impl Entry {
    /// Which of the `glibc-hwcaps` names the entry belongs to, if to any.
    pub fn hwcaps_index(&self) -> Option<usize> {
        (self.hwcap & HWCAP_EXTENSION != 0).then_some((self.hwcap & 0xffff_ffff) as usize)
    }
}

/// A parsed cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LdCache {
    /// The libraries in file order.
    pub entries: Vec<Entry>,
    /// Names of the `glibc-hwcaps` folders that entries refer to.
    pub hwcaps: Vec<Vec<u8>>,
    /// The program that wrote the cache, as `ldconfig (GNU libc) stable release version 2.36`.
    pub generator: Vec<u8>,
    /// Libraries added since, the newest last.
    added: Vec<Entry>,
}

/// Why bytes are not a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No cache of glibc's new format.
    #[error("not an ld.so.cache of glibc 2.2 or newer")]
    Magic,
    /// Written by a machine of the other byte order.
    #[error("ld.so.cache has the byte order of another machine")]
    ByteOrder,
    /// The header promises more than the file holds.
    #[error("ld.so.cache is cut off or corrupt")]
    Truncated,
    /// Larger than any real cache.
    #[error("ld.so.cache is too large to be one")]
    TooLarge,
    /// A name or path lies outside the file or is too long.
    #[error("ld.so.cache has a name that lies outside of it")]
    String,
}

impl LdCache {
    /// Adds a library. It takes the place of one with the same name and flags when the cache is written.
    pub fn add(&mut self, key: &[u8], value: &[u8], flags: i32) {
        self.added.push(Entry {
            flags,
            key: key.into(),
            value: value.into(),
            osversion: 0,
            hwcap: 0,
        });
    }

    /// The first entry with that name, added ones first.
    pub fn find(&self, key: &[u8]) -> Option<&Entry> {
        self.all().find(|entry| entry.key == key)
    }

    /// Every entry, those that take precedence first.
    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.added.iter().rev().chain(&self.entries)
    }

    /// Writes the cache as glibc's ldconfig would: sorted, each library once.
    pub fn to_bytes(&self) -> Vec<u8> {
        format::write(self)
    }
}

/// The flags for a library, from the first 20 bytes of its file; `None` for an ELF that glibc's cache has no flags for.
pub fn flags_of_elf(header: &[u8]) -> Option<i32> {
    let (magic, class) = (header.get(..4)?, *header.get(4)?);
    let machine = u16::from_ne_bytes(header.get(18..20)?.try_into().ok()?);
    let found = MACHINES.iter().find(|(c, m, _)| (*c, *m) == (class, machine))?;
    (magic == b"\x7fELF").then_some(found.2)
}

#[cfg(test)]
mod tests;
