//! JSON that keeps its spacing and order.

use super::Error;
use super::document::Document;
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::Value;
use std::path::Path;

/// What an absent or empty file stands for.
const EMPTY: &str = "{}\n";

/// Docker takes JSON as the standard has it and nothing more.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
};

/// A JSON object.
pub(super) struct JsonDocument(CstRootNode);

impl JsonDocument {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let syntax = |line, why| Error::Syntax {
            path: path.to_owned(),
            line,
            why,
        };
        let text = if text.trim().is_empty() { EMPTY } else { text };
        let root = CstRootNode::parse(text, &STRICT)
            .map_err(|error| syntax(error.line_display(), error.kind().to_string()))?;
        let value: Value = serde_json::from_str(text).map_err(|error| syntax(error.line(), error.to_string()))?;
        match value.is_object() {
            true => Ok(Self(root)),
            false => Err(syntax(1, "the file holds no object ({...})".to_owned())),
        }
    }
}

impl Document for JsonDocument {
    fn get(&self, path: &[String]) -> Option<Value> {
        let mut value: Value = serde_json::from_str(&self.0.to_string()).ok()?;
        for name in path {
            value = value.get_mut(name)?.take();
        }
        Some(value)
    }

    fn set(&mut self, path: &[String], value: &Value) -> Result<(), usize> {
        let Some((name, tables)) = path.split_last() else {
            return Err(0);
        };
        let mut object = self.0.object_value().ok_or(0_usize)?;
        for (depth, table) in tables.iter().enumerate() {
            object = object.object_value_or_create(table).ok_or(depth + 1)?;
        }
        match object.get(name) {
            Some(property) => property.set_value(input(value)),
            None => drop(object.append(name, input(value))),
        }
        Ok(())
    }

    fn remove(&mut self, path: &[String]) {
        let Some((name, tables)) = path.split_last() else {
            return;
        };
        let step = |object: Option<CstObject>, table: &String| object?.object_value(table);
        let object = tables.iter().fold(self.0.object_value(), step);
        if let Some(property) = object.and_then(|object| object.get(name)) {
            property.remove();
        }
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), input(value)))
                .collect(),
        ),
    }
}
