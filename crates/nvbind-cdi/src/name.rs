//! Names of vendors, classes and devices (CDI SPEC.md, "Kind" and "CDI Devices").

use std::fmt;

/// A device name with its kind: `nvidia.com/gpu=0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QualifiedName<'a> {
    /// `nvidia.com`
    pub vendor: &'a str,
    /// `gpu`
    pub class: &'a str,
    /// `0`
    pub device: &'a str,
}

impl<'a> QualifiedName<'a> {
    /// Reads `vendor/class=device`; `None` for anything else.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (kind, device) = text.split_once('=')?;
        let (vendor, class) = split_kind(kind)?;
        is_device(device).then_some(Self { vendor, class, device })
    }
}

impl fmt::Display for QualifiedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}={}", self.vendor, self.class, self.device)
    }
}

/// Vendor and class of a kind, when both are valid.
pub(crate) fn split_kind(kind: &str) -> Option<(&str, &str)> {
    let (vendor, class) = kind.split_once('/')?;
    (is_vendor_or_class(vendor) && is_vendor_or_class(class)).then_some((vendor, class))
}

/// A letter first, a letter or digit last, `-`, `_` and `.` between.
pub(crate) fn is_vendor_or_class(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && is_word(name, "-_.")
}

/// A letter or digit first and last, `-`, `_`, `.` and `:` between.
pub(crate) fn is_device(name: &str) -> bool {
    is_word(name, "-_.:")
}

/// Letters and digits, with `marks` allowed between the first and the last.
pub(crate) fn is_word(name: &str, marks: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(name.chars().next()) && edge(name.chars().next_back()) && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualified_names() {
        for name in [
            "nvidia.com/gpu=0",
            "nvidia.com/gpu=1:0",
            "a/b.c=GPU-5d5ba0d6",
            "v_1.x/c-d=all",
        ] {
            assert_eq!(QualifiedName::parse(name).unwrap().to_string(), name);
        }
        let bad = [
            "",
            "0",
            "gpu=0",
            "nvidia.com/gpu",
            "nvidia.com/gpu=",
            "/gpu=0",
            "1a/gpu=0",
            "a./gpu=0",
            "a/b/c=0",
        ];
        for name in bad
            .into_iter()
            .chain(["a/b=0=1", "a/b=-0", "a/b=0:", "a/b=ä", "a/b=x y"])
        {
            assert_eq!(QualifiedName::parse(name), None, "{name}");
        }
    }
}
