//! A line that is wanted in a file, what putting it there changed, and how that is taken back.

use super::Error;
use super::document::{Document, KeyPath, existing_tables};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// A value that is wanted in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) path: KeyPath,
    pub(super) value: Value,
    pub(super) kind: Kind,
}

/// How a setting stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// It is the value at the path.
    Value,
    /// It is one of the elements of the array at the path.
    Element,
}

/// One change of a file, as it is remembered for the way back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Edit {
    path: KeyPath,
    kind: Kind,
    /// What was there; `None` for nothing.
    before: Option<Value>,
    /// What nvbind put there.
    after: Value,
    /// How many of the tables above it were there.
    tables: usize,
}

impl Setting {
    pub(super) fn value(path: KeyPath, value: impl Into<Value>) -> Self {
        Self {
            path,
            value: value.into(),
            kind: Kind::Value,
        }
    }

    pub(super) fn element(path: KeyPath, value: impl Into<Value>) -> Self {
        Self {
            path,
            value: value.into(),
            kind: Kind::Element,
        }
    }

    /// Puts it into the document; `None` when it is there already.
    pub(super) fn apply(&self, file: &Path, document: &mut dyn Document) -> Result<Option<Edit>, Error> {
        let before = document.get(&self.path);
        let wanted = match self.kind {
            Kind::Value => self.value.clone(),
            Kind::Element => {
                with_element(before.clone(), &self.value).ok_or_else(|| self.misplaced(file, self.path.len()))?
            }
        };
        if before.as_ref() == Some(&wanted) {
            return Ok(None);
        }
        let tables = existing_tables(document, &self.path);
        document
            .set(&self.path, &wanted)
            .map_err(|length| self.misplaced(file, length))?;
        Ok(Some(Edit {
            path: self.path.clone(),
            kind: self.kind,
            before,
            after: self.value.clone(),
            tables,
        }))
    }

    fn misplaced(&self, file: &Path, length: usize) -> Error {
        let expected = if length == self.path.len() {
            "an array"
        } else {
            "a table"
        };
        Error::Misplaced {
            path: file.to_owned(),
            key: self.path[..length].join("."),
            expected,
        }
    }
}

/// An array with the element in it; `None` when it is no array.
fn with_element(array: Option<Value>, element: &Value) -> Option<Value> {
    match array {
        None => Some(Value::Array(vec![element.clone()])),
        Some(Value::Array(mut elements)) => {
            if !elements.contains(element) {
                elements.push(element.clone());
            }
            Some(Value::Array(elements))
        }
        Some(_) => None,
    }
}

impl Edit {
    /// Takes it back. `Err` names what was changed since by someone else, and is left as it is.
    pub(super) fn revert(&self, document: &mut dyn Document) -> Result<(), String> {
        let now = document.get(&self.path);
        if now == self.before {
            return Ok(());
        }
        let wanted = match (self.kind, &now) {
            (_, None) => return Ok(()),
            (Kind::Value, Some(now)) if *now == self.after => self.before.clone(),
            (Kind::Element, Some(Value::Array(elements))) => {
                without_element(elements, &self.after, self.before.is_some())
            }
            _ => return Err(self.path.join(".")),
        };
        match wanted {
            // What is above was walked through when it was read.
            Some(value) => document.set(&self.path, &value).map_err(|_| self.path.join("."))?,
            None => self.remove(document),
        }
        Ok(())
    }

    /// Removes the value, and the tables that were made for it and are empty now.
    fn remove(&self, document: &mut dyn Document) {
        document.remove(&self.path);
        for length in (self.tables + 1..self.path.len()).rev() {
            let table = &self.path[..length];
            if document
                .get(table)
                .is_some_and(|table| table.as_object().is_some_and(serde_json::Map::is_empty))
            {
                document.remove(table);
            }
        }
    }

    /// Whether it is about the same place as another.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        (&self.path, self.kind) == (&other.path, other.kind) && (self.kind == Kind::Value || self.after == other.after)
    }

    /// This edit after an earlier one at the same place: what was there before is what was there before the first, unless
    /// someone else has put something there since.
    pub(super) fn after(self, earlier: &Self) -> Self {
        if self.before.as_ref() != Some(&earlier.after) {
            return self;
        }
        Self {
            before: earlier.before.clone(),
            tables: earlier.tables,
            ..self
        }
    }
}

/// An array without the element; `None` when it was made for the element and holds nothing else.
fn without_element(elements: &[Value], element: &Value, was_there: bool) -> Option<Value> {
    let rest: Vec<Value> = elements.iter().filter(|other| *other != element).cloned().collect();
    (was_there || !rest.is_empty()).then_some(Value::Array(rest))
}
