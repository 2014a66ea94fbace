//! Symbolic links to libraries and device nodes.

use super::Warnings;
use super::arguments::{Arguments, Link};
use super::root::{Folder, Root};
use rustix::io::Errno;
use std::path::{Component, Path, PathBuf};

/// Makes the links that were asked for.
pub(super) fn make(root: &Root, arguments: &Arguments, warnings: &mut Warnings) {
    let given = arguments
        .device_links
        .iter()
        .filter(|link| root.exists(&pointed_at(link)));
    let mut last: Option<(&Path, Folder)> = None;
    for link in arguments.links.iter().chain(given) {
        if let Err(error) = make_one(root, link, &mut last) {
            warnings.add(format!("link {} not made: {error}", link.path.display()));
        }
    }
}

/// Makes a link. Links come folder by folder: the last one's handle is kept.
fn make_one<'a>(root: &Root, link: &'a Link, last: &mut Option<(&'a Path, Folder)>) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (link.path.parent(), link.path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let folder = match last.take() {
        Some((path, folder)) if path == parent => folder,
        _ => root.make_folder(parent)?,
    };
    let (_, folder) = last.insert((parent, folder));
    folder.link(name, &link.target).map(|_| ())
}

/// The path that a link leads to, by its words alone: the link's folder need not be there yet.
fn pointed_at(link: &Link) -> PathBuf {
    let mut path = link.path.parent().unwrap_or(Path::new("/")).to_owned();
    for part in link.target.components() {
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
            assert_eq!(pointed_at(&link), Path::new(wanted));
        }
    }
}
