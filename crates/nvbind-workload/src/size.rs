//! Sizes as people write them.

/// A size that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad size '{0}': write a number with an optional unit, as 512m, 8GiB or 1.5g")]
pub struct ParseSizeError(pub String);

/// Binary units; docker's `--memory` reads `k`, `m`, `g` as powers of 1024, and so does this.
const UNITS: [(&str, u64); 5] = [("", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40)];

/// Reads a size in bytes: `1073741824`, `512m`, `8GiB`, `40GB`, `1.5g`. All units are powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, ParseSizeError> {
    let bad = || ParseSizeError(text.to_owned());
    let text_trimmed = text.trim();
    let end = text_trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text_trimmed.len());
    let (number, unit) = text_trimmed.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*factor).ok_or_else(bad);
    }
    let fraction: f64 = number.parse().map_err(|_| bad())?;
    let bytes = fraction * *factor as f64;
    // `as` saturates; a value that large is no size of anything.
    if bytes < u64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [
            ("1", 1),
            ("512m", 512 << 20),
            ("8GiB", 8 << 30),
            ("8GB", 8 << 30),
            ("8 g", 8 << 30),
            ("1.5g", 3 << 29),
            ("100b", 100),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_an_error() {
        for text in ["", "g", "-1", "1x", "99999999999999t", "1.2.3", "1e5", "."] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
