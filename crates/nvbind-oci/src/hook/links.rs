//! Symbolic links to libraries and device nodes.

use super::Warnings;
use super::arguments::Link;
use super::root::{Folder, Root};
use rustix::io::Errno;
use std::path::Path;

/// Makes the links.
pub(crate) fn make<'a>(root: &Root, links: impl Iterator<Item = &'a Link>, warnings: &mut Warnings) {
    let mut last: Option<(&Path, Folder)> = None;
    for link in links {
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
