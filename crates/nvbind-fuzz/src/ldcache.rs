//! `ld.so.cache`, which comes out of images.

use nvbind_gpu::ldcache::parse;

/// What was read is written and read back the same.
pub(crate) fn cache(data: &[u8]) {
    let Ok(cache) = parse(data) else { return };
    let bytes = cache.to_bytes();
    let again = parse(&bytes).unwrap();
    // Of two with one name the first is kept.
    assert!(again.entries.len() <= cache.entries.len());
    assert_eq!(again.to_bytes(), bytes);
}
