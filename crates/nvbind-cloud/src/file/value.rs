//! A value of a file, read as what it must be. Errors go on after the name of the key.

use crate::parse_hours;
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::fmt::Display;
use std::str::FromStr;
use toml::de::DeValue;

/// A value as it was written.
pub(super) struct Entry<'text>(pub(super) &'text DeValue<'text>);

/// What is wrong with a value.
type Wrong = String;

impl Entry<'_> {
    fn must_be(&self, wanted: &str) -> Wrong {
        let found = match self.0 {
            DeValue::String(text) => format!("is '{text}'"),
            DeValue::Integer(number) => format!("is {number}"),
            DeValue::Float(number) => format!("is {number}"),
            DeValue::Boolean(flag) => format!("is {flag}"),
            DeValue::Datetime(date) => format!("is {date}"),
            DeValue::Array(_) => "is a list".to_owned(),
            DeValue::Table(_) => "is a table".to_owned(),
        };
        format!("{found}: it must be {wanted}")
    }

    /// Text that is not empty.
    pub(super) fn text(&self) -> Result<String, Wrong> {
        match self.0 {
            DeValue::String(text) if !text.trim().is_empty() => Ok(text.to_string()),
            _ => Err(self.must_be("text")),
        }
    }

    /// Whether it is `true` or `false`, and which.
    pub(super) fn flag(&self) -> Option<bool> {
        self.0.as_bool()
    }

    /// One text, or a list of them.
    pub(super) fn texts(&self) -> Result<Vec<String>, Wrong> {
        match self.0 {
            DeValue::Array(items) => items.iter().map(|item| Entry(item.get_ref()).text()).collect(),
            _ => self.text().map(|text| vec![text]),
        }
        .map_err(|_: Wrong| self.must_be("text, or a list of texts"))
    }

    /// One word, or a list of them, each of which means something.
    pub(super) fn words<T: FromStr<Err: Display>>(&self) -> Result<Vec<T>, Wrong> {
        let read = |word: &String| word.parse::<T>().map_err(|error| format!("is not right: {error}"));
        self.texts()?.iter().map(read).collect()
    }

    /// A word that serde knows.
    pub(super) fn known<T: DeserializeOwned>(&self) -> Result<T, Wrong> {
        let text = self.text()?;
        let deserializer = IntoDeserializer::<serde::de::value::Error>::into_deserializer(text);
        T::deserialize(deserializer).map_err(|error| format!("is not right: {error}"))
    }

    /// A number, written as one or as text.
    fn plain_number(&self) -> Option<f64> {
        let text = match self.0 {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
            DeValue::Float(number) => number.as_str().replace('_', ""),
            DeValue::String(text) => text.to_string(),
            _ => return None,
        };
        text.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A number from 0 on.
    pub(super) fn number(&self) -> Result<f64, Wrong> {
        let number = self.plain_number().filter(|number| *number >= 0.0);
        number.ok_or_else(|| self.must_be("a number from 0 on"))
    }

    /// A number above 0.
    pub(super) fn positive(&self) -> Result<f64, Wrong> {
        let number = self.plain_number().filter(|number| *number > 0.0);
        number.ok_or_else(|| self.must_be("a number above 0"))
    }

    /// A whole number from `least` on.
    pub(super) fn count(&self, least: u32) -> Result<u32, Wrong> {
        let whole = |number: &f64| number.fract() == 0.0 && (f64::from(least)..=f64::from(u32::MAX)).contains(number);
        let number = self.plain_number().filter(whole);
        number
            .map(|number| number as u32)
            .ok_or_else(|| self.must_be(&format!("a whole number from {least} on")))
    }

    /// A length of time in hours, above 0: `48h`, `30min`.
    pub(super) fn hours(&self) -> Result<f64, Wrong> {
        let hours = self.text().ok().and_then(|text| parse_hours(&text).ok());
        let hours = hours.filter(|hours| *hours > 0.0);
        hours.ok_or_else(|| self.must_be("a length of time, as '48h', '30min' or '2d'"))
    }

    /// A length of time in seconds: `25s`, or a number of seconds.
    pub(super) fn seconds(&self) -> Result<u64, Wrong> {
        let number = self.plain_number().filter(|number| *number >= 0.0);
        let hours = || self.text().ok().and_then(|text| parse_hours(&text).ok());
        let seconds = number.or_else(|| hours().map(|hours| hours * 3600.0));
        seconds
            .map(|seconds| seconds.round() as u64)
            .ok_or_else(|| self.must_be("a length of time, as '25s', or a number of seconds"))
    }

    /// A size in GiB: `80GiB`, or a number of GiB.
    pub(super) fn gib(&self) -> Result<f64, Wrong> {
        let size = || self.text().ok().and_then(|text| crate::parse_gib(&text));
        let gib = self.plain_number().or_else(size).filter(|gib| *gib > 0.0);
        gib.ok_or_else(|| self.must_be("a size, as '80GiB', or a number of GiB"))
    }

    /// A compute capability, as `8.0`, times ten.
    pub(super) fn capability(&self) -> Result<u16, Wrong> {
        let text = match self.0 {
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::String(text) => text.to_string(),
            _ => String::new(),
        };
        let parts = text.split_once('.').and_then(|(major, minor)| {
            let (major, minor): (u16, u16) = (major.parse().ok()?, minor.parse().ok()?);
            (minor < 10 && major < 100).then_some(major * 10 + minor)
        });
        parts.ok_or_else(|| self.must_be("a compute capability, as '8.0'"))
    }

    /// A table of which each key is told to `set`; what `set` does not know is an error that names the nearest of `known`.
    pub(super) fn table(
        &self,
        known: &[&'static str],
        mut set: impl FnMut(&str, &Entry<'_>) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let Some(table) = self.0.as_table() else {
            return Err(self.must_be(&format!("a table of {}", known.join(", "))));
        };
        for (name, value) in table {
            let word = name.get_ref().replace('_', "-");
            if !known.contains(&word.as_str()) {
                let nearest = crate::nearest(&word, known.iter().copied());
                return Err(format!(
                    "has an unknown key '{}': did you mean '{nearest}'?",
                    name.get_ref()
                ));
            }
            set(&word, &Entry(value.get_ref()))
                .map_err(|wrong| format!("is not right: '{}' {wrong}", name.get_ref()))?;
        }
        Ok(())
    }
}
