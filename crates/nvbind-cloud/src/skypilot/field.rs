//! A field of a task, with its path for error messages.

use super::SkyPilotError;
use crate::parse_gib;
use serde_json::Value;

/// A field with its path.
#[derive(Debug, Clone)]
pub(super) struct Field<'task> {
    path: String,
    value: &'task Value,
}

impl<'task> Field<'task> {
    /// The task itself.
    pub(super) fn root(value: &'task Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    /// The path from the task on.
    pub(super) fn path(&self) -> &str {
        match self.path.as_str() {
            "" => "the task",
            path => path,
        }
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit_once('.').map_or(self.path.as_str(), |(_, name)| name)
    }

    fn below(&self, name: &str, value: &'task Value) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self { path, value }
    }

    /// The value as it was written, at the same place.
    pub(super) fn value(&self) -> &'task Value {
        self.value
    }

    /// The same place with another value.
    pub(super) fn with<'other>(&self, value: &'other Value) -> Field<'other> {
        Field {
            path: self.path.clone(),
            value,
        }
    }

    /// The error for a value that must be something else.
    pub(super) fn wrong(&self, wanted: &str) -> SkyPilotError {
        let found = match self.value {
            Value::String(text) => format!("'{text}'"),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a map".to_owned(),
            other => other.to_string(),
        };
        SkyPilotError(format!("{} is {found}: it must be {wanted}", self.path()))
    }

    /// A field of this map that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<Field<'task>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(self.below(name, value))
    }

    /// Every entry of this map.
    pub(super) fn children(&self) -> Result<Vec<Field<'task>>, SkyPilotError> {
        match self.value {
            Value::Object(map) => Ok(map.iter().map(|(name, value)| self.below(name, value)).collect()),
            _ => Err(self.wrong("a map")),
        }
    }

    /// Every entry of this map that is not null, each of which is known; one that is refused tells why.
    pub(super) fn fields(
        &self,
        known: &[&'static str],
        refused: &[(&'static str, &'static str)],
    ) -> Result<Vec<Field<'task>>, SkyPilotError> {
        let children = self.children()?;
        for child in &children {
            let name = child.name();
            if known.contains(&name) {
                continue;
            }
            if let Some((_, why)) = refused.iter().find(|(refused, _)| *refused == name) {
                // Empty is as good as not there, and SkyPilot's own examples have it.
                if child.is_empty() {
                    continue;
                }
                return Err(SkyPilotError(format!("{} {why}", child.path())));
            }
            let nearest = crate::nearest(name, known.iter().copied());
            return Err(SkyPilotError(format!(
                "unknown field {}: did you mean '{nearest}'?",
                child.path()
            )));
        }
        Ok(children.into_iter().filter(|child| !child.is_null()).collect())
    }

    /// Whether there is nothing in it.
    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<Field<'task>>> {
        let items = self.value.as_array()?;
        let item = |(index, value): (usize, &'task Value)| Field {
            path: format!("{}[{index}]", self.path),
            value,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Text, a number or a flag, as text.
    pub(super) fn scalar(&self) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// Text that is not empty.
    pub(super) fn text(&self) -> Result<&'task str, SkyPilotError> {
        let text = self.value.as_str().filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| self.wrong("text"))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool, SkyPilotError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A whole number from `least` on.
    pub(super) fn count(&self, least: u32) -> Result<u32, SkyPilotError> {
        let number = self.value.as_u64().and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| *number >= least)
            .ok_or_else(|| self.wrong(&format!("a whole number from {least} on")))
    }

    /// A number above 0.
    pub(super) fn positive(&self) -> Result<f64, SkyPilotError> {
        let number = self.value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
        number.ok_or_else(|| self.wrong("a number above 0"))
    }

    /// `16+`, `16`: the number, and whether more will do.
    pub(super) fn at_least(&self) -> Result<(f64, bool), SkyPilotError> {
        let text = self.scalar().unwrap_or_default();
        let (number, has_plus) = strip_plus(&text);
        let number = number
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite() && *number > 0.0);
        number
            .map(|number| (number, has_plus))
            .ok_or_else(|| self.wrong("a number, as 16 or '16+'"))
    }

    /// `64+`, `64GB+`, `64`: GiB, and whether more will do.
    pub(super) fn gib_at_least(&self) -> Result<(f64, bool), SkyPilotError> {
        let text = self.scalar().unwrap_or_default();
        let (size, has_plus) = strip_plus(&text);
        let gib = size.parse().ok().or_else(|| parse_gib(size));
        gib.filter(|gib: &f64| gib.is_finite() && *gib > 0.0)
            .map(|gib| (gib, has_plus))
            .ok_or_else(|| self.wrong("a number of GiB, as 64 or '64+'"))
    }
}

fn strip_plus(text: &str) -> (&str, bool) {
    match text.strip_suffix('+') {
        Some(number) => (number, true),
        None => (text, false),
    }
}
