//! Sizes of memory and disks.

/// Units in GiB; all are powers of 1024, as in `nvbind run --memory`.
const UNITS: [(&str, f64); 3] = [("t", 1024.0), ("g", 1.0), ("m", 1.0 / 1024.0)];

/// Reads a size in GiB: `80GiB`, `80GB`, `1.5t`; the unit must be there.
pub fn parse_gib(text: &str) -> Option<f64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let unit = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(unit);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_gib() {
        for (text, gib) in [("80GiB", 80.0), ("40gb", 40.0), ("1.5 T", 1536.0), ("512m", 0.5)] {
            assert_eq!(parse_gib(text), Some(gib), "{text}");
        }
        for text in ["", "80", "GiB", "1.2.3g", "8k", "-8g", "8gg"] {
            assert_eq!(parse_gib(text), None, "{text}");
        }
    }
}
