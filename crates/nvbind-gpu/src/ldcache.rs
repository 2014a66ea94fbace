//! glibc's `/etc/ld.so.cache`, read and written natively.

/// One library of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Kind of library and architecture (`FLAG_*`).
    pub flags: i32,
    /// SONAME.
    pub key: Vec<u8>,
    /// Path of the file.
    pub value: Vec<u8>,
    /// OS version that the library needs (obsolete; 0).
    pub osversion: u32,
    /// Hardware capabilities, or an index into the `glibc-hwcaps` extension.
    pub hwcap: u64,
}

/// A parsed cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LdCache {
    /// The libraries in file order.
    pub entries: Vec<Entry>,
}

/// Why bytes are not a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No cache of glibc's new format.
    #[error("not an ld.so.cache of glibc 2.2 or newer")]
    Magic,
}

/// Reads a cache.
pub fn parse(_bytes: &[u8]) -> Result<LdCache, Error> {
    Err(Error::Magic)
}

impl LdCache {
    /// Adds a library: the entry's flags are those of the library's ELF class and machine.
    pub fn add(&mut self, key: &[u8], value: &[u8], flags: i32) {
        self.entries.push(Entry {
            flags,
            key: key.into(),
            value: value.into(),
            osversion: 0,
            hwcap: 0,
        });
    }

    /// Writes the cache as glibc's ldconfig would.
    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }
}
