//! A configuration file that can be changed in places while the rest of its text stays as it is.

use super::Error;
use super::json_document::JsonDocument;
use super::toml_document::TomlDocument;
use serde_json::Value;
use std::path::Path;

/// The names of the tables that lead to a value, and the value's own.
pub(super) type KeyPath = Vec<String>;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// docker's
    Json,
    /// The others'
    Toml,
}

/// A parsed file that keeps its comments, order and spacing. Values are JSON's, whatever the format.
pub(super) trait Document {
    /// The value at a path.
    fn get(&self, path: &[String]) -> Option<Value>;

    /// Puts a value at a path and makes the tables that lead to it. `Err` is the length of the part of the path that leads
    /// to something other than a table.
    fn set(&mut self, path: &[String], value: &Value) -> Result<(), usize>;

    /// Removes what is at a path.
    fn remove(&mut self, path: &[String]);

    /// The text.
    fn text(&self) -> String;
}

impl Format {
    /// Reads a text; the path is for the message.
    pub(super) fn parse(self, path: &Path, text: &str) -> Result<Box<dyn Document>, Error> {
        let document: Box<dyn Document> = match self {
            Self::Json => Box::new(JsonDocument::parse(path, text)?),
            Self::Toml => Box::new(TomlDocument::parse(path, text)?),
        };
        // What cannot be written as it was read cannot be edited in places.
        let written = document.text();
        if text.trim().is_empty() || written == text {
            return Ok(document);
        }
        let line = 1 + written
            .lines()
            .zip(text.lines())
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        Err(Error::Syntax {
            path: path.to_owned(),
            line,
            why: "line endings or marks that an edit would change".to_owned(),
        })
    }
}

/// How many of the tables above a path are there.
pub(super) fn existing_tables(document: &dyn Document, path: &[String]) -> usize {
    (1..path.len())
        .take_while(|length| document.get(&path[..*length]).is_some())
        .count()
}

/// Number of the line (from 1) that holds a byte.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// A path from words.
pub(super) fn key_path<const N: usize>(words: [&str; N]) -> KeyPath {
    words.map(str::to_owned).to_vec()
}
