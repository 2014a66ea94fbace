//! The root file system of a container on the host.

use crate::native::{Dirs, Error, Prepared};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount as mount_file_system, mount_change};
use std::path::{Path, PathBuf};

/// Makes the root of a container ready: for an image, an overlay that takes what the container writes.
///
/// The overlay is mounted in a mount namespace of the calling process: it goes when nvbind and the container go,
/// however they do.
pub(super) fn mount(prepared: &Prepared, dirs: &Dirs) -> Result<(), Error> {
    if let Some(lower) = &prepared.lower {
        mount_overlay(lower, &dirs.container(&prepared.id), &prepared.rootfs)?;
    }
    match &prepared.workdir {
        Some(workdir) if workdir != Path::new("/") => make_workdir(&prepared.rootfs, workdir),
        _ => Ok(()),
    }
}

/// The root of a container that runs on an image.
pub(super) fn overlay_root(dirs: &Dirs, id: &str) -> PathBuf {
    dirs.container(id).join("rootfs")
}

/// Takes an image's overlay away; where the calling process never mounted one there is nothing to take.
pub(super) fn unmount(dirs: &Dirs, id: &str) {
    let _ = rustix::mount::unmount(overlay_root(dirs, id), UnmountFlags::DETACH);
}

fn mount_overlay(lower: &Path, container: &Path, rootfs: &Path) -> Result<(), Error> {
    let (upper, work) = (container.join("upper"), container.join("work"));
    for folder in [&upper, &work, &rootfs.to_owned()] {
        std::fs::create_dir_all(folder).map_err(Error::io("make folder", folder))?;
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(Error::io("make a mount namespace for", rootfs))?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(Error::io("make a mount namespace for", rootfs))?;
    // volatile: what the container writes is thrown away with it, so nothing need be forced to disk.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        escape(lower),
        escape(&upper),
        escape(&work)
    );
    let options = std::ffi::CString::new(options).map_err(Error::io("mount the image on", rootfs))?;
    mount_file_system("overlay", rootfs, "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(Error::io("mount the image on", rootfs))
}

/// Overlay's options are a list: `,` and `:` separate.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, ',' | ':' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Makes the working directory like docker does, below the root whatever links lie on the way.
fn make_workdir(rootfs: &Path, workdir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let failed =
        |error: pathrs::error::Error| Error::io("make the working directory in", rootfs)(std::io::Error::other(error));
    let root = pathrs::Root::open(rootfs).map_err(failed)?;
    root.mkdir_all(workdir, &std::fs::Permissions::from_mode(0o755))
        .map_err(failed)
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        assert_eq!(escape(Path::new("/a,b:c\\d")), "/a\\,b\\:c\\\\d");
    }
}
