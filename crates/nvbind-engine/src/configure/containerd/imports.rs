//! The files that containerd's configuration is made of.

use super::super::document::{Document, Format, key_path};
use super::super::{Error, file};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The main file and what it imports, in containerd's order.
pub(super) struct Files {
    /// The main file.
    pub(super) config: PathBuf,
    /// What it says; `None` when it is not there.
    pub(super) main: Option<Box<dyn Document>>,
    /// Where our own file is or would be.
    pub(super) drop_in: PathBuf,
    /// The others, in the order in which they count.
    imported: Vec<(PathBuf, Box<dyn Document>)>,
    patterns: Vec<PathBuf>,
}

impl Files {
    pub(super) fn read(config: &Path, drop_in: &Path) -> Result<Self, Error> {
        let main = match file::read(config)? {
            Some(text) => Some(Format::Toml.parse(config, &text)?),
            None => None,
        };
        let patterns = main
            .as_ref()
            .map(|main| patterns(config, main.as_ref()))
            .unwrap_or_default();
        let mut imported = Vec::new();
        for path in patterns.iter().flat_map(|pattern| expand(pattern)) {
            let text = file::read(&path)?.unwrap_or_default();
            imported.push((path.clone(), Format::Toml.parse(&path, &text)?));
        }
        Ok(Self {
            config: config.to_owned(),
            main,
            drop_in: drop_in.to_owned(),
            imported,
            patterns,
        })
    }

    /// The file whose section counts where sections are not merged: the last one that has it. Not our own.
    pub(super) fn holder(&self, section: &[String]) -> Option<&Path> {
        let main = self.main.iter().map(|main| (&self.config, main));
        let imported = self.imported.iter().map(|(path, document)| (path, document));
        let mut others = main.chain(imported).filter(|(path, _)| **path != self.drop_in);
        let mut found = None;
        for (path, document) in &mut others {
            if document.get(section).is_some() {
                found = Some(path.as_path());
            }
        }
        found
    }

    /// The section that counts, without what our own file says.
    pub(super) fn section(&self, section: &[String]) -> Option<Value> {
        let holder = self.holder(section)?;
        if holder == self.config {
            return self.main.as_ref()?.get(section);
        }
        let (_, document) = self.imported.iter().rev().find(|(path, _)| path == holder)?;
        document.get(section)
    }

    /// Whether the main file imports that file already.
    pub(super) fn imports(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| is_meant(pattern, path))
    }
}

/// The patterns of the files that a file imports; a relative one starts at the file's folder.
pub(super) fn patterns(config: &Path, document: &dyn Document) -> Vec<PathBuf> {
    let imports = document.get(&key_path(["imports"])).unwrap_or_default();
    let folder = config.parent().unwrap_or(Path::new("/"));
    let patterns = imports.as_array().into_iter().flatten().filter_map(Value::as_str);
    patterns.map(|pattern| folder.join(pattern)).collect()
}

/// The files that a pattern means, sorted. containerd's patterns (Go's `filepath.Glob`) are used with stars in the file's
/// name, and understood as far as that.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let entries = pattern.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_meant(pattern, path) && path.is_file())
        .collect();
    paths.sort();
    paths
}

/// Whether a pattern means that file.
pub(super) fn is_meant(pattern: &Path, path: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    pattern.parent() == path.parent() && matches_stars(&name(pattern), &name(path))
}

/// `*` is any number of characters.
fn matches_stars(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_globs_do() {
        let table = [
            ("/c/conf.d/*.toml", "/c/conf.d/99-nvbind.toml", true),
            ("/c/conf.d/*.toml", "/c/conf.d/99-nvbind.conf", false),
            ("/c/conf.d/*.toml", "/c/99-nvbind.toml", false),
            ("/c/99-nvbind.toml", "/c/99-nvbind.toml", true),
            ("/c/9*-nv*.toml", "/c/99-nvbind.toml", true),
            ("/c/9*-nv*.toml", "/c/9.toml", false),
            ("/c/*", "/c/x", true),
        ];
        for (pattern, path, wanted) in table {
            assert_eq!(
                is_meant(Path::new(pattern), Path::new(path)),
                wanted,
                "{pattern} {path}"
            );
        }
    }
}
