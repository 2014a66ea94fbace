//! The one hook of a container: which links it makes, which libraries it puts into `ld.so.cache`.

use crate::{Error, Hook};
use nvbind_gpu::{Library, Link, path_order};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// File name of the hook program, its first argument.
const PROGRAM: &str = "nvbind-hook";

/// What the hook program is told to do, its second argument.
pub(crate) const COMMAND: &str = "create-container";

/// Environment of the hook. Not empty: a hook without a list of its own inherits the image's variables, `LD_PRELOAD`
/// among them (CVE-2025-23266).
const ENV: &str = "NVBIND_HOOK=create-container";

/// `--link=TARGET::LINK`: a link that is made.
const LINK: &str = "--link=";

/// `--device-link=TARGET::LINK`: a link that is made when its target, a device node, is in the container.
const DEVICE_LINK: &str = "--device-link=";

/// `--library=PATH`: a library that must be in `ld.so.cache`, under its file name.
const LIBRARY: &str = "--library=";

/// `--host-driver-version=`, `--host-cuda-version=`: what CUDA compatibility libraries of the image are compared with.
pub(crate) const HOST_DRIVER_VERSION: &str = "--host-driver-version=";
pub(crate) const HOST_CUDA_VERSION: &str = "--host-cuda-version=";

/// Folders of modules that programs open by path: never in `ld.so.cache`.
const MODULE_FOLDERS: [&str; 2] = ["gbm", "xorg"];

/// `--no-device-node-modification`: the driver's own libraries are told to leave device nodes alone.
pub(crate) const NO_NODE_MODIFICATION: &str = "--no-device-node-modification";

/// What the hook does. The names are those of the hooks that `nvidia-ctk` has for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookSteps {
    /// `create-symlinks`: links to libraries and nodes.
    pub create_symlinks: bool,
    /// `update-ldcache`: libraries are put into `ld.so.cache`.
    pub update_ldcache: bool,
    /// `enable-cuda-compat`: CUDA compatibility libraries of the image go before the driver's where they fit.
    pub enable_cuda_compat: bool,
    /// `disable-device-node-modification`: the driver's own libraries are told to leave device nodes alone.
    pub disable_device_node_modification: bool,
}

/// A step by its name.
type Step = (&'static str, fn(&mut HookSteps) -> &mut bool);

const STEPS: [Step; 4] = [
    ("create-symlinks", |steps| &mut steps.create_symlinks),
    ("update-ldcache", |steps| &mut steps.update_ldcache),
    ("enable-cuda-compat", |steps| &mut steps.enable_cuda_compat),
    ("disable-device-node-modification", |steps| {
        &mut steps.disable_device_node_modification
    }),
];

/// Hooks of `nvidia-ctk` that nvbind's hook has no step for: turning them off is always fulfilled.
const OTHER_HOOKS: [&str; 4] = [
    "chmod",
    "create-soname-symlinks",
    "update-application-profile",
    "update-nvidia-params",
];

/// The names of the steps, for error messages.
const STEP_NAMES: &str = "create-symlinks, update-ldcache, enable-cuda-compat or disable-device-node-modification";
const STEP_NAMES_OR_ALL: &str =
    "create-symlinks, update-ldcache, enable-cuda-compat, disable-device-node-modification or all";

impl Default for HookSteps {
    fn default() -> Self {
        Self {
            create_symlinks: true,
            update_ldcache: true,
            enable_cuda_compat: true,
            disable_device_node_modification: true,
        }
    }
}

impl HookSteps {
    /// No step at all.
    pub const NONE: Self = Self {
        create_symlinks: false,
        update_ldcache: false,
        enable_cuda_compat: false,
        disable_device_node_modification: false,
    };

    /// The steps that are left by `--disable-hook` and `--enable-hook`, which wins.
    pub fn from_flags<S: AsRef<str>>(disabled: &[S], enabled: &[S]) -> Result<Self, Error> {
        let mut steps = Self::default();
        for name in disabled.iter().map(AsRef::as_ref) {
            match name {
                "all" => steps = Self::NONE,
                name => steps.set("disable-hook", name, false)?,
            }
        }
        for name in enabled.iter().map(AsRef::as_ref) {
            steps.set("enable-hook", name, true)?;
        }
        Ok(steps)
    }

    fn set(&mut self, option: &'static str, name: &str, on: bool) -> Result<(), Error> {
        match STEPS.iter().find(|(known, _)| *known == name) {
            Some((_, step)) => *step(self) = on,
            None if !on && OTHER_HOOKS.contains(&name) => (),
            None => {
                return Err(Error::Option {
                    option,
                    value: name.to_owned(),
                    wanted: if on { STEP_NAMES } else { STEP_NAMES_OR_ALL },
                });
            }
        }
        Ok(())
    }
}

/// The hook for these libraries and links; `None` when there is nothing for it to do.
pub(super) fn of(
    libraries: &[&Library],
    links: &[&Link],
    device_links: &[Link],
    steps: HookSteps,
    path: &Path,
) -> Result<Option<Hook>, Error> {
    let mut args = vec![PROGRAM.to_owned(), COMMAND.to_owned()];
    if steps.create_symlinks {
        add_links(&mut args, LINK, links.iter().copied())?;
        add_links(&mut args, DEVICE_LINK, device_links)?;
    }
    if steps.update_ldcache {
        let paths = libraries.iter().flat_map(|library| library.loader_paths());
        let mut paths: Vec<&Path> = paths.filter(|path| is_cached(path)).collect();
        paths.sort_unstable_by(|a, b| path_order(a, b));
        paths.dedup_by(|a, b| is_same(a, b));
        for path in paths {
            args.push([LIBRARY, text(path)?].concat());
        }
    }
    if steps.disable_device_node_modification {
        args.push(NO_NODE_MODIFICATION.to_owned());
    }
    let has_work = args.len() > 2;
    Ok(has_work.then(|| Hook {
        hook_name: "createContainer".to_owned(),
        path: path.to_owned(),
        args,
        env: vec![ENV.to_owned()],
        timeout: None,
    }))
}

fn add_links<'a>(args: &mut Vec<String>, flag: &str, links: impl IntoIterator<Item = &'a Link>) -> Result<(), Error> {
    // Sorted: a spec of the same host is the same text each time.
    let mut links: Vec<&Link> = links.into_iter().collect();
    links.sort_unstable_by(|a, b| path_order(&a.link, &b.link).then_with(|| path_order(&a.target, &b.target)));
    links.dedup_by(|a, b| is_same(&a.link, &b.link) && is_same(&a.target, &b.target));
    for link in links {
        args.push([flag, text(&link.target)?, "::", text(&link.link)?].concat());
    }
    Ok(())
}

/// Byte by byte: paths compare part by part, which is slow.
fn is_same(a: &Path, b: &Path) -> bool {
    a.as_os_str() == b.as_os_str()
}

/// Whether the loader looks for it by name: `lib*`, and not in a folder of modules.
fn is_cached(path: &Path) -> bool {
    let mut parts = path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/');
    let is_library = parts.next().is_some_and(|name| name.starts_with(b"lib"));
    let is_module_folder = |part: &[u8]| MODULE_FOLDERS.iter().any(|folder| part == folder.as_bytes());
    is_library && !parts.any(is_module_folder)
}

fn text(path: &Path) -> Result<&str, Error> {
    path.to_str()
        .ok_or_else(|| Error::Encode(format!("{} is not UTF-8", path.display())))
}

/// Target and link of a `--link` or `--device-link` argument.
pub(crate) fn parse_link(argument: &str) -> Option<(&Path, &Path)> {
    let rest = argument
        .strip_prefix(LINK)
        .or_else(|| argument.strip_prefix(DEVICE_LINK))?;
    let (target, link) = rest.split_once("::")?;
    Some((Path::new(target), Path::new(link)))
}

/// Path of a `--library` argument.
pub(crate) fn parse_library(argument: &str) -> Option<&Path> {
    argument.strip_prefix(LIBRARY).map(Path::new)
}

/// Whether a hook is nvbind's.
pub(crate) fn is_ours(hook: &Hook) -> bool {
    hook.args.get(1).is_some_and(|command| command == COMMAND)
}

/// Whether a hook of ours has something to do.
pub(crate) fn has_work(hook: &Hook) -> bool {
    let is_work = |argument: &String| {
        parse_link(argument).is_some() || parse_library(argument).is_some() || argument == NO_NODE_MODIFICATION
    };
    hook.args.iter().any(is_work)
}

/// Whether an argument tells a version of the host.
pub(crate) fn is_host_version(argument: &str) -> bool {
    argument.starts_with(HOST_DRIVER_VERSION) || argument.starts_with(HOST_CUDA_VERSION)
}
