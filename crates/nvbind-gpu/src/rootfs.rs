//! A foreign root: paths in it are those of a container, links in it never lead out of it.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// Most links that a path may go through, as in the kernel.
const MAX_LINKS: u32 = 40;
/// Bytes that one `getdents64` fills: a folder of a thousand names takes two calls.
const DIRECTORY_BUFFER: usize = 32 << 10;

/// A folder taken as `/`.
///
/// Paths given and returned are absolute paths inside it. An absolute link in it (Debian's alternatives) is
/// followed inside it, whatever the host has at that place.
pub(crate) struct RootFs {
    root: PathBuf,
    /// What folders resolved to; `None` for those that are not there.
    folders: RefCell<HashMap<PathBuf, Option<PathBuf>>>,
}

/// A name in a folder.
#[derive(Debug)]
pub(crate) struct Name {
    /// The name.
    pub(crate) name: OsString,
    /// Whether it is a symbolic link.
    pub(crate) is_link: bool,
}

impl RootFs {
    /// Takes a folder as root, which must be a folder that can be listed.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        rustix::fs::open(
            root,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            root: root.to_owned(),
            folders: RefCell::default(),
        })
    }

    /// Where a path inside the root lies on the host.
    pub(crate) fn host(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The path without links, if it exists.
    pub(crate) fn resolve(&self, path: &Path) -> Option<PathBuf> {
        self.follow(path, &mut { MAX_LINKS })
    }

    /// Like [`RootFs::resolve`] for folders, which are remembered: many files are looked for in each.
    pub(crate) fn resolve_folder(&self, path: &Path) -> Option<PathBuf> {
        self.folder(path, &mut { MAX_LINKS })
    }

    /// The text of a link.
    pub(crate) fn read_link(&self, path: &Path) -> Option<PathBuf> {
        read_link(&self.host(path)).ok().flatten()
    }

    /// The names in a folder; none when it is not there.
    pub(crate) fn names(&self, folder: &Path) -> Vec<Name> {
        list(&self.host(folder)).unwrap_or_default()
    }

    fn folder(&self, path: &Path, links: &mut u32) -> Option<PathBuf> {
        if let Some(known) = self.folders.borrow().get(path) {
            return known.clone();
        }
        let found = self.follow(path, links);
        self.folders.borrow_mut().insert(path.to_owned(), found.clone());
        found
    }

    fn follow(&self, path: &Path, links: &mut u32) -> Option<PathBuf> {
        let Some(parent) = path.parent() else {
            return Some(PathBuf::from("/"));
        };
        let folder = self.folder(parent, links)?;
        let name = match path.components().next_back()? {
            Component::ParentDir => return Some(folder.parent().unwrap_or(Path::new("/")).to_owned()),
            Component::Normal(name) => name,
            _ => return Some(folder),
        };
        let real = folder.join(name);
        let Some(target) = read_link(&self.host(&real)).ok()? else {
            return Some(real);
        };
        *links = links.checked_sub(1)?;
        // Joining an absolute target replaces the folder: it counts from the root.
        self.follow(&folder.join(target), links)
    }
}

/// The text of a link, `None` for what is not a link.
fn read_link(host: &Path) -> Result<Option<PathBuf>, Errno> {
    match rustix::fs::readlink(host, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in a folder of the host, in the order of the file system.
pub(crate) fn list(folder: &Path) -> Result<Vec<Name>, Errno> {
    let fd = rustix::fs::open(
        folder,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER];
    let mut entries = RawDir::new(&fd, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if matches!(bytes, b"." | b"..") {
            continue;
        }
        let is_link = match entry.file_type() {
            FileType::Symlink => true,
            // Some file systems do not say.
            FileType::Unknown => is_link(&fd, entry.file_name()),
            _ => false,
        };
        names.push(Name {
            name: OsString::from_vec(bytes.to_vec()),
            is_link,
        });
    }
    Ok(names)
}

fn is_link(folder: impl rustix::fd::AsFd, name: &std::ffi::CStr) -> bool {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, RootFs) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/lib/real")).unwrap();
        fs::create_dir_all(root.join("etc/alternatives")).unwrap();
        fs::write(root.join("usr/lib/real/x.so.5"), "").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/etc/alternatives/x", root.join("usr/lib/x.so")).unwrap();
        symlink("/usr/lib/real/x.so.5", root.join("etc/alternatives/x")).unwrap();
        symlink("../../../../../../usr/lib/real/x.so.5", root.join("usr/lib/up.so")).unwrap();
        symlink("loop.so", root.join("usr/lib/loop.so")).unwrap();
        symlink("/etc/hostname", root.join("usr/lib/outside.so")).unwrap();
        let rootfs = RootFs::open(root).unwrap();
        (dir, rootfs)
    }

    #[test]
    fn links_stay_inside_the_root() {
        let (_dir, root) = root();
        let real = Some(PathBuf::from("/usr/lib/real/x.so.5"));
        for path in [
            "/usr/lib/real/x.so.5",
            "/lib/real/x.so.5",
            "/lib/x.so",
            "/lib/up.so",
            "/usr/lib/../lib/x.so",
        ] {
            assert_eq!(root.resolve(Path::new(path)), real, "{path}");
        }
        for path in [
            "/usr/lib/loop.so",
            "/usr/lib/outside.so",
            "/nowhere/x",
            "/usr/lib/real/x.so.5/y",
        ] {
            assert_eq!(root.resolve(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn a_folder_lists_its_names_and_says_which_are_links() {
        let (_dir, root) = root();
        let mut names: Vec<(OsString, bool)> = root
            .names(Path::new("/usr/lib"))
            .into_iter()
            .map(|name| (name.name, name.is_link))
            .collect();
        names.sort();
        let expected = [
            ("loop.so", true),
            ("outside.so", true),
            ("real", false),
            ("up.so", true),
            ("x.so", true),
        ];
        assert_eq!(names, expected.map(|(name, link)| (OsString::from(name), link)));
        assert!(root.names(Path::new("/nowhere")).is_empty());
    }
}
