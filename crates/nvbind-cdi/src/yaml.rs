//! YAML in and out.
//!
//! Reading is serde-saphyr's. Writing is done here: engines read specs with Go parsers of YAML 1.1 and 1.2, where a bare
//! `on`, `0`, `1:0` or `0x1` may be something else than text, so every text that is not plainly a word is quoted.

mod emit;

pub(crate) use emit::emit;

use crate::Spec;
use std::fmt::Write;

/// Words that some YAML version reads as a boolean or as null, in lower case.
const RESERVED: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~"];
/// Length of the longest of them.
const LONGEST_RESERVED: usize = 5;
/// Bytes that mean nothing in a word, by their value: a spec has ten thousands of them.
const SAFE: [bool; 256] = {
    let mut safe = [false; 256];
    let mut byte = 0;
    while byte < safe.len() {
        let is_other = matches!(byte as u8, b'/' | b'.' | b'_' | b'-' | b'=' | b':' | b'+' | b'@');
        safe[byte] = is_other || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    safe
};

pub(crate) fn parse(text: &str) -> Result<Spec, String> {
    serde_saphyr::from_str(text).map_err(|error| one_line(&error.to_string()))
}

/// The first line of a parser's message: what follows is a drawing of the text around it.
fn one_line(message: &str) -> String {
    message
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(':')
        .to_owned()
}

/// A text bare where no parser can take it for something else, otherwise in double quotes.
fn emit_text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    text.chars().for_each(|c| emit_char(out, c));
    out.push('"');
}

/// Words, paths, assignments and long options. What starts with a digit, a dot or a sign could be a number or a date.
fn is_plain(text: &str) -> bool {
    let first = text.strip_prefix("--").unwrap_or(text);
    let starts_like_a_word = first.starts_with(|c: char| c.is_ascii_alphabetic()) || text.starts_with('/');
    let is_reserved = || text.len() <= LONGEST_RESERVED && RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    // Without a way out at the first that is not safe: nearly all are, and so it is quicker.
    let is_safe = || text.bytes().fold(true, |safe, byte| safe & SAFE[usize::from(byte)]);
    starts_like_a_word && is_safe() && !text.ends_with(':') && !is_reserved()
}

/// A character within double quotes. All that is not printable ASCII is escaped: some of it breaks lines in YAML 1.1.
fn emit_char(out: &mut String, c: char) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        ' '..='~' => out.push(c),
        _ => {
            let code = u32::from(c);
            let escaped = if code <= 0xffff {
                write!(out, "\\u{code:04x}")
            } else {
                write!(out, "\\U{code:08x}")
            };
            // Writing to a String cannot fail.
            debug_assert!(escaped.is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_that_could_be_something_else_are_quoted() {
        let quoted = [
            "", "0", "1:0", "on", "Off", "y", "NO", "null", "~", "0x1f", "1e3", ".inf", "-1", "--1", "---", "a:",
            "a b", "#a",
        ];
        for text in quoted.into_iter().chain([
            "2024-01-01",
            "=",
            "<<",
            "*a",
            "&a",
            "!a",
            "- a",
            "@a",
            "`",
            "a: b",
            "1_000",
            "0o7",
        ]) {
            assert!(!is_plain(text), "{text}");
        }
        for text in [
            "gpu0",
            "all",
            "GPU-5d5b",
            "MIG-1",
            "/dev/nvidia0",
            "A=void",
            "--link=libcuda.so.1::/usr/lib/libcuda.so",
            "ro",
        ] {
            assert!(is_plain(text), "{text}");
        }
    }

    #[test]
    fn layout_is_that_of_the_go_emitters() {
        let value = json!({ "kind": "a/b", "devices": [{ "name": "0", "x": { "nodes": [{ "path": "/d", "gid": 44 }], "e": ["A=b", "c d"] } }], "z": [] });
        let expected = "---\nkind: a/b\ndevices:\n    - name: \"0\"\n      x:\n        nodes:\n            - path: /d\n              gid: 44\n        e:\n            - A=b\n            - \"c d\"\nz: []\n";
        assert_eq!(emit(&value).unwrap(), expected);
    }

    #[test]
    fn empty_and_single_values() {
        let value = json!([{}, { "a": {} }, [], 7, -1, true, null, "x"]);
        assert_eq!(
            emit(&value).unwrap(),
            "---\n- {}\n- a: {}\n- []\n- 7\n- -1\n- true\n- null\n- x\n"
        );
        assert!(emit(&json!([["nested"]])).is_err() && emit(&1.5).is_err());
    }

    #[test]
    fn bombs_are_refused() {
        let deep = format!("kind: {}", "[".repeat(100_000));
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let inner = vec![format!("*a{}", level - 1); 9].join(", ");
            laughs += &format!("a{level}: &a{level} [{inner}]\n");
        }
        for text in [deep, laughs, "kind: &a [*a]".to_owned()] {
            let error = parse(&text).unwrap_err();
            assert!(!error.is_empty() && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn unprintable_characters_are_escaped() {
        let mut out = String::new();
        emit_text(&mut out, "a\"\\\n\u{85}\u{2028}\u{1f600}");
        assert_eq!(out, r#""a\"\\\u000a\u0085\u2028\U0001f600""#);
    }
}
