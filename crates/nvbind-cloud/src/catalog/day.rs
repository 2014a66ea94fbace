//! Days, to tell how old a price is.

use serde::{Serialize, Serializer};
use std::fmt;

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub i64);

impl Day {
    /// Reads `2026-07-20`; of `2026-07` the first day.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.parse::<i64>().ok());
        let (year, month) = (parts.next()??, parts.next()??);
        let day = parts.next().unwrap_or(Some(1))?;
        ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| Self::of(year, month, day))
    }

    /// The day of a time in seconds since 1970.
    pub fn of_unix(seconds: u64) -> Self {
        Self((seconds / 86_400) as i64)
    }

    /// Days from civil, as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
    pub(crate) fn of(year: i64, month: i64, day: i64) -> Self {
        let year = year - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Self(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
    }

    /// Year, month and day.
    pub(crate) fn civil(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + i64::from(month <= 2), month, day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-07-20", 20_654),
            ("2024-12-31", 20_088),
        ] {
            assert_eq!(Day::parse(text), Some(Day(days)));
            assert_eq!(Day(days).to_string(), text);
        }
        assert_eq!(Day::parse("2025-06"), Day::parse("2025-06-01"));
        assert_eq!(Day::of_unix(86_400 * 3 + 5), Day(3));
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in ["", "2026", "2026-13-01", "2026-01-32", "x-01-01"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }
}
