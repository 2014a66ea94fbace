//! Which shared libraries belong to the driver, and which links lead to them.

use crate::capability::capabilities_of;
use crate::rootfs::{ByPath, Name, RootFs, by_path, join, split};
use crate::wsl::WSL_LIBRARIES;
use crate::{Capabilities, Capability, ElfClass, Library, Link, elf, ldcache, path_order};
use foldhash::fast::FixedState;
use indexmap::map::Entry;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Folders of libraries by distribution: Red Hat, Debian (x86-64, arm64, i386), Arch, NixOS; `/lib` where it is no link;
/// those of old X servers.
const LIBRARY_FOLDERS: [&str; 16] = [
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/run/opengl-driver/lib",
    "/usr/lib/i386-linux-gnu",
    "/usr/lib32",
    "/lib/i386-linux-gnu",
    "/run/opengl-driver-32/lib",
    "/usr/X11R6/lib/modules/drivers",
    "/usr/X11R6/lib/modules/extensions",
    "/usr/X11R6/lib64/modules/drivers",
    "/usr/X11R6/lib64/modules/extensions",
];

/// Folders below a library folder that hold driver libraries or links to them.
const SUBFOLDERS: [&str; 8] = [
    "nvidia/current",
    "vdpau",
    "gbm",
    "nvidia/xorg",
    "xorg/modules/drivers",
    "xorg/modules/extensions",
    "xorg/modules/updates/drivers",
    "xorg/modules/updates/extensions",
];

/// Libraries whose links lead to the folder that the driver is really in (Debian's `nvidia/tesla-535`, a NixOS store path).
const GUIDES: [&str; 2] = ["libcuda.so.1", "libnvidia-ml.so.1"];

/// Driver libraries that do not end in the driver's version, by the start of their name.
const OTHER_LIBRARIES: [&str; 9] = [
    "libnvidia-api.so.1",
    "libnvidia-nvvm70.so.",
    "libnvidia-egl-gbm.so.",
    "libnvidia-egl-wayland.so.",
    "libnvidia-egl-wayland2.so.",
    "libnvidia-egl-xcb.so.",
    "libnvidia-egl-xlib.so.",
    "libnvidia-vulkan-producer.so.",
    "nvidia_drv.so",
];

/// Links that programs need and that a package or `ldconfig` may have left out: library, link, target, the last two
/// from the library's folder; `{v}` is the driver version.
const NEEDED_LINKS: [(&str, &str, &str); 6] = [
    ("libcuda", "libcuda.so", "libcuda.so.1"),
    ("libGLX_nvidia", "libGLX_indirect.so.0", "libGLX_nvidia.so.{v}"),
    (
        "libnvidia-opticalflow",
        "libnvidia-opticalflow.so",
        "libnvidia-opticalflow.so.1",
    ),
    (
        "libnvidia-allocator",
        "gbm/nvidia-drm_gbm.so",
        "../libnvidia-allocator.so.1",
    ),
    (
        "libnvidia-vulkan-producer",
        "libnvidia-vulkan-producer.so",
        "libnvidia-vulkan-producer.so.{v}",
    ),
    (
        "libglxserver_nvidia",
        "libglxserver_nvidia.so",
        "libglxserver_nvidia.so.{v}",
    ),
];

/// A folder with its shared objects.
pub(crate) struct Folder {
    path: PathBuf,
    names: Rc<[Name]>,
}

impl Folder {
    /// The folder, as a path in a container.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The library folders of a root, each once.
pub(crate) fn folders(root: &RootFs, extra: &[PathBuf]) -> Vec<Folder> {
    let mut bases: Vec<PathBuf> = extra.to_vec();
    bases.extend(LIBRARY_FOLDERS.map(PathBuf::from));
    bases.extend(cached_folders(root));
    let mut found = Found::default();
    for base in bases.iter().filter_map(|base| root.resolve(base)) {
        if !found.add(root, base.clone()) {
            continue;
        }
        let at = |name: &str| root.resolve(&join(&base, name.as_ref()));
        for guide in GUIDES.into_iter().filter_map(at) {
            found.add(root, guide.parent().unwrap_or(&base).to_owned());
        }
        for below in SUBFOLDERS.into_iter().filter_map(at) {
            found.add(root, below);
        }
    }
    found.folders
}

#[derive(Default)]
struct Found {
    folders: Vec<Folder>,
    seen: HashSet<OsString>,
}

impl Found {
    /// Lists a folder without links in its path, unless it was listed before.
    fn add(&mut self, root: &RootFs, path: PathBuf) -> bool {
        let new = self.seen.insert(path.as_os_str().to_owned());
        if new {
            let names = root.shared_objects(&path);
            self.folders.push(Folder { path, names });
        }
        new
    }
}

/// Folders in which the root's `ld.so.cache` has driver libraries.
fn cached_folders(root: &RootFs) -> HashSet<PathBuf> {
    cached(root, &GUIDES)
        .iter()
        .filter_map(|path| Some(path.parent()?.to_owned()))
        .collect()
}

/// The paths of libraries in the root's `ld.so.cache`; one that cannot be read is as good as none.
fn cached(root: &RootFs, names: &[&str]) -> Vec<PathBuf> {
    let bytes = read_cache(root).unwrap_or_default();
    let values = names
        .iter()
        .flat_map(|name| ldcache::lookup(&bytes, name.as_bytes()).unwrap_or_default());
    values
        .map(|value| PathBuf::from(OsStr::from_bytes(value)))
        .filter(|path| path.is_absolute())
        .collect()
}

fn read_cache(root: &RootFs) -> Option<Vec<u8>> {
    let file = File::open(root.host(&root.resolve(Path::new("/etc/ld.so.cache"))?)).ok()?;
    let mut bytes = Vec::with_capacity(file.metadata().ok()?.len().min(ldcache::MAX_BYTES as u64) as usize);
    file.take(ldcache::MAX_BYTES as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Where a library of that name lies on the host, by the folders of this program's word size, then by `ld.so.cache`.
pub(crate) fn find(root: &RootFs, name: &str) -> Option<PathBuf> {
    let in_wsl = || root.resolve(&Path::new(WSL_LIBRARIES).join(name));
    find_in(root, name).or_else(in_wsl).map(|path| root.host(&path))
}

/// As [`find`], as a path in the root and without WSL's own folder.
pub(crate) fn find_in(root: &RootFs, name: &str) -> Option<PathBuf> {
    let folders = LIBRARY_FOLDERS[..8].iter().map(Path::new);
    let with_current =
        folders.flat_map(|folder| [join(folder, name.as_ref()), folder.join("nvidia/current").join(name)]);
    let path = with_current.filter_map(|path| root.resolve(&path)).next();
    path.or_else(|| cached(root, &[name]).iter().find_map(|path| root.resolve(path)))
}

/// The newest driver version that a `libcuda` or `libnvidia-ml` carries in its name.
pub(crate) fn version(folders: &[Folder]) -> Option<String> {
    let names = folders
        .iter()
        .flat_map(|folder| folder.names.iter())
        .filter_map(|name| name.name.to_str());
    let versions = names.filter_map(|name| {
        let suffix = name
            .strip_prefix("libcuda.so.")
            .or_else(|| name.strip_prefix("libnvidia-ml.so."))?;
        suffix
            .contains('.')
            .then(|| numbers(suffix))
            .flatten()
            .map(|numbers| (numbers, suffix))
    });
    versions.max().map(|(_, version)| version.to_owned())
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

/// Libraries by container path.
type Libraries = ByPath<Library>;

/// Links by their path, each with its target and the library that it leads to.
type Links = ByPath<(PathBuf, PathBuf)>;

/// The driver's libraries in those folders, by container path.
pub(crate) fn libraries(root: &RootFs, folders: &[Folder], version: &str) -> Vec<Library> {
    let mut libraries = real_files(root, folders, version);
    // In order: where two libraries want the same link, it is the same one's each time.
    sort_by_path(&mut libraries);
    let mut links = existing_links(root, folders, &libraries);
    let paths: Vec<&Path> = libraries.values().map(|library| library.container.as_path()).collect();
    add_sonames(root, &libraries, &paths, &mut links);
    add_needed(&libraries, &paths, &mut links, version);
    sort_by_path(&mut links);
    for (link, (target, real)) in links {
        if let Some(library) = libraries.get_mut(real.as_os_str()) {
            let link = link.into();
            library.links.push(Link { link, target });
        }
    }
    libraries.into_values().collect()
}

fn sort_by_path<T>(map: &mut ByPath<T>) {
    map.sort_by(|a, _, b, _| path_order(Path::new(a), Path::new(b)));
}

fn real_files(root: &RootFs, folders: &[Folder], version: &str) -> Libraries {
    let suffix = format!(".so.{version}");
    let is_driver = |name: &str| name.ends_with(&suffix) || OTHER_LIBRARIES.iter().any(|other| name.starts_with(other));
    let mut libraries: Libraries = by_path();
    for folder in folders {
        let names = folder
            .names
            .iter()
            .filter(|name| name.name.to_str().is_some_and(is_driver));
        let paths = names.filter_map(|name| match name.is_link {
            true => root.resolve(&join(&folder.path, &name.name)),
            false => Some(join(&folder.path, &name.name)),
        });
        let mut classes = Classes::default();
        for path in paths {
            let Entry::Vacant(place) = libraries.entry(path.as_os_str().to_owned()) else {
                continue;
            };
            // An ELF header that cannot be read says that it is no library: a folder of that name, say.
            if let Some(class) = classes.of(root, &path) {
                place.insert(library(root, path, class));
            }
        }
    }
    libraries
}

fn library(root: &RootFs, path: PathBuf, class: ElfClass) -> Library {
    let capabilities = match class {
        ElfClass::Elf64 => capabilities_of(&path),
        ElfClass::Elf32 => Capabilities::of(Capability::Compat32),
    };
    Library {
        host: root.host(&path),
        container: path,
        links: Vec::new(),
        class,
        capabilities,
    }
}

/// Word sizes of library folders: one file of each is looked at, for a folder holds libraries of one kind.
#[derive(Default)]
struct Classes(ByPath<ElfClass>);

impl Classes {
    fn of(&mut self, root: &RootFs, library: &Path) -> Option<ElfClass> {
        let (folder, _) = split(library)?;
        if let Some(class) = self.0.get(folder.as_os_str()) {
            return Some(*class);
        }
        let class = elf::class(&root.host(library))?;
        self.0.insert(folder.into(), class);
        Some(class)
    }
}

/// The links in the folders that lead to a driver library. Only links that share the name of one are read.
fn existing_links(root: &RootFs, folders: &[Folder], libraries: &Libraries) -> Links {
    let stems: HashSet<&[u8], FixedState> = libraries
        .values()
        .filter_map(|library| stem(split(&library.container)?.1.as_bytes()))
        .collect();
    let known = |name: &[u8]| {
        let alias = |(_, link, _): &(&str, &str, &str)| link.rsplit('/').next().is_some_and(|l| l.as_bytes() == name);
        stem(name).is_some_and(|stem| stems.contains(stem)) || NEEDED_LINKS.iter().any(alias)
    };
    let mut links: Links = by_path();
    for folder in folders {
        for name in folder
            .names
            .iter()
            .filter(|name| name.is_link && known(name.name.as_bytes()))
        {
            let link = join(&folder.path, &name.name);
            let real = root.resolve(&link);
            let Some(real) = real.filter(|real| libraries.contains_key(real.as_os_str())) else {
                continue;
            };
            let Some(text) = root.read_link(&link) else { continue };
            let target = link_target(&folder.path, text, &real);
            links.insert(link.into(), (target, real));
        }
    }
    links
}

/// What a link in a container is to say: the same as on the host if it names a neighbour, else the way to the library
/// itself, because what lies between (Debian's alternatives) is not in the container.
fn link_target(folder: &Path, text: PathBuf, real: &Path) -> PathBuf {
    let names_a_neighbour = !text.as_os_str().as_bytes().contains(&b'/');
    if names_a_neighbour {
        text
    } else {
        relative(folder, real)
    }
}

/// The SONAME links of libraries to which no link leads, which `ldconfig` would have made.
fn add_sonames(root: &RootFs, libraries: &Libraries, paths: &[&Path], links: &mut Links) {
    let linked: HashSet<&OsStr, FixedState> = links.values().map(|(_, real)| real.as_os_str()).collect();
    let bare = paths.iter().filter(|path| !linked.contains(path.as_os_str()));
    let bare: Vec<&Path> = bare.copied().collect();
    for real in bare {
        let Some((folder, file)) = split(real) else { continue };
        let Some(soname) = elf::soname(&root.host(real)).filter(|soname| soname.as_str() != file) else {
            continue;
        };
        add_link(libraries, links, join(folder, soname.as_ref()), || file.into(), real);
    }
}

fn add_needed(libraries: &Libraries, paths: &[&Path], links: &mut Links, version: &str) {
    for real in paths {
        let Some((folder, file)) = split(real) else { continue };
        let needed = NEEDED_LINKS
            .iter()
            .filter(|(library, _, _)| stem(file.as_bytes()) == Some(library.as_bytes()));
        for (_, link, target) in needed {
            let end = link.rfind('/').map_or(*link, |slash| &link[slash + 1..]);
            let named = |path: &OsStr| split(Path::new(path)).is_some_and(|(_, name)| name == end);
            let there = links
                .iter()
                .any(|(path, (_, to))| to.as_os_str() == real.as_os_str() && named(path));
            if !there {
                let target = || target.replace("{v}", version).into();
                add_link(libraries, links, join(folder, link.as_ref()), target, real);
            }
        }
    }
}

/// Adds a link unless there is one, or a library, in its place.
fn add_link(libraries: &Libraries, links: &mut Links, link: PathBuf, target: impl FnOnce() -> PathBuf, real: &Path) {
    let link = OsString::from(link);
    if !libraries.contains_key(&link) {
        links.entry(link).or_insert_with(|| (target(), real.to_owned()));
    }
}

/// The part of a library's name before `.so`.
pub(crate) fn stem(name: &[u8]) -> Option<&[u8]> {
    name.windows(3).position(|part| part == b".so").map(|end| &name[..end])
}

/// The way from a folder to a file, both absolute and without links.
fn relative(folder: &Path, file: &Path) -> PathBuf {
    let mut folders = parts(folder).peekable();
    let mut files = parts(file).peekable();
    while folders.peek().is_some() && folders.peek() == files.peek() {
        folders.next();
        files.next();
    }
    let mut way = Vec::with_capacity(file.as_os_str().len());
    for part in folders.map(|_| b"..".as_slice()).chain(files) {
        if !way.is_empty() {
            way.push(b'/');
        }
        way.extend_from_slice(part);
    }
    OsString::from_vec(way).into()
}

/// As `components` for an absolute path without `.` and `..`; much faster.
fn parts(path: &Path) -> impl Iterator<Item = &[u8]> {
    let parts = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    parts.filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let names = [
            "libcuda.so.99.9.1",
            "libcuda.so.550.163.01",
            "libcuda.so.1",
            "libnvidia-ml.so.550.54.14",
        ];
        let names = names
            .iter()
            .map(|name| Name {
                name: name.into(),
                is_link: false,
            })
            .collect();
        let folders = [Folder {
            path: "/usr/lib".into(),
            names,
        }];
        assert_eq!(version(&folders).as_deref(), Some("550.163.01"));
    }

    #[test]
    fn a_link_out_of_its_folder_goes_straight_to_the_library() {
        let (folder, real) = (Path::new("/usr/lib/x"), Path::new("/usr/lib/x/nvidia/current/a.so.5"));
        assert_eq!(link_target(folder, "a.so.1".into(), real), Path::new("a.so.1"));
        assert_eq!(
            link_target(folder, "/etc/alternatives/a".into(), real),
            Path::new("nvidia/current/a.so.5")
        );
        assert_eq!(
            relative(Path::new("/usr/lib/gbm"), Path::new("/usr/lib/a.so.5")),
            Path::new("../a.so.5")
        );
    }

    #[test]
    fn a_stem_ends_before_so() {
        assert_eq!(stem(b"libnvidia-ml.so.550.1"), Some(&b"libnvidia-ml"[..]));
        assert_eq!(stem(b"nvidia_drv"), None);
    }
}
