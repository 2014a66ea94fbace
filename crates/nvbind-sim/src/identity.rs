//! Identities that are the same on every run: UUIDs and serial numbers.

/// A UUID that depends on the words alone.
pub(crate) fn uuid(words: &[&str]) -> String {
    let (high, low) = (fnv1a(0, words), fnv1a(1, words));
    let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0x0fff | 0x5000);
    format!(
        "{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}",
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// A 13-digit board serial number that depends on the words alone.
pub(crate) fn serial(words: &[&str]) -> String {
    format!("16{:011}", fnv1a(2, words) % 100_000_000_000)
}

/// FNV-1a, 64 bits, of a salt and the words; the multiplication at the end spreads short inputs over all bits.
fn fnv1a(salt: u8, words: &[&str]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = std::iter::once(salt).chain(bytes).fold(0xcbf2_9ce4_8422_2325, step);
    (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_uuid_and_others_another() {
        assert_eq!(uuid(&["t4", "0"]), uuid(&["t4", "0"]));
        assert_ne!(uuid(&["t4", "0"]), uuid(&["t4", "1"]));
        assert_eq!(uuid(&["t4", "0"]).len(), 36);
    }
}
