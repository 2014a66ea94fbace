//! A foreign root: paths in it are those of a container, links in it never lead out of it.

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Most links that a path may go through, as in the kernel.
const MAX_LINKS: u32 = 40;
/// Bytes for the text of a link: `PATH_MAX` and one more.
const LINK_BUFFER: usize = 4097;
/// Bytes that one `getdents64` fills: a folder of a thousand names takes two calls.
const DIRECTORY_BUFFER: usize = 32 << 10;

/// A map by paths as bytes, which compare and hash quicker than paths do. The names are those of a host's own driver:
/// nobody makes them collide. Entries lie side by side as they came: fewer pages are touched, and they are nearly sorted.
pub(crate) type ByPath<T> = IndexMap<OsString, T, FixedState>;

/// A map with room for the paths of a driver.
pub(crate) fn by_path<T>() -> ByPath<T> {
    /// Links and folders of a driver with 32-bit libraries, the paths that were asked for in vain not counted.
    const USUAL: usize = 256;
    ByPath::with_capacity_and_hasher(USUAL, FixedState::default())
}

/// A folder taken as `/`.
///
/// Paths given and returned are absolute paths inside it. An absolute link in it (Debian's alternatives) is
/// followed inside it, whatever the host has at that place.
pub(crate) struct RootFs {
    /// The folder, opened: calls that start from it need not go through the path to it each time.
    folder: OwnedFd,
    /// Its path without a slash at its end.
    root: Vec<u8>,
    /// What paths resolved to; `None` for those that are not there.
    resolved: RefCell<ByPath<Option<Rc<Path>>>>,
    /// The texts of links.
    links: RefCell<ByPath<PathBuf>>,
    /// The shared objects of folders that were listed, whose paths have no links.
    listed: RefCell<ByPath<Rc<[Name]>>>,
    /// Room for the entries of a folder, taken once for all of them.
    entries: RefCell<Vec<u8>>,
}

/// A name in a folder.
#[derive(Debug)]
pub(crate) struct Name {
    /// The name.
    pub(crate) name: OsString,
    /// Whether it is a symbolic link.
    pub(crate) is_link: bool,
}

/// A path without links: one that is remembered, or one that nobody has yet.
enum Found {
    Known(Rc<Path>),
    New(PathBuf),
}

impl Found {
    fn shared(self) -> Rc<Path> {
        match self {
            Self::Known(path) => path,
            Self::New(path) => path.into(),
        }
    }

    fn into_path(self) -> PathBuf {
        match self {
            Self::Known(path) => path.to_path_buf(),
            Self::New(path) => path,
        }
    }
}

/// What a name in a folder stands for.
enum Entry {
    Missing,
    Link(PathBuf),
    Other,
}

/// What is known of a name without asking the file system.
enum Known {
    Nothing,
    Missing,
    Link,
    Other,
}

impl RootFs {
    /// Takes a folder as root, which must be a folder that can be listed.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let folder = open_folder(CWD, root)?;
        let mut root = root.as_os_str().as_bytes();
        while let [rest @ .., b'/'] = root {
            root = rest;
        }
        Ok(Self {
            folder,
            root: root.to_owned(),
            resolved: RefCell::new(by_path()),
            links: RefCell::new(by_path()),
            listed: RefCell::default(),
            entries: RefCell::new(Vec::with_capacity(DIRECTORY_BUFFER)),
        })
    }

    /// Where a path inside the root lies on the host.
    pub(crate) fn host(&self, path: &Path) -> PathBuf {
        let path = path.as_os_str().as_bytes();
        path_of(&self.root, path.strip_prefix(b"/").unwrap_or(path))
    }

    /// The path without links, if it exists. Where folders and links lead is remembered.
    pub(crate) fn resolve(&self, path: &Path) -> Option<PathBuf> {
        self.follow(path, &mut { MAX_LINKS }).map(Found::into_path)
    }

    /// The text of a link.
    pub(crate) fn read_link(&self, path: &Path) -> Option<PathBuf> {
        if let Some(known) = self.links.borrow().get(path.as_os_str()) {
            return Some(known.clone());
        }
        let text = read_link(&self.folder, path).ok().flatten()?;
        self.links
            .borrow_mut()
            .insert(path.as_os_str().to_owned(), text.clone());
        Some(text)
    }

    /// The names in a folder; none when it is not there.
    pub(crate) fn names(&self, folder: &Path) -> Vec<Name> {
        self.list(folder, |_| true).unwrap_or_default()
    }

    /// The shared objects (`*.so*`) in a folder without links in its path, sorted; none when it is not there.
    ///
    /// From then on their kinds are known: paths to them are resolved without asking for each.
    pub(crate) fn shared_objects(&self, folder: &Path) -> Rc<[Name]> {
        if let Some(known) = self.listed.borrow().get(folder.as_os_str()) {
            return known.clone();
        }
        let Ok(mut names) = self.list(folder, is_shared_object) else {
            return Rc::default();
        };
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let names: Rc<[Name]> = names.into();
        self.listed
            .borrow_mut()
            .insert(folder.as_os_str().to_owned(), names.clone());
        names
    }

    fn list(&self, folder: &Path, wanted: fn(&[u8]) -> bool) -> Result<Vec<Name>, Errno> {
        let folder = open_folder(&self.folder, below(folder))?;
        names_of(&folder, &mut self.entries.borrow_mut(), wanted)
    }

    fn folder(&self, path: &Path, links: &mut u32) -> Option<Rc<Path>> {
        if let Some(known) = self.resolved.borrow().get(path.as_os_str()) {
            return known.clone();
        }
        let found = self.follow(path, links).map(Found::shared);
        self.remember(path.as_os_str().to_owned(), &found);
        found
    }

    fn remember(&self, path: OsString, found: &Option<Rc<Path>>) {
        self.resolved.borrow_mut().insert(path, found.clone());
    }

    fn follow(&self, path: &Path, links: &mut u32) -> Option<Found> {
        let Some((parent, name)) = split(path) else {
            return Some(Found::New(PathBuf::from("/")));
        };
        let folder = self.folder(parent, links)?;
        match name.as_bytes() {
            b"" | b"." => return Some(Found::Known(folder)),
            b".." => return Some(Found::New(folder.parent().unwrap_or(Path::new("/")).to_owned())),
            _ => (),
        }
        let real = join(&folder, name);
        if let Some(known) = self.resolved.borrow().get(real.as_os_str()) {
            return known.clone().map(Found::Known);
        }
        match self.entry(&folder, name, &real) {
            Entry::Missing => None,
            Entry::Other => Some(Found::New(real)),
            Entry::Link(target) => {
                *links = links.checked_sub(1)?;
                // An absolute target counts from the root.
                let found = match target.as_os_str().as_bytes().starts_with(b"/") {
                    true => self.follow(&target, links),
                    false => self.follow(&join(&folder, target.as_os_str()), links),
                };
                let found = found.map(Found::shared);
                self.remember(real.into(), &found);
                found.map(Found::Known)
            }
        }
    }

    /// What `name` in `folder` is; `real` is the path of both.
    fn entry(&self, folder: &Path, name: &OsStr, real: &Path) -> Entry {
        match self.known(folder, name) {
            Known::Missing => return Entry::Missing,
            Known::Other => return Entry::Other,
            Known::Link | Known::Nothing => (),
        }
        match read_link(&self.folder, real) {
            Ok(Some(target)) => {
                let key = real.as_os_str().to_owned();
                self.links.borrow_mut().insert(key, target.clone());
                Entry::Link(target)
            }
            Ok(None) => Entry::Other,
            Err(_) => Entry::Missing,
        }
    }

    fn known(&self, folder: &Path, name: &OsStr) -> Known {
        if !is_shared_object(name.as_bytes()) {
            return Known::Nothing;
        }
        let listed = self.listed.borrow();
        let Some(names) = listed.get(folder.as_os_str()) else {
            return Known::Nothing;
        };
        match names.binary_search_by(|other| other.name.as_os_str().cmp(name)) {
            Ok(index) if names[index].is_link => Known::Link,
            Ok(_) => Known::Other,
            Err(_) => Known::Missing,
        }
    }
}

/// The folder of a path and the name in it, without looking at the name; `None` for the root.
///
/// As `parent` and `file_name` would tell, which go through the parts of a path and are too slow for a thousand of them.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let path = path.as_os_str().as_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    if path.len() == 1 {
        return None;
    }
    let folder = &path[..slash.max(1)];
    Some((
        Path::new(OsStr::from_bytes(folder)),
        OsStr::from_bytes(&path[slash + 1..]),
    ))
}

/// The path of a name in a folder.
pub(crate) fn join(folder: &Path, name: &OsStr) -> PathBuf {
    let folder = folder.as_os_str().as_bytes();
    path_of(folder.strip_suffix(b"/").unwrap_or(folder), name.as_bytes())
}

fn path_of(folder: &[u8], rest: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(folder.len() + 1 + rest.len());
    path.extend_from_slice(folder);
    path.push(b'/');
    path.extend_from_slice(rest);
    OsString::from_vec(path).into()
}

fn is_shared_object(name: &[u8]) -> bool {
    name.windows(3).any(|part| part == b".so")
}

/// The text of a link, `None` for what is not a link.
fn read_link(root: &OwnedFd, path: &Path) -> Result<Option<PathBuf>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); LINK_BUFFER];
    let (text, rest) = match rustix::fs::readlinkat_raw(root, below(path), &mut buffer) {
        Ok(read) => read,
        Err(Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error),
    };
    if rest.is_empty() {
        // The kernel allows no longer one.
        return Err(Errno::NAMETOOLONG);
    }
    Ok(Some(OsString::from_vec(text.to_vec()).into()))
}

/// A path inside the root as seen from the root's folder.
fn below(path: &Path) -> &Path {
    match path.as_os_str().as_bytes().strip_prefix(b"/") {
        Some(b"") => Path::new("."),
        Some(rest) => Path::new(OsStr::from_bytes(rest)),
        None => path,
    }
}

fn open_folder(from: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(from, path, flags, Mode::empty())
}

/// The names in a folder of the host, in the order of the file system.
pub(crate) fn list(folder: &Path) -> Result<Vec<Name>, Errno> {
    let mut buffer = Vec::with_capacity(DIRECTORY_BUFFER);
    names_of(&open_folder(CWD, folder)?, &mut buffer, |_| true)
}

/// The names in an open folder; `buffer` is empty and has room.
fn names_of(fd: &OwnedFd, buffer: &mut Vec<u8>, wanted: fn(&[u8]) -> bool) -> Result<Vec<Name>, Errno> {
    let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if matches!(bytes, b"." | b"..") || !wanted(bytes) {
            continue;
        }
        let is_link = match entry.file_type() {
            FileType::Symlink => true,
            // Some file systems do not say.
            FileType::Unknown => is_link(fd, entry.file_name()),
            _ => false,
        };
        names.push(Name {
            name: OsString::from_vec(bytes.to_vec()),
            is_link,
        });
    }
    Ok(names)
}

fn is_link(folder: &OwnedFd, name: &std::ffi::CStr) -> bool {
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
