//! The files of a layout, in a folder or in a tar file that is read where it lies.

use crate::image::Error;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

/// Offset and length of the content of each file in a tar file.
type Members = HashMap<PathBuf, (u64, u64)>;

/// Two blocks of zeros end a tar file (POSIX.1-2001, pax interchange format).
const END: usize = 1024;

/// Where the files of a layout lie.
pub(super) enum Source {
    /// In a folder.
    Folder(PathBuf),
    /// In a tar file: offset and length of each member's content.
    Tar {
        path: PathBuf,
        file: File,
        members: Members,
    },
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
            _ => Error::io(path, "cannot be read")(source),
        })?;
        if metadata.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let file = File::open(path).map_err(Error::io(path, "cannot be opened"))?;
        let members = index(path, &file)?;
        let path = path.to_owned();
        Ok(Self::Tar { path, file, members })
    }

    /// The folder or tar file.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Tar { path, .. } => path,
        }
    }

    /// Size of a file in bytes; `None` when there is none.
    pub(super) fn size(&self, file: &Path) -> Option<u64> {
        match self {
            Self::Folder(folder) => Some(std::fs::metadata(folder.join(below(file))).ok()?.len()),
            Self::Tar { members, .. } => members.get(&below(file)).map(|(_, size)| *size),
        }
    }

    /// A reader of a file; `None` when there is none.
    pub(super) fn read(&self, file: &Path) -> Result<Option<Box<dyn Read + Send + '_>>, Error> {
        let file = below(file);
        match self {
            Self::Folder(folder) => match File::open(folder.join(&file)) {
                Ok(opened) => Ok(Some(Box::new(opened))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::io(folder, format!("cannot open {}", file.display()))(error)),
            },
            Self::Tar { file: tar, members, .. } => {
                let section = members.get(&file).map(|(offset, left)| Section {
                    file: tar,
                    offset: *offset,
                    left: *left,
                });
                Ok(section.map(|section| Box::new(section) as _))
            }
        }
    }
}

/// A path without anything that leads out of the layout; `..` takes the part before it away.
fn below(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    clean
}

/// Finds the files of a tar file. One that was cut off is told apart from one that never was an image.
fn index(path: &Path, file: &File) -> Result<Members, Error> {
    let length = file.metadata().map_err(Error::io(path, "cannot be read"))?.len();
    let truncated = || Error::Truncated {
        path: path.to_owned(),
        length,
    };
    let mut members = Members::new();
    let mut entries = 0;
    let read = read_members(file, &mut members, &mut entries);
    let is_cut = members
        .values()
        .any(|(offset, size)| offset.saturating_add(*size) > length);
    // The words of the tar reader are about bytes that are no tar: they help nobody.
    match read {
        _ if is_cut => Err(truncated()),
        Err(_) if entries == 0 => Err(Error::NotAnImage { path: path.to_owned() }),
        Err(_) => Err(truncated()),
        Ok(()) if !names_an_image(&members) && !ends_as_it_should(file, length) => Err(truncated()),
        Ok(()) => Ok(members),
    }
}

fn names_an_image(members: &Members) -> bool {
    ["index.json", "manifest.json"]
        .iter()
        .any(|name| members.contains_key(Path::new(name)))
}

/// Whether the marks of a tar file's end are there; a file without any member is no tar that was cut.
fn ends_as_it_should(file: &File, length: u64) -> bool {
    let mut end = [0u8; END];
    let Some(offset) = length.checked_sub(END as u64).filter(|offset| *offset > 0) else {
        return true;
    };
    file.read_exact_at(&mut end, offset).is_ok() && end.iter().all(|byte| *byte == 0)
}

fn read_members(mut file: &File, members: &mut Members, entries: &mut usize) -> io::Result<()> {
    let mut links = Vec::new();
    let mut archive = tar::Archive::new(&mut file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        *entries += 1;
        let path = below(&entry.path()?);
        if entry.header().entry_type().is_file() {
            members.insert(path, (entry.raw_file_position(), entry.size()));
        } else if let Some(target) = entry.link_name()?.filter(|_| entry.header().entry_type().is_symlink()) {
            // `docker save` writes a layer that comes again as a link to the first.
            let parent = path.parent().unwrap_or(Path::new(""));
            links.push((below(&parent.join(target)), path));
        }
    }
    for (target, path) in links {
        members.get(&target).copied().map(|place| members.insert(path, place));
    }
    Ok(())
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if length == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_layout() {
        for (path, clean) in [
            ("a/../../../etc/x", "etc/x"),
            ("/a/./b", "a/b"),
            ("l1/../l0/layer.tar", "l0/layer.tar"),
        ] {
            assert_eq!(below(Path::new(path)), Path::new(clean));
        }
    }
}
