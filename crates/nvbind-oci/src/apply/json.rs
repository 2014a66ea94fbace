//! Members of a JSON object, made on the way down when they are absent.

use crate::Error;
use serde_json::{Map, Value};
use std::path::Path;

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// The configuration as an object.
pub(super) fn root(config: &mut Value) -> Result<&mut Object, Error> {
    config
        .as_object_mut()
        .ok_or_else(|| malformed("(the whole file)", "an object"))
}

/// The object at `key`, made when absent or null.
pub(super) fn object<'a>(parent: &'a mut Object, key: &str) -> Result<&'a mut Object, Error> {
    entry(parent, key, || Value::Object(Map::new()))
        .as_object_mut()
        .ok_or_else(|| malformed(key, "an object"))
}

/// The list at `key`, made when absent or null.
pub(super) fn array<'a>(parent: &'a mut Object, key: &str) -> Result<&'a mut Vec<Value>, Error> {
    entry(parent, key, || Value::Array(Vec::new()))
        .as_array_mut()
        .ok_or_else(|| malformed(key, "a list"))
}

/// The string at `key` of an object, if both are what they should be.
pub(super) fn string<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// An object of the members that are there. Its room is taken at once: a bundle gets hundreds of them.
pub(super) fn object_of<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let mut object = Map::with_capacity(N);
    let given = members
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    object.extend(given);
    Value::Object(object)
}

/// A path as JSON holds it.
pub(super) fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::Text(path.to_owned()))
}

fn entry<'a>(parent: &'a mut Object, key: &str, default: impl Fn() -> Value) -> &'a mut Value {
    let value = parent.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = default();
    }
    value
}

fn malformed(member: &str, expected: &'static str) -> Error {
    Error::Malformed {
        member: member.to_owned(),
        expected,
    }
}
