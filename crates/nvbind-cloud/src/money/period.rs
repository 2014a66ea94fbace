//! A length of time that costs are asked for.

use super::DAY_MS;
use crate::catalog::Day;
use crate::parse_hours;

/// From one time to another, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Period {
    /// Its beginning.
    pub from_ms: i64,
    /// Its end, not part of it.
    pub to_ms: i64,
}

/// A period that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad period '{0}': write 30d, 7d, 24h, day (since midnight, UTC) or month (since its first day)")]
pub struct ParsePeriodError(pub String);

impl ParsePeriodError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        2
    }
}

/// Longest period in hours: a hundred years.
const LONGEST_HOURS: f64 = 876_600.0;

impl Period {
    /// The period of that word that ends now: `30d`, `24h`, `day`, `month`.
    pub fn parse(word: &str, now_ms: i64) -> Result<Self, ParsePeriodError> {
        match word {
            "day" => {
                return Ok(Self {
                    to_ms: now_ms,
                    ..Self::day_of(now_ms)
                });
            }
            "month" => {
                return Ok(Self {
                    to_ms: now_ms,
                    ..Self::month_of(now_ms)
                });
            }
            _ => {}
        }
        let hours = parse_hours(word)
            .ok()
            .filter(|hours| *hours > 0.0 && *hours <= LONGEST_HOURS);
        let hours = hours.ok_or_else(|| ParsePeriodError(word.to_owned()))?;
        Ok(Self {
            from_ms: now_ms - (hours * super::HOUR_MS) as i64,
            to_ms: now_ms,
        })
    }

    /// The whole day of a time.
    pub fn day_of(now_ms: i64) -> Self {
        let from_ms = now_ms.div_euclid(DAY_MS) * DAY_MS;
        Self {
            from_ms,
            to_ms: from_ms + DAY_MS,
        }
    }

    /// The whole month of a time.
    pub fn month_of(now_ms: i64) -> Self {
        let (year, month, _) = Day(now_ms.div_euclid(DAY_MS)).civil();
        let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        Self {
            from_ms: Day::of(year, month, 1).0 * DAY_MS,
            to_ms: Day::of(next.0, next.1, 1).0 * DAY_MS,
        }
    }

    /// Its length in hours.
    pub fn hours(self) -> f64 {
        (self.to_ms - self.from_ms).max(0) as f64 / super::HOUR_MS
    }

    /// What both have in common.
    pub fn and(self, other: Self) -> Self {
        let from_ms = self.from_ms.max(other.from_ms);
        Self {
            from_ms,
            to_ms: self.to_ms.min(other.to_ms).max(from_ms),
        }
    }

    /// Its days, the first and the last as far as they belong to it.
    pub fn days(self) -> impl Iterator<Item = (Day, Self)> {
        let first = self.from_ms.div_euclid(DAY_MS);
        let last = (self.to_ms - 1).div_euclid(DAY_MS);
        (first..=last).map(move |day| (Day(day), self.and(Self::day_of(day * DAY_MS))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29 03:30.
    const NOW: i64 = 1_795_923_000_000;

    fn at(day: &str) -> i64 {
        Day::parse(day).unwrap().0 * DAY_MS
    }

    #[test]
    fn words_are_periods_that_end_now() {
        for (word, from_ms) in [
            ("30d", NOW - 30 * DAY_MS),
            ("24h", NOW - DAY_MS),
            ("0.5h", NOW - 1_800_000),
            ("day", at("2026-11-29")),
            ("month", at("2026-11-01")),
        ] {
            assert_eq!(Period::parse(word, NOW), Ok(Period { from_ms, to_ms: NOW }), "{word}");
        }
        for word in ["", "30", "0d", "week", "-1d", "99999999999d", "infd"] {
            assert!(Period::parse(word, NOW).is_err(), "{word}");
        }
    }

    #[test]
    fn months_end_where_the_next_begins() {
        for (time, from, to) in [
            (NOW, "2026-11-01", "2026-12-01"),
            (at("2026-12-31") + 1, "2026-12-01", "2027-01-01"),
            (at("2028-02-29"), "2028-02-01", "2028-03-01"),
        ] {
            let month = Period::month_of(time);
            assert_eq!((month.from_ms, month.to_ms), (at(from), at(to)));
        }
    }

    #[test]
    fn days_add_up_to_the_period() {
        let period = Period::parse("52h", NOW).unwrap();
        let days: Vec<(Day, Period)> = period.days().collect();
        assert_eq!(days.len(), 4);
        assert_eq!(days[0].0.to_string(), "2026-11-26");
        assert!((days.iter().map(|(_, part)| part.hours()).sum::<f64>() - 52.0).abs() < 1e-9);
        let none = Period {
            from_ms: NOW,
            to_ms: NOW,
        };
        assert_eq!(none.days().map(|(_, part)| part.hours()).sum::<f64>(), 0.0);
    }
}
