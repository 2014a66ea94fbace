//! Amounts of money.

use std::str::FromStr;

/// An amount in USD, to a millionth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd {
    micros: u64,
}

/// A text that is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an amount in USD, as 50 or 12.5")]
pub struct ParseUsdError;

/// Larger amounts are a slip: a trillion.
const MOST: f64 = 1e12;

impl Usd {
    /// The amount as a number of USD.
    pub fn usd(self) -> f64 {
        self.micros as f64 / 1e6
    }
}

impl FromStr for Usd {
    type Err = ParseUsdError;

    /// Reads `50`, `12.5`, `$12.50`; digits and one point.
    fn from_str(text: &str) -> Result<Self, ParseUsdError> {
        let digits = text.strip_prefix('$').unwrap_or(text);
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let usd: f64 = digits.parse().map_err(|_| ParseUsdError)?;
        match is_plain && usd <= MOST {
            true => Ok(Self {
                micros: (usd * 1e6).round() as u64,
            }),
            false => Err(ParseUsdError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        for (text, usd) in [("50", 50.0), ("12.5", 12.5), ("$0.25", 0.25), ("0", 0.0)] {
            assert_eq!(text.parse::<Usd>().map(Usd::usd), Ok(usd), "{text}");
        }
        for text in [
            "",
            "-1",
            "1e3",
            "inf",
            "NaN",
            "fifty",
            "1,5",
            "50 EUR",
            "9999999999999",
            "+1",
        ] {
            assert!(text.parse::<Usd>().is_err(), "{text}");
        }
    }
}
