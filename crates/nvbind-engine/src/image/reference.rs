//! The name of an image in a registry, as docker writes it: `debian:12`, `localhost:5000/x@sha256:...`.
//!
//! The grammar is that of the OCI distribution specification ("Pulling manifests"); what is left out is filled in as docker does:
//! `docker.io`, `library/`, `latest`.

use crate::image::Error;
use crate::image::blob::Digest;
use std::fmt;

const DEFAULT_REGISTRY: &str = "docker.io";
/// Other name of the default registry, as old configuration files have it.
const LEGACY_REGISTRY: &str = "index.docker.io";
/// Where the default registry keeps images without a folder.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Longest name without tag and digest, in bytes.
const NAME_LIMIT: usize = 255;
/// Longest tag in bytes.
const TAG_LIMIT: usize = 128;

/// The name of an image in a registry, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `host[:port]`.
    pub registry: String,
    /// Path below the registry.
    pub repository: String,
    /// The tag; `None` where only a digest is named.
    pub tag: Option<String>,
    /// The digest of the manifest, where it is named; it wins over the tag.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a name and completes it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |why| Error::Name {
            name: Error::words(text),
            why,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| Digest::parse(digest).is_none()) {
            return Err(refused("after '@' comes sha256: and 64 digits of 0-9 and a-f"));
        }
        let (name, tag) = split_tag(rest);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refused("a tag has letters, digits, '_', '.' and '-', at most 128"));
        }
        let (registry, repository) = split_registry(name);
        if !is_registry(registry) {
            return Err(refused("the registry is no host name with or without a port"));
        }
        let repository = match registry == DEFAULT_REGISTRY && !repository.contains('/') {
            true => format!("{OFFICIAL}{repository}"),
            false => repository.to_owned(),
        };
        if !repository.split('/').all(is_component) || name.len() > NAME_LIMIT {
            return Err(refused(
                "a name has lower-case letters and digits, in between '.', '_', '-' and '/', at most 255",
            ));
        }
        let tag = tag.or(Some(DEFAULT_TAG).filter(|_| digest.is_none()));
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// A colon after the last slash begins a tag; one before it begins a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// The first part is a registry when it looks like a host: docker's rule.
fn split_registry(name: &str) -> (&str, &str) {
    let is_host =
        |first: &str| first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase);
    match name.split_once('/') {
        Some((LEGACY_REGISTRY, rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    (is_address || host.split('.').all(is_label)) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.starts_with(word) && tag.len() <= TAG_LIMIT && tag.chars().all(|c| word(c) || ".-".contains(c))
}

/// Letters and digits, in between one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let ordinary = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators: Vec<&str> = text.split(ordinary).filter(|part| !part.is_empty()).collect();
    let is_separator = |part: &&str| matches!(*part, "." | "_" | "__") || part.chars().all(|c| c == '-');
    text.starts_with(ordinary) && text.ends_with(ordinary) && separators.iter().all(is_separator)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, complete) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("nvidia/cuda:12.4.1-base", "docker.io/nvidia/cuda:12.4.1-base"),
            ("index.docker.io/library/x:1", "docker.io/library/x:1"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/a/b__c/d--e:1_2", "localhost:5000/a/b__c/d--e:1_2"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            ("nvcr.io/nvidia/pytorch:24.01-py3", "nvcr.io/nvidia/pytorch:24.01-py3"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), complete, "{text}");
        }
        let digest = format!("debian@{DIGEST}");
        assert_eq!(
            Reference::parse(&digest).unwrap().to_string(),
            format!("docker.io/library/{digest}")
        );
        let both = format!("localhost:5000/x:1@{DIGEST}");
        assert_eq!(Reference::parse(&both).unwrap().to_string(), both);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            ":",
            "a b",
            "Debian",
            "debian:",
            "debian:-x",
            "a//b",
            "a/",
            "/a",
            "x@sha256:12",
            "x@sha512:aa",
            "a..b",
            "a___b",
            "a_",
            "host:99999/x",
            "../x",
            "ho st/x",
            "-h.x/y",
            "a\n",
            "x:1@",
            "http://x/y",
        ] {
            let error = Reference::parse(text).expect_err(text).to_string();
            assert_eq!(error.lines().count(), 1, "{text}");
        }
        assert!(Reference::parse(&"a/".repeat(200)).is_err());
    }
}
