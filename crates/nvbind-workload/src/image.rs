//! The name of an image.

use serde::Deserialize;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Prefixes that say "an OCI image layout at this path", as skopeo and podman write them.
const LAYOUT_PREFIXES: [&str; 2] = ["oci:", "oci-archive:"];

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// An OCI image layout: a folder, or a tar file of one.
    Layout {
        /// The folder or tar file.
        path: PathBuf,
        /// Which image of the layout (`org.opencontainers.image.ref.name`); `None` means its only one.
        reference: Option<String>,
    },
    /// A name for an engine or a registry, as `debian:12`.
    Name(String),
}

impl FromStr for ImageRef {
    type Err = Infallible;

    /// `oci:PATH[:REF]`, `oci-archive:PATH[:REF]`, a path that begins with `/`, `./` or `../`, else a name.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        for prefix in LAYOUT_PREFIXES {
            if let Some(rest) = text.strip_prefix(prefix) {
                return Ok(layout(rest));
            }
        }
        if ["/", "./", "../"].iter().any(|start| text.starts_with(start)) || text == "." || text == ".." {
            return Ok(Self::Layout {
                path: text.into(),
                reference: None,
            });
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// `PATH[:REF]`; a path that exists as written is not split.
fn layout(text: &str) -> ImageRef {
    let split = text.rsplit_once(':').filter(|(_, reference)| !reference.contains('/'));
    match split {
        Some((path, reference)) if !Path::new(text).exists() => ImageRef::Layout {
            path: path.into(),
            reference: Some(reference.to_owned()),
        },
        _ => ImageRef::Layout {
            path: text.into(),
            reference: None,
        },
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { path, reference: None } => write!(f, "oci:{}", path.display()),
            Self::Layout {
                path,
                reference: Some(reference),
            } => write!(f, "oci:{}:{reference}", path.display()),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[test]
    fn paths_and_prefixes_are_layouts_and_the_rest_are_names() {
        let layout = |path: &str, reference: Option<&str>| ImageRef::Layout {
            path: path.into(),
            reference: reference.map(str::to_owned),
        };
        assert_eq!(parse("oci:images/cuda"), layout("images/cuda", None));
        assert_eq!(parse("oci:images/cuda:12.4"), layout("images/cuda", Some("12.4")));
        assert_eq!(parse("oci-archive:/tmp/a.tar:x"), layout("/tmp/a.tar", Some("x")));
        assert_eq!(parse("./a.tar"), layout("./a.tar", None));
        assert_eq!(parse("debian:12"), ImageRef::Name("debian:12".into()));
        assert_eq!(parse("localhost:5000/a/b"), ImageRef::Name("localhost:5000/a/b".into()));
    }

    #[test]
    fn display_parses_back() {
        for text in ["oci:images/cuda:12.4", "oci:/a/b", "debian:12"] {
            assert_eq!(parse(&parse(text).to_string()), parse(text));
        }
    }
}
