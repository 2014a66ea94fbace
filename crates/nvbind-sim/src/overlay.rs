//! A real user-space driver, unpacked into a folder, that is laid over the simulated one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use crate::Error;
use crate::elf::Class;

/// Top folders of an unpacked package that belong to a driver.
const FOLDERS: &[&str] = &["usr", "etc", "lib"];
/// Folders below `usr/share` that no program reads.
const UNUSED: &[&str] = &["usr/share/doc", "usr/share/man", "usr/share/bug", "usr/share/lintian"];
/// Our own library stands in for this one.
const REPLACED: &str = "libnvidia-ml.so";

/// The files of an unpacked driver.
#[derive(Debug)]
pub(crate) struct Overlay {
    path: PathBuf,
    /// Paths below `path` of everything that is not a folder.
    files: Vec<PathBuf>,
    /// Driver version.
    pub(crate) version: String,
    names: BTreeSet<String>,
    names_32: BTreeSet<String>,
}

impl Overlay {
    /// Looks through the folder.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let bad = |reason: &str| Error::BadOverlay {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if !path.is_dir() {
            return Err(bad(
                "there is no such folder: unpack a driver there with scripts/fetch-driver.sh",
            ));
        }
        let mut files = Vec::new();
        for folder in FOLDERS.iter().filter(|folder| path.join(folder).is_dir()) {
            walk(path, Path::new(folder), &mut files)?;
        }
        let version = version_of_names(&files).or_else(|| version_of_program(path, &files));
        let version =
            version.ok_or_else(|| bad("it holds no driver library and no nvidia-smi to tell its version by"))?;
        let is_32 = |file: &&PathBuf| file.starts_with("usr/lib/i386-linux-gnu");
        let name = |file: &PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names = files.iter().filter(|file| !is_32(file)).map(name).collect();
        let names_32 = files.iter().filter(is_32).map(name).collect();
        Ok(Self {
            path: path.to_owned(),
            files,
            version,
            names,
            names_32,
        })
    }

    /// Whether it brings a library with this file name.
    pub(crate) fn has_library(&self, class: Class, name: &str) -> bool {
        match class {
            Class::Elf64 => self.names.contains(name),
            Class::Elf32 => self.names_32.contains(name),
        }
    }

    /// Whether it brings any file with this name.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The file of that name.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        let named = self
            .files
            .iter()
            .filter(|file| file.file_name().is_some_and(|n| n == name));
        let mut paths = named.map(|file| self.path.join(file));
        paths.find(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()))
    }

    /// Puts its files into `root`: hard links where the file system allows it, copies elsewhere.
    pub(crate) fn lay(&self, root: &Path) -> Result<(), Error> {
        let replaced = |file: &&PathBuf| !file.file_name().is_some_and(|name| starts_with(name, REPLACED));
        self.files
            .iter()
            .filter(replaced)
            .try_for_each(|file| self.lay_file(root, file))
    }

    fn lay_file(&self, root: &Path, file: &Path) -> Result<(), Error> {
        let (from, to) = (self.path.join(file), root.join(file));
        let folder = to.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        if let Ok(target) = fs::read_link(&from) {
            return symlink(inside(file, &target), &to).map_err(Error::io("link", &to));
        }
        match rustix::fs::link(&from, &to) {
            Ok(()) => Ok(()),
            Err(Errno::XDEV | Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                fs::copy(&from, &to).map(drop).map_err(Error::io("copy", &from))
            }
            Err(error) => Err(Error::io("link", &to)(error)),
        }
    }
}

/// The target of a link at `file` so that it stays below the root: absolute targets, as those of Debian's
/// alternatives, are meant from the root and become relative.
fn inside(file: &Path, target: &Path) -> PathBuf {
    let Ok(below) = target.strip_prefix("/") else {
        return target.to_owned();
    };
    let depth = file.components().count().saturating_sub(1);
    std::iter::repeat_n(Component::ParentDir, depth)
        .map(|up| PathBuf::from(up.as_os_str()))
        .collect::<PathBuf>()
        .join(below)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    if UNUSED.iter().any(|unused| folder == Path::new(unused)) {
        return Ok(());
    }
    let full = root.join(folder);
    for entry in fs::read_dir(&full).map_err(Error::io("read", &full))? {
        let entry = entry.map_err(Error::io("read", &full))?;
        let kind = entry.file_type().map_err(Error::io("read", &full))?;
        let path = folder.join(entry.file_name());
        if kind.is_dir() {
            walk(root, &path, files)?;
        } else if kind.is_file() || kind.is_symlink() {
            files.push(path);
        }
    }
    Ok(())
}

/// The version in the name of `libcuda.so.535.309.01` or `libnvidia-ml.so.535.309.01`.
fn version_of_names(files: &[PathBuf]) -> Option<String> {
    files.iter().find_map(|file| {
        let name = file.file_name()?.to_str()?;
        let version = name
            .strip_prefix("libcuda.so.")
            .or_else(|| name.strip_prefix("libnvidia-ml.so."))?;
        is_version(version).then(|| version.to_owned())
    })
}

/// The version that `nvidia-smi` has in it as a string of its own.
fn version_of_program(root: &Path, files: &[PathBuf]) -> Option<String> {
    let program = files.iter().find(|file| file.ends_with("nvidia-smi"))?;
    let bytes = fs::read(root.join(program)).ok()?;
    let strings = bytes
        .split(|&byte| byte == 0)
        .filter_map(|string| std::str::from_utf8(string).ok());
    strings.filter(|string| is_version(string)).map(str::to_owned).next()
}

/// `535.309.01`: a driver branch of three digits and one or two more numbers.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let numbers = parts
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    (2..=3).contains(&parts.len()) && parts[0].len() == 3 && numbers
}

fn starts_with(name: &OsStr, prefix: &str) -> bool {
    name.to_string_lossy().starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_links_stay_below_the_root() {
        let target = inside(
            Path::new("usr/bin/nvidia-smi"),
            Path::new("/etc/alternatives/nvidia--nvidia-smi"),
        );
        assert_eq!(target, Path::new("../../etc/alternatives/nvidia--nvidia-smi"));
        assert_eq!(
            inside(Path::new("usr/lib/x"), Path::new("current/x")),
            Path::new("current/x")
        );
    }

    #[test]
    fn versions_are_told_from_other_numbers() {
        assert!(is_version("535.309.01") && is_version("570.124"));
        assert!(!is_version("1.1.11") && !is_version("535") && !is_version("535..01") && !is_version("535.1a"));
    }
}
