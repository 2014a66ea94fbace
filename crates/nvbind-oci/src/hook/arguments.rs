//! The hook's command line.

use super::Warnings;
use std::path::{Component, Path, PathBuf};

/// Asks that the driver's libraries leave device nodes alone.
pub(crate) const NO_NODE_MODIFICATION: &str = "--no-device-node-modification";

/// A symbolic link to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// What it points at, as `ln -s` would write it.
    pub(crate) target: PathBuf,
    /// Its path in the container.
    pub(crate) path: PathBuf,
}

impl Link {
    /// The argument that asks the hook for it, as a link that leads to a device node.
    pub(crate) fn to_device_argument(&self) -> String {
        format!("--device-link={}::{}", self.target.display(), self.path.display())
    }

    /// The path that it leads to, by its words alone: its folder need not be there yet.
    pub(crate) fn leads_to(&self) -> PathBuf {
        let mut path = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        for part in self.target.components() {
            match part {
                Component::RootDir => path = PathBuf::from("/"),
                Component::ParentDir => {
                    path.pop();
                }
                Component::Normal(name) => path.push(name),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
        path
    }
}

/// What the hook is to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Links to make.
    pub(crate) links: Vec<Link>,
    /// Links to make where the device node that they lead to was given to the container.
    pub(crate) device_links: Vec<Link>,
    /// Libraries that the dynamic loader must find.
    pub(crate) libraries: Vec<PathBuf>,
    /// Version of the host's driver; without it CUDA compatibility libraries of the image are left alone.
    pub(crate) host_driver_version: Option<String>,
    /// The newest CUDA version that the host's driver supports.
    pub(crate) host_cuda_version: Option<String>,
    /// Whether the driver's libraries are told to leave device nodes alone.
    pub(crate) protects_nodes: bool,
}

impl Arguments {
    /// Reads the flags after the command's name. One that is not understood is left out with a warning.
    pub(crate) fn parse(args: &[String], warnings: &mut Warnings) -> Self {
        let mut parsed = Self::default();
        for argument in args {
            if parsed.add(argument).is_none() {
                warnings.add(format!("argument {argument:?} is not understood: left out"));
            }
        }
        parsed
    }

    fn add(&mut self, argument: &str) -> Option<()> {
        if argument == NO_NODE_MODIFICATION {
            self.protects_nodes = true;
            return Some(());
        }
        match argument.split_once('=')? {
            ("--link", value) => self.links.push(link(value)?),
            ("--device-link", value) => self.device_links.push(link(value)?),
            ("--library", value) => self.libraries.push(absolute(value)?),
            ("--host-driver-version", value) => self.host_driver_version = Some(value.to_owned()),
            ("--host-cuda-version", value) => self.host_cuda_version = Some(value.to_owned()),
            _ => return None,
        }
        Some(())
    }
}

fn link(value: &str) -> Option<Link> {
    let (target, path) = value.split_once("::")?;
    let target = (!target.is_empty() && !target.contains('\0')).then(|| PathBuf::from(target))?;
    Some(Link {
        target,
        path: absolute(path)?,
    })
}

/// An absolute path without `..`, with a name at its end.
fn absolute(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    (path.is_absolute() && plain && path.file_name().is_some() && !text.contains('\0')).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_resolved_by_their_words() {
        let table = [
            ("../card0", "/dev/dri/by-path/pci", "/dev/dri/card0"),
            ("/dev/nvidia0", "/dev/dri/by-path/pci", "/dev/nvidia0"),
            ("./a/b", "/x", "/a/b"),
            ("../../../../y", "/a/b", "/y"),
        ];
        for (target, path, wanted) in table {
            let link = Link {
                target: target.into(),
                path: path.into(),
            };
            assert_eq!(link.leads_to(), Path::new(wanted));
        }
    }

    #[test]
    fn flags_are_read_and_strange_ones_are_left_out() {
        let args = [
            "--link=libcuda.so.1::/usr/lib/libcuda.so",
            "--device-link=../card0::/dev/dri/by-path/pci-0000:07:00.0-card",
            "--library=/usr/lib/libcuda.so.1",
            "--future=1",
            "word",
            "--link=x",
            "--link=::/x",
            "--link=a::relative",
            "--link=a::/b/../c",
            "--library=/",
            "--library=a\0b",
        ];
        let mut warnings = Warnings::default();
        let parsed = Arguments::parse(&args.map(str::to_owned), &mut warnings);
        assert_eq!(parsed.links.len(), 1);
        assert_eq!(parsed.links[0].path, Path::new("/usr/lib/libcuda.so"));
        assert_eq!(parsed.device_links[0].target, Path::new("../card0"));
        assert_eq!(parsed.libraries, [PathBuf::from("/usr/lib/libcuda.so.1")]);
        assert_eq!(warnings.lines().len(), 8);
    }
}
