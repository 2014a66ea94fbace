//! The order of a cache, which the loader's binary search depends on (`compare` in glibc's `elf/cache.c`).

use super::Entry;
use std::cmp::Ordering;

/// Names descending as `_dl_cache_libcmp` has it, then flags descending, then `glibc-hwcaps` entries before
/// plain ones by their folder's name, then the most specific hardware capabilities first.
pub(super) fn compare(a: &Entry, b: &Entry, hwcaps: &[Vec<u8>]) -> Ordering {
    compare_names(&b.key, &a.key)
        .then_with(|| b.flags.cmp(&a.flags))
        .then_with(|| compare_hwcaps(folder(a, hwcaps), folder(b, hwcaps)))
        .then_with(|| b.hwcap.count_ones().cmp(&a.hwcap.count_ones()))
        .then_with(|| b.hwcap.cmp(&a.hwcap))
}

fn folder<'a>(entry: &Entry, hwcaps: &'a [Vec<u8>]) -> Option<&'a [u8]> {
    entry
        .hwcaps_index()
        .and_then(|index| hwcaps.get(index))
        .map(Vec::as_slice)
}

fn compare_hwcaps(a: Option<&[u8]>, b: Option<&[u8]>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Numbers compare as numbers, a number is greater than any other character, the rest by character.
pub(super) fn compare_names(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (left, right);
                (left, a) = number(a);
                (right, b) = number(b);
                if left != right {
                    return left.cmp(&right);
                }
            }
            (Some(x), _) if x.is_ascii_digit() => return Ordering::Greater,
            (_, Some(y)) if y.is_ascii_digit() => return Ordering::Less,
            (x, y) if x == y => (a, b) = (&a[1..], &b[1..]),
            (x, y) => return character(x).cmp(&character(y)),
        }
    }
}

/// A character as C's `char` compares; the end of a name is its NUL.
fn character(byte: Option<&u8>) -> std::ffi::c_char {
    byte.map_or(0, |&byte| std::ffi::c_char::from_ne_bytes([byte]))
}

/// The leading number and what follows it. glibc computes in `int`; saturating keeps the order total for any input.
fn number(text: &[u8]) -> (u64, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let value = number.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    (value, rest)
}
