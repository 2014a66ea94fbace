//! Lengths of time as people write them.

/// A length of time that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad length of time '{0}': write a number with its unit, as 48h, 30min, 2d or 0.05h")]
pub struct ParseHoursError(pub String);

/// Units in hours.
const UNITS: [(&str, f64); 5] = [
    ("h", 1.0),
    ("min", 1.0 / 60.0),
    ("m", 1.0 / 60.0),
    ("s", 1.0 / 3600.0),
    ("d", 24.0),
];

/// Reads a length of time in hours: `48h`, `30min`, `2d`, `0.05h`, `90s`. A number alone must be 0.
pub fn parse_hours(text: &str) -> Result<f64, ParseHoursError> {
    let bad = || ParseHoursError(text.to_owned());
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| bad())?;
    if unit.is_empty() && number == 0.0 {
        return Ok(0.0);
    }
    let factor = UNITS
        .iter()
        .find(|(name, _)| *name == unit.trim())
        .map(|(_, factor)| factor);
    factor.map(|factor| number * factor).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_hours() {
        for (text, hours) in [
            ("48h", 48.0),
            ("30min", 0.5),
            ("30 m", 0.5),
            ("2d", 48.0),
            ("0.05h", 0.05),
            ("90s", 0.025),
            ("0", 0.0),
        ] {
            assert_eq!(parse_hours(text), Ok(hours), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for text in ["48", "", "h", "-1h", "1e3h", "1.2.3h", "1y", "infh"] {
            assert!(parse_hours(text).is_err(), "{text}");
        }
    }
}
