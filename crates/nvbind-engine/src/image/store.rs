//! Unpacked images: `<images>/<digest of the configuration>/rootfs`, there whole or not at all.

use crate::image::blob::Checked;
use crate::image::decompress::decompress;
use crate::image::layer::unpack_layer;
use crate::image::layout::{Contents, Layer, Layout};
use crate::image::{Error, Image, Unpack};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, syncfs};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The image of a layout, unpacked into the store unless it is there. Asks nothing of the layers when it is.
pub fn ensure(
    images: &Path,
    path: &Path,
    reference: Option<&str>,
    progress: &mut (dyn FnMut(Unpack) + Send),
) -> Result<Image, Error> {
    let layout = Layout::open(path)?;
    let contents = layout.contents(reference)?;
    let home = images.join(contents.id.hex());
    let image = Image {
        rootfs: home.join("rootfs"),
        config: contents.config.clone(),
    };
    if home.exists() {
        return Ok(image);
    }
    let store = lock(images).map_err(Error::io(images, "the image store cannot be locked"))?;
    if !home.exists() {
        let new = images.join(".new");
        build(&layout, &contents, &new, progress)?;
        let failed = || Error::io(&home, "cannot be written");
        // Whole on the disk before it has its name: a name is a promise.
        syncfs(&store).map_err(|error| failed()(error.into()))?;
        std::fs::rename(&new, &home).map_err(failed())?;
    }
    Ok(image)
}

/// Makes the store's folder and locks it; one process unpacks at a time.
fn lock(images: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::DirBuilderExt;
    // Closed to others: images hold set-user-ID programs and device nodes.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(images)?;
    let fd = open(
        images,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    flock(&fd, FlockOperation::LockExclusive)?;
    Ok(fd)
}

fn build(
    layout: &Layout,
    contents: &Contents,
    new: &Path,
    progress: &mut (dyn FnMut(Unpack) + Send),
) -> Result<(), Error> {
    let failed = || Error::io(new, "cannot be written");
    match std::fs::remove_dir_all(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    let rootfs = new.join("rootfs");
    std::fs::create_dir_all(&rootfs).map_err(failed())?;
    let total = contents.layers.iter().map(|layer| layer.blob.size).sum();
    let mut done = 0;
    let mut count = |bytes: usize| {
        done += bytes as u64;
        progress(Unpack { done, total });
    };
    // Opened here: inside, no path of the host exists.
    let readers = contents
        .layers
        .iter()
        .map(|layer| Ok((layer, open_layer(layout, layer)?)));
    let readers = readers.collect::<Result<Vec<_>, Error>>()?;
    let work = || {
        enter(&rootfs).map_err(failed())?;
        readers
            .into_iter()
            .try_for_each(|(layer, reader)| unpack(layout, layer, reader, &mut count))
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(failed()(io::Error::other("the unpacking was cut off"))))
}

/// Makes a folder the root of the calling thread alone: whatever a layer's names and links say, nothing outside of it
/// can be reached.
fn enter(rootfs: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS)?;
    rustix::process::chroot(rootfs)?;
    std::env::set_current_dir("/")
}

fn open_layer<'a>(layout: &'a Layout, layer: &Layer) -> Result<Box<dyn Read + Send + 'a>, Error> {
    let missing = || layout.malformed(&layer.blob.file.display().to_string(), "it is missing");
    layout.read(&layer.blob.file)?.ok_or_else(missing)
}

/// Unpacks one layer and believes it only after its last byte.
fn unpack(layout: &Layout, layer: &Layer, reader: impl Read, count: &mut dyn FnMut(usize)) -> Result<(), Error> {
    let path = layout.path();
    let refused = |error: io::Error| Error::Layer {
        path: path.to_owned(),
        digest: layer.diff_id.to_string(),
        why: Error::words(&error),
    };
    let mut raw = Checked::new(Counted { inner: reader, count });
    let mut plain = Checked::new(decompress(&mut raw).map_err(refused)?);
    unpack_layer(&mut plain).map_err(refused)?;
    plain.verify(path, &layer.diff_id, None)?;
    match &layer.blob.digest {
        Some(digest) => raw.verify(path, digest, Some(layer.blob.size)),
        None => Ok(()),
    }
}

struct Counted<'a, R> {
    inner: R,
    count: &'a mut dyn FnMut(usize),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        (self.count)(length);
        Ok(length)
    }
}
