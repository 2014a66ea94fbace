//! The root file system of a container on the host.

use crate::image::copy::copy_tree;
use crate::image::overlay::{self, Upper};
use crate::native::run::Step;
use crate::native::{Dirs, Error, Prepared};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::io;
use std::path::{Path, PathBuf};

/// Makes the root of a container ready: for an image, an overlay that takes what the container writes; where the kernel
/// refuses that, a copy of its own.
///
/// The overlay is mounted in a mount namespace of the calling process: it goes when nvbind and the container go,
/// however they do.
pub(super) fn mount(prepared: &Prepared, dirs: &Dirs, on_step: &mut (dyn FnMut(Step) + Send)) -> Result<(), Error> {
    if !prepared.lowers.is_empty() {
        stack(prepared, &dirs.container(&prepared.id), on_step)?;
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

fn stack(prepared: &Prepared, container: &Path, on_step: &mut (dyn FnMut(Step) + Send)) -> Result<(), Error> {
    let rootfs = &prepared.rootfs;
    let (upper, work) = (container.join("upper"), container.join("work"));
    for folder in [&upper, &work, rootfs] {
        std::fs::create_dir_all(folder).map_err(Error::io("make folder", folder))?;
    }
    overlay::own_mounts().map_err(Error::io("make a mount namespace for", rootfs))?;
    let layers = Upper {
        upper: &upper,
        work: &work,
    };
    match (
        overlay::mount(&prepared.lowers, Some(layers), rootfs),
        prepared.lowers.as_slice(),
    ) {
        (Ok(()), _) => Ok(()),
        // One folder has everything: the store keeps images so where overlays are refused.
        (Err(error), [whole]) => {
            on_step(Step::Copy(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)));
            copy_tree(whole, rootfs)
                .map(|_| ())
                .map_err(Error::io("copy the image to", rootfs))
        }
        (Err(error), _) => Err(Error::io("mount the image on", rootfs)(error)),
    }
}

/// Shows the files that a container will begin with, before its root is ready, to a function that only reads.
pub(super) fn look_inside<T: Send>(
    prepared: &Prepared,
    look: impl FnOnce(&Path) -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let rootfs = &prepared.rootfs;
    match prepared.lowers.as_slice() {
        [] => return look(rootfs),
        [one] => return look(one),
        _ => {}
    }
    std::fs::create_dir_all(rootfs).map_err(Error::io("make folder", rootfs))?;
    let view = || {
        overlay::own_mounts()
            .and_then(|()| overlay::mount(&prepared.lowers, None, rootfs))
            .map_err(Error::io("mount the image on", rootfs))?;
        look(rootfs)
    };
    // In a thread of its own, with which the mount goes.
    let seen = std::thread::scope(|scope| scope.spawn(view).join());
    seen.unwrap_or_else(|_| Err(Error::io("look into", rootfs)(io::Error::other("the look was cut off"))))
}

/// Makes the working directory like docker does, below the root whatever links lie on the way.
fn make_workdir(rootfs: &Path, workdir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let failed =
        |error: pathrs::error::Error| Error::io("make the working directory in", rootfs)(io::Error::other(error));
    let root = pathrs::Root::open(rootfs).map_err(failed)?;
    root.mkdir_all(workdir, &std::fs::Permissions::from_mode(0o755))
        .map_err(failed)
        .map(|_| ())
}
