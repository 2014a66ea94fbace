//! Any value that serde knows, written as YAML in the layout of the Go emitters.

use super::emit_text;
use serde::ser::{self, Impossible, Serialize, Serializer};
use std::fmt;

/// Spaces per level, as the Go emitters write them.
const INDENT: usize = 4;

/// Room for the spec of a host with eight GPUs, in bytes.
const USUAL_SIZE: usize = 64 << 10;

/// Why a value cannot be written: what serde says, or a kind of value that specs do not have.
#[derive(Debug)]
pub(crate) struct Unwritable(String);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Written = Result<(), Unwritable>;

/// A value as a YAML document.
pub(crate) fn emit<T: Serialize + ?Sized>(value: &T) -> Result<String, Unwritable> {
    let mut out = String::with_capacity(USUAL_SIZE);
    out.push_str("---\n");
    value.serialize(Value {
        out: &mut out,
        place: Place::Top,
    })?;
    Ok(out)
}

/// What stands before a value on its line.
#[derive(Clone, Copy)]
enum Place {
    /// Nothing.
    Top,
    /// `key:`, indented by that many levels.
    Entry(usize),
    /// `- `, indented by that many levels.
    Item(usize),
}

/// Writes one value in its place, and ends its line.
struct Value<'a> {
    out: &'a mut String,
    place: Place,
}

impl Value<'_> {
    fn scalar(&mut self, write: impl FnOnce(&mut String)) {
        if let Place::Entry(_) = self.place {
            self.out.push(' ');
        }
        write(self.out);
        self.out.push('\n');
    }

    fn plain(mut self, value: impl fmt::Display) -> Written {
        self.scalar(|out| out.push_str(&value.to_string()));
        Ok(())
    }
}

fn indent(out: &mut String, depth: usize) {
    const SPACES: &str = "                                ";
    let count = depth * INDENT;
    match SPACES.get(..count) {
        Some(spaces) => out.push_str(spaces),
        None => out.extend(std::iter::repeat_n(' ', count)),
    }
}

fn unknown<T>(kind: &str) -> Result<T, Unwritable> {
    Err(Unwritable(format!("no spec has {kind}")))
}

/// Writes the items of a list, each on a line of its own.
struct List<'a> {
    out: &'a mut String,
    depth: usize,
}

impl ser::SerializeSeq for List<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Written {
        indent(self.out, self.depth);
        self.out.push_str("- ");
        item.serialize(Value {
            out: self.out,
            place: Place::Item(self.depth),
        })
    }

    fn end(self) -> Written {
        Ok(())
    }
}

/// Writes the entries of a mapping, each on a line of its own; the first key of one in a list stands beside the dash.
struct Mapping<'a> {
    out: &'a mut String,
    depth: usize,
    /// What stands before the keys behind the indentation; `None` before the first beside a dash.
    lead: Option<&'static str>,
    after_first: &'static str,
}

impl Mapping<'_> {
    fn begin(&mut self) {
        if let Some(lead) = self.lead {
            indent(self.out, self.depth);
            self.out.push_str(lead);
        }
        self.lead = Some(self.after_first);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.out.push(':');
        value.serialize(Value {
            out: self.out,
            place: Place::Entry(self.depth),
        })
    }
}

impl ser::SerializeStruct for Mapping<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Written {
        self.begin();
        emit_text(self.out, key);
        self.value(value)
    }

    fn end(self) -> Written {
        Ok(())
    }
}

impl ser::SerializeMap for Mapping<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        self.begin();
        key.serialize(Value {
            out: self.out,
            place: Place::Top,
        })?;
        // Keys are texts, and the value stands on the same line.
        self.out.pop();
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.value(value)
    }

    fn end(self) -> Written {
        Ok(())
    }
}

impl<'a> Value<'a> {
    /// The mapping in this place, on lines of its own where a key stands before it.
    fn mapping(mut self, is_empty: bool) -> Mapping<'a> {
        let (depth, lead, after_first) = match self.place {
            Place::Top => (0, Some(""), ""),
            Place::Entry(depth) => (depth + 1, Some(""), ""),
            Place::Item(depth) => (depth, None, "  "),
        };
        if is_empty {
            self.scalar(|out| out.push_str("{}"));
        } else if let Place::Entry(_) = self.place {
            self.out.push('\n');
        }
        Mapping {
            out: self.out,
            depth,
            lead,
            after_first,
        }
    }

    /// The list in this place.
    fn list(mut self, is_empty: bool) -> Result<List<'a>, Unwritable> {
        let depth = match self.place {
            Place::Top => 0,
            Place::Entry(depth) => depth + 1,
            Place::Item(depth) if is_empty => depth,
            Place::Item(_) => return unknown("a list in a list"),
        };
        if is_empty {
            self.scalar(|out| out.push_str("[]"));
        } else if let Place::Entry(_) = self.place {
            self.out.push('\n');
        }
        let out = self.out;
        Ok(List { out, depth })
    }
}

macro_rules! plain {
    ($($method:ident: $kind:ty),+) => {
        $(fn $method(self, value: $kind) -> Written {
            self.plain(value)
        })+
    };
}

impl<'a> Serializer for Value<'a> {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = List<'a>;
    type SerializeTuple = Impossible<(), Unwritable>;
    type SerializeTupleStruct = Impossible<(), Unwritable>;
    type SerializeTupleVariant = Impossible<(), Unwritable>;
    type SerializeMap = Mapping<'a>;
    type SerializeStruct = Mapping<'a>;
    type SerializeStructVariant = Impossible<(), Unwritable>;

    plain!(serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    plain!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_str(mut self, text: &str) -> Written {
        self.scalar(|out| emit_text(out, text));
        Ok(())
    }

    fn serialize_char(self, text: char) -> Written {
        self.serialize_str(text.encode_utf8(&mut [0; 4]))
    }

    fn serialize_f32(self, _: f32) -> Written {
        unknown("fractions")
    }

    fn serialize_f64(self, _: f64) -> Written {
        unknown("fractions")
    }

    fn serialize_bytes(self, _: &[u8]) -> Written {
        unknown("bytes")
    }

    fn serialize_none(self) -> Written {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.plain("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Written {
        unknown("variants")
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List<'a>, Unwritable> {
        self.list(length == Some(0))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unwritable> {
        unknown("tuples")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unwritable> {
        unknown("tuples")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unwritable> {
        unknown("tuples")
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Mapping<'a>, Unwritable> {
        Ok(self.mapping(length == Some(0)))
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Mapping<'a>, Unwritable> {
        Ok(self.mapping(length == 0))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unwritable> {
        unknown("variants")
    }
}
