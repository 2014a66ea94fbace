//! TOML that keeps its comments, spacing and order.

use super::Error;
use super::document::{Document, line_of};
use serde_json::{Map, Number, Value};
use std::path::Path;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value as TomlValue};

/// A TOML document.
pub(super) struct TomlDocument(DocumentMut);

impl TomlDocument {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let document = text.parse().map_err(|error: toml_edit::TomlError| Error::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            why: error.message().to_owned(),
        })?;
        Ok(Self(document))
    }
}

impl Document for TomlDocument {
    fn get(&self, path: &[String]) -> Option<Value> {
        let mut item = self.0.as_item();
        for name in path {
            item = item.as_table_like()?.get(name)?;
        }
        json(item)
    }

    fn set(&mut self, path: &[String], value: &Value) -> Result<(), usize> {
        let Some((name, tables)) = path.split_last() else {
            return Err(0);
        };
        let mut table: &mut dyn TableLike = self.0.as_table_mut();
        let mut is_inline = false;
        for (depth, name) in tables.iter().enumerate() {
            let item = table.entry(name).or_insert_with(|| empty_table(is_inline));
            is_inline = item.is_inline_table();
            table = item.as_table_like_mut().ok_or(depth + 1)?;
        }
        let item = match value {
            Value::Object(members) if !is_inline => standard(members),
            value => Item::Value(inline(value)),
        };
        match table.get_mut(name) {
            // The key's own spacing and the comment after the value stay.
            Some(Item::Value(old)) if item.is_value() => replace(old, item),
            _ => drop(table.insert(name, item)),
        }
        Ok(())
    }

    fn remove(&mut self, path: &[String]) {
        let Some((name, tables)) = path.split_last() else {
            return;
        };
        let mut table: &mut dyn TableLike = self.0.as_table_mut();
        for name in tables {
            match table.get_mut(name).and_then(Item::as_table_like_mut) {
                Some(below) => table = below,
                None => return,
            }
        }
        table.remove(name);
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

fn replace(old: &mut TomlValue, new: Item) {
    if let Ok(mut new) = new.into_value() {
        *new.decor_mut() = old.decor().clone();
        *old = new;
    }
}

/// A table that is there for what is below it: without a header of its own.
fn empty_table(is_inline: bool) -> Item {
    if is_inline {
        return Item::Value(InlineTable::new().into());
    }
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// A table with a header, and its subtables with theirs.
fn standard(members: &Map<String, Value>) -> Item {
    let mut table = Table::new();
    for (name, value) in members {
        let item = match value {
            Value::Object(members) => standard(members),
            value => Item::Value(inline(value)),
        };
        table.insert(name, item);
    }
    // A header over nothing but subtables says nothing.
    table.set_implicit(!members.is_empty() && members.values().all(Value::is_object));
    Item::Table(table)
}

fn inline(value: &Value) -> TomlValue {
    match value {
        // TOML has no null; nothing that nvbind writes holds one.
        Value::Null => "".into(),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => values.iter().map(inline).collect::<Array>().into(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.as_str(), inline(value)))
            .collect::<InlineTable>()
            .into(),
    }
}

fn json(item: &Item) -> Option<Value> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(json_value(value)),
        Item::Table(table) => Some(json_table(table)),
        Item::ArrayOfTables(tables) => Some(tables.iter().map(|table| json_table(table)).collect()),
    }
}

fn json_table(table: &dyn TableLike) -> Value {
    let member = |(name, item): (&str, &Item)| Some((name.to_owned(), json(item)?));
    Value::Object(table.iter().filter_map(member).collect())
}

fn json_value(value: &TomlValue) -> Value {
    match value {
        TomlValue::String(text) => Value::String(text.value().clone()),
        TomlValue::Integer(number) => Value::Number((*number.value()).into()),
        TomlValue::Float(number) => Number::from_f64(*number.value()).map_or(Value::Null, Value::Number),
        TomlValue::Boolean(value) => Value::Bool(*value.value()),
        TomlValue::Datetime(time) => Value::String(time.value().to_string()),
        TomlValue::Array(values) => values.iter().map(json_value).collect(),
        TomlValue::InlineTable(table) => json_table(table),
    }
}
