//! The hook's work, done on the root before there is a container, so that most containers need no hook process.
//!
//! runc takes two to three milliseconds to start a hook, more than all of nvbind's own work. The engine hands over a
//! root that is mounted and not yet in use: links and loader caches written to it now are what the hook would write
//! later. Not so where a mount of the container lies over the folders that are written, or where the container has users
//! of its own: there the hook stays. Links beside device nodes, in the container's own `/dev`, come as a folder to mount.

use super::link_folder;
use crate::hook::arguments::{Arguments, Link, NO_NODE_MODIFICATION};
use crate::hook::library::{Library, flags_of_host_file};
use crate::hook::root::{Folder, Root};
use crate::hook::{COMMAND, Warnings, compat, ldcache, links, musl, params};
use nvbind_cdi::{Edits, Hook, Mount};
use serde_json::Value;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

/// File name of our hook, and its stage.
const PROGRAM: &str = "nvbind-hook";
const STAGE: &str = "createContainer";

/// Options of a mounted folder of links.
const LINK_FOLDER_OPTIONS: [&str; 6] = ["ro", "nosuid", "nodev", "noexec", "rbind", "rprivate"];

/// Where the loader's caches are written.
const ETC: &str = "/etc";

/// Most folders between a container's root and one that is written.
const MAX_DEPTH: usize = 64;

/// The hook's work on a root that no container uses yet.
pub(super) struct Prepared {
    root: Root,
    arguments: Arguments,
    libraries: Vec<Library>,
}

impl Prepared {
    /// Takes our hook out of `edits` as far as its work can be done now. `store` is where folders of links are kept. `None`
    /// when there is no such hook, or it must run in the container.
    pub(super) fn of(bundle: &Path, config: &Value, edits: &mut Edits, store: &Path) -> Option<Self> {
        let mut arguments = arguments(edits)?;
        let root = open_root(bundle, config)?;
        if is_covered(&root, config, edits, &arguments) {
            return None;
        }
        let mut given = std::mem::take(&mut arguments.device_links);
        given.retain(|link| is_given(link, config, edits));
        let left = mount_links(given, config, edits, store);
        keep_hook_for(edits, &left, arguments.protects_nodes && has_nodes_to_protect());
        let mut libraries = libraries(&root, &arguments, &edits.mounts);
        compat::prefer(&root, &arguments, &mut libraries);
        Some(Self {
            root,
            arguments,
            libraries,
        })
    }

    /// Writes links and caches. Trouble with one does no more harm than in the hook.
    pub(super) fn write(&self) -> Warnings {
        let mut warnings = Warnings::default();
        links::make(&self.root, self.arguments.links.iter(), &mut warnings);
        ldcache::update(&self.root, &self.libraries, &mut warnings);
        musl::update(&self.root, &self.libraries, &mut warnings);
        warnings
    }
}

/// What our hook is told to do; `None` when there is none, or an argument is not understood, as of a newer one.
fn arguments(edits: &Edits) -> Option<Arguments> {
    let mut ours = edits.hooks.iter().filter(|hook| is_ours(hook)).peekable();
    ours.peek()?;
    let args: Vec<String> = ours.flat_map(|hook| hook.args.iter().skip(2).cloned()).collect();
    let mut warnings = Warnings::default();
    let arguments = Arguments::parse(&args, &mut warnings);
    warnings.lines().is_empty().then_some(arguments)
}

fn is_ours(hook: &Hook) -> bool {
    hook.hook_name == STAGE
        && hook.path.file_name().is_some_and(|name| name == PROGRAM)
        && hook.args.get(1).is_some_and(|command| command == COMMAND)
}

/// The container's root; `None` when its files belong to users of a namespace of its own, or when it is not there, which
/// the low-level runtime says better.
fn open_root(bundle: &Path, config: &Value) -> Option<Root> {
    let namespaces = config.pointer("/linux/namespaces").and_then(Value::as_array);
    let is_user = |namespace: &Value| namespace["type"] == "user";
    let mapped = config.pointer("/linux/uidMappings").and_then(Value::as_array);
    if namespaces.into_iter().flatten().any(is_user) || mapped.is_some_and(|list| !list.is_empty()) {
        return None;
    }
    let path = config.pointer("/root/path").and_then(Value::as_str)?;
    Root::open(&bundle.join(path)).ok()
}

/// Whether a mount lies over a folder that would be written.
fn is_covered(root: &Root, config: &Value, edits: &Edits, arguments: &Arguments) -> bool {
    let mut folders: HashSet<&Path> = arguments.links.iter().filter_map(|link| link.path.parent()).collect();
    if !arguments.libraries.is_empty() {
        folders.insert(Path::new(ETC));
    }
    let ours = edits.mounts.iter().map(|mount| mount.container_path.as_path());
    let covers = |mount: &Path| folders.iter().any(|folder| folder.starts_with(mount));
    let mut all = destinations(config).chain(ours);
    if all.any(covers) {
        return true;
    }
    // The same by other names, as /lib is /usr/lib in most images.
    let mounted: HashSet<(u64, u64)> = destinations(config)
        .filter(|path| !is_virtual(path))
        .filter_map(|path| root.folder(path).ok()?.id().ok())
        .collect();
    folders.iter().any(|folder| lies_below(root, folder, &mounted))
}

fn destinations(config: &Value) -> impl Iterator<Item = &Path> {
    let list = config.get("mounts").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|mount| mount.get("destination")?.as_str())
        .map(Path::new)
}

/// Folders of the kernel's own file systems, which no link leads into.
fn is_virtual(path: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|folder| path.starts_with(folder))
}

/// Whether a folder, or what is there of its path, is one of `mounted` or lies below one.
fn lies_below(root: &Root, folder: &Path, mounted: &HashSet<(u64, u64)>) -> bool {
    let found = folder
        .ancestors()
        .find_map(|path| Some((path, root.folder(path).ok()?)));
    let Some((_, mut folder)) = found.filter(|(path, found)| !leads_on(found, path, folder)) else {
        return true;
    };
    let top = root.folder(Path::new("/")).and_then(|folder| folder.id()).ok();
    for _ in 0..MAX_DEPTH {
        let id = folder.id().ok();
        if id.is_none_or(|id| mounted.contains(&id)) {
            return true;
        }
        if id == top {
            return false;
        }
        match folder.parent() {
            Ok(parent) => folder = parent,
            Err(_) => return true,
        }
    }
    true
}

/// Whether something stands at the next name of `wanted` behind the folder `found` at `path`: a link that leads nowhere
/// now, but perhaps into a volume later.
fn leads_on(found: &Folder, path: &Path, wanted: &Path) -> bool {
    let next = wanted.strip_prefix(path).ok().and_then(|rest| rest.iter().next());
    next.is_some_and(|name| found.has(name))
}

/// Whether the device node that a link leads to is in the container.
fn is_given(link: &Link, config: &Value, edits: &Edits) -> bool {
    let node = link.leads_to();
    let others = config.pointer("/linux/devices").and_then(Value::as_array);
    let mut others = others
        .into_iter()
        .flatten()
        .filter_map(|device| device.get("path")?.as_str());
    edits
        .device_nodes
        .iter()
        .any(|device| device.path.as_os_str() == node.as_os_str())
        || others.any(|path| Path::new(path) == node)
}

/// Adds the links as mounted folders and returns those that cannot come that way: something else is mounted there, or
/// the folder cannot be made.
fn mount_links(links: Vec<Link>, config: &Value, edits: &mut Edits, store: &Path) -> Vec<Link> {
    let mut left = Vec::new();
    for (folder, links) in by_folder(links) {
        match (!has_mount(config, &folder)).then(|| link_folder::ensure(store, &links)) {
            Some(Ok(host_path)) => edits.mounts.push(Mount {
                host_path,
                container_path: folder,
                options: LINK_FOLDER_OPTIONS.map(Into::into).to_vec().into(),
                kind: None,
            }),
            _ => left.extend(links),
        }
    }
    left
}

fn by_folder(links: Vec<Link>) -> Vec<(PathBuf, Vec<Link>)> {
    let mut folders: Vec<(PathBuf, Vec<Link>)> = Vec::new();
    for link in links {
        let folder = link.path.parent().unwrap_or(Path::new("/")).to_owned();
        match folders.iter_mut().find(|(known, _)| *known == folder) {
            Some((_, links)) => links.push(link),
            None => folders.push((folder, vec![link])),
        }
    }
    folders
}

/// Whether the bundle mounts something at or below the folder, or a folder of the host above it, in which a mount point
/// must not be made.
fn has_mount(config: &Value, folder: &Path) -> bool {
    let list = config.get("mounts").and_then(Value::as_array).into_iter().flatten();
    list.into_iter().any(|mount| {
        let Some(destination) = mount.get("destination").and_then(Value::as_str).map(Path::new) else {
            return false;
        };
        let is_bind = mount
            .get("source")
            .and_then(Value::as_str)
            .is_some_and(|source| source.starts_with('/'));
        destination.starts_with(folder) || (is_bind && folder.starts_with(destination))
    })
}

/// The libraries that will be in the container, with the flags of what is mounted into their folder.
fn libraries(root: &Root, arguments: &Arguments, mounts: &[Mount]) -> Vec<Library> {
    let mounted = mounts.iter().map(|mount| mount.container_path.as_os_str());
    let given: HashSet<&OsStr> = arguments
        .links
        .iter()
        .map(|link| link.path.as_os_str())
        .chain(mounted)
        .collect();
    let mut libraries = Vec::with_capacity(arguments.libraries.len());
    let mut known: Option<(&Path, Option<Folder>, Option<i32>)> = None;
    for path in &arguments.libraries {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        let (_, folder, flags) = match known.take() {
            Some(last) if last.0 == parent => known.insert(last),
            _ => known.insert((parent, root.folder(parent).ok(), flags_of_folder(parent, mounts))),
        };
        let is_there = given.contains(path.as_os_str()) || folder.as_ref().is_some_and(|folder| folder.has(name));
        if let (true, Some(flags)) = (is_there, *flags) {
            libraries.push(Library {
                path: path.clone(),
                flags,
            });
        }
    }
    libraries
}

/// A folder holds libraries of one kind: the first that is mounted there speaks for all.
fn flags_of_folder(folder: &Path, mounts: &[Mount]) -> Option<i32> {
    let here = mounts
        .iter()
        .filter(|mount| mount.container_path.parent() == Some(folder));
    here.into_iter().find_map(|mount| flags_of_host_file(&mount.host_path))
}

/// Whether the driver of this host lets its libraries change device nodes. What covers that must be mounted in the
/// container.
fn has_nodes_to_protect() -> bool {
    File::open(params::PARAMS).is_ok_and(|params| params::with_nodes_left_alone(params).is_some())
}

/// Takes our hooks out; one stays for what is left to do in the container.
fn keep_hook_for(edits: &mut Edits, left: &[Link], protects_nodes: bool) {
    let (ours, others) = std::mem::take(&mut edits.hooks).into_iter().partition(is_ours);
    edits.hooks = others;
    let ours: Vec<Hook> = ours;
    let Some(mut hook) = ours.into_iter().next().filter(|_| protects_nodes || !left.is_empty()) else {
        return;
    };
    hook.args.truncate(2);
    hook.args.extend(left.iter().map(Link::to_device_argument));
    if protects_nodes {
        hook.args.push(NO_NODE_MODIFICATION.to_owned());
    }
    edits.hooks.push(hook);
}
