//! `nvbind system`: what the driver's modules need on the host besides themselves.

use crate::cli::RootArgs;
use crate::context::Context;
use crate::failure::{Failure, NOT_FOUND, UNABLE};
use crate::output;
use clap::{Args, Subcommand, ValueHint};
use nvbind_config::Roots;
use nvbind_gpu::{KernelNode, NodeKind, NodeState, kernel_nodes};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folder of the links by number.
const DEV_CHAR: &str = "/dev/char";
/// The modules whose nodes containers get, in the order in which they need each other.
const MODULES: [&str; 3] = ["nvidia", "nvidia-uvm", "nvidia-modeset"];
/// What loads them, below the driver's root.
const MODPROBE: &str = "/sbin/modprobe";

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum SystemCommand {
    /// Link /dev/char/MAJOR:MINOR to the driver's device nodes, by which systemd finds them when it sets up cgroups anew
    CreateDevCharSymlinks(LinkArgs),
    /// Make the driver's device nodes that are missing
    CreateDeviceNodes(NodeArgs),
}

// The options of `nvidia-ctk system create-dev-char-symlinks`, by the same names.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Folder of the links [default: /dev/char of the machine]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dev_char_path: Option<PathBuf>,
    #[command(flatten)]
    roots: RootArgs,
    /// Also for nodes that are not there yet
    #[arg(long)]
    create_all: bool,
    /// Load the driver's modules first
    #[arg(long)]
    load_kernel_modules: bool,
    /// Make the control nodes first
    #[arg(long)]
    create_device_nodes: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

// The options of `nvidia-ctk system create-device-nodes`, by the same names.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    roots: RootArgs,
    /// The same as --driver-root
    #[arg(long, value_name = "DIR", conflicts_with = "driver_root")]
    root: Option<PathBuf>,
    /// Only the control nodes: nvidiactl, nvidia-modeset, nvidia-uvm, nvidia-uvm-tools
    #[arg(long)]
    control_devices: bool,
    /// Load the driver's modules first
    #[arg(long)]
    load_kernel_modules: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(command: &SystemCommand, context: &Context) -> Result<u8, Failure> {
    match command {
        SystemCommand::CreateDevCharSymlinks(args) => {
            let roots = roots(&args.roots, context)?;
            load(&roots, args.load_kernel_modules, args.dry_run)?;
            if args.create_device_nodes {
                make_nodes(&roots, true, args.dry_run)?;
            }
            args.make_links(&roots)?;
        }
        SystemCommand::CreateDeviceNodes(args) => {
            let named = RootArgs {
                driver_root: args.roots.driver_root.clone().or_else(|| args.root.clone()),
                dev_root: args.roots.dev_root.clone(),
            };
            let roots = roots(&named, context)?;
            load(&roots, args.load_kernel_modules, args.dry_run)?;
            make_nodes(&roots, args.control_devices, args.dry_run)?;
        }
    }
    Ok(0)
}

fn roots(args: &RootArgs, context: &Context) -> Result<Roots, Failure> {
    context.roots(&context.config_with(args)?, args)
}

/// The nodes of the modules that are loaded; none is a failure, for then there is nothing that could be made.
fn nodes(roots: &Roots) -> Result<Vec<KernelNode>, Failure> {
    let nodes = kernel_nodes(roots);
    if nodes.is_empty() {
        let devices = roots.proc.join("devices");
        let message = format!(
            "no module of NVIDIA's driver is loaded ({}): load it first, or add --load-kernel-modules",
            devices.display()
        );
        return Err(Failure::new(UNABLE, message));
    }
    Ok(nodes)
}

fn make_nodes(roots: &Roots, only_control: bool, dry_run: bool) -> Result<(), Failure> {
    for node in nodes(roots)? {
        if only_control && node.kind != NodeKind::Control {
            continue;
        }
        let is_made = match dry_run {
            true => node.state(roots) != NodeState::Present,
            false => node.make(roots)?,
        };
        if is_made {
            let path = roots.dev_path(&node.path);
            output::text(&format!("{} c {}:{}\n", path.display(), node.major, node.minor))?;
        }
    }
    Ok(())
}

impl LinkArgs {
    fn make_links(&self, roots: &Roots) -> Result<(), Failure> {
        let folder = match &self.dev_char_path {
            Some(folder) => std::path::absolute(folder).map_err(|error| Failure::io("bad path", &error))?,
            None => roots.dev_path(Path::new(DEV_CHAR)),
        };
        for node in nodes(roots)? {
            if !self.create_all && node.state(roots) == NodeState::Missing {
                continue;
            }
            let link = folder.join(format!("{}:{}", node.major, node.minor));
            let target = target(&link, &roots.dev_path(&node.path), &roots.dev_path(Path::new("/dev")));
            if fs::read_link(&link).is_ok_and(|present| present == target) {
                continue;
            }
            output::text(&format!("{} -> {}\n", link.display(), target.display()))?;
            if !self.dry_run {
                put_link(&link, &target)
                    .map_err(|error| Failure::io(format!("cannot make '{}'", link.display()), &error))?;
            }
        }
        Ok(())
    }
}

/// `../nvidia0` where the links lie in the `char` of the nodes' own `dev`, as udev writes it; else the whole path.
fn target(link: &Path, node: &Path, dev: &Path) -> PathBuf {
    match node.strip_prefix(dev) {
        Ok(name) if link.parent().and_then(Path::parent) == Some(dev) => Path::new("..").join(name),
        _ => node.to_owned(),
    }
}

/// A link under another name, then a rename: whoever looks finds the old one or the new one.
fn put_link(link: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(link.parent().unwrap_or(link))?;
    let mut temporary = link.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    symlink(target, &temporary)?;
    fs::rename(&temporary, link).inspect_err(|_| {
        // Only litter is lost if this fails too.
        let _ = fs::remove_file(&temporary);
    })
}

/// Loads the modules by the driver root's own `modprobe`, which has their files.
fn load(roots: &Roots, is_wanted: bool, dry_run: bool) -> Result<(), Failure> {
    for module in MODULES.iter().filter(|_| is_wanted) {
        if dry_run {
            output::text(&format!("modprobe {module}\n"))?;
            continue;
        }
        let mut modprobe = match roots.driver.parent() {
            None => Command::new(MODPROBE),
            Some(_) => {
                let mut chroot = Command::new("chroot");
                chroot.arg(&roots.driver).arg(MODPROBE);
                chroot
            }
        };
        let outcome = modprobe.arg(module).output();
        let outcome = outcome.map_err(|error| Failure::new(NOT_FOUND, format!("cannot start {MODPROBE}: {error}")))?;
        if !outcome.status.success() {
            let why = String::from_utf8_lossy(&outcome.stderr);
            let message = format!(
                "cannot load module '{module}' of '{}': {}; install the driver there, or load it by hand",
                roots.driver.display(),
                why.trim()
            );
            return Err(Failure::new(UNABLE, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_beside_their_nodes_are_short() {
        let table = [
            ("/dev/char/195:0", "/dev/nvidia0", "/dev", "../nvidia0"),
            (
                "/dev/char/236:1",
                "/dev/nvidia-caps/nvidia-cap1",
                "/dev",
                "../nvidia-caps/nvidia-cap1",
            ),
            (
                "/dev/char/195:0",
                "/run/nvidia/dev/nvidia0",
                "/run/nvidia/dev",
                "/run/nvidia/dev/nvidia0",
            ),
            ("/srv/char/195:0", "/dev/nvidia0", "/dev", "/dev/nvidia0"),
        ];
        for (link, node, dev, wanted) in table {
            assert_eq!(
                target(Path::new(link), Path::new(node), Path::new(dev)),
                Path::new(wanted)
            );
        }
    }
}
