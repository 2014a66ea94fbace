//! From the layers of an image as they lie to folders that containers stand on.
//!
//! A layer is unpacked onto an overlay of those below it: names, links and whiteouts then mean what they meant when it was
//! made, and what the layer changed is in a folder of its own, which every image with the same layers below it shares. Where
//! the kernel refuses overlays, an image becomes one folder with everything in it.

use crate::image::blob::{Checked, Digest};
use crate::image::copy::copy_tree;
use crate::image::decompress::decompress;
use crate::image::layer::unpack_layer;
use crate::image::layout::Layout;
use crate::image::manifest::{Contents, Layer};
use crate::image::overlay::{self, Upper};
use crate::image::store::{Lock, Store};
use crate::image::{Amount, Error, Progress, Step};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{FlockOperation, syncfs};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What is still to be done for an image.
pub(super) struct Plan<'a> {
    contents: &'a Contents,
    form: Form,
    /// The layers from here on are to be unpacked.
    from: usize,
}

/// How layers lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Each in a folder of its own.
    Apart,
    /// In one folder with all below.
    Whole,
}

impl Form {
    fn folder(self) -> &'static str {
        match self {
            Self::Apart => "diff",
            Self::Whole => "whole",
        }
    }
}

impl<'a> Plan<'a> {
    /// What the store, which must be entered, lacks of an image; `None` when it lacks nothing.
    pub(super) fn of(store: &Store, contents: &'a Contents) -> Option<Self> {
        let chains: Vec<Digest> = contents.layers.iter().map(|layer| layer.chain.clone()).collect();
        if store.lowers(&chains).is_some() {
            return None;
        }
        let has = |chain: &Digest, form: Form| store.layer(chain).join(form.folder()).exists();
        // The lowest layer alone is whole in itself.
        let (form, from) = match chains.len() == 1 || overlay::works_in(&store.incoming()).is_ok() {
            true => (
                Form::Apart,
                chains.iter().take_while(|chain| has(chain, Form::Apart)).count(),
            ),
            false => {
                let whole =
                    |index: usize| has(&chains[index], Form::Whole) || (index == 0 && has(&chains[0], Form::Apart));
                (
                    Form::Whole,
                    (0..chains.len())
                        .rev()
                        .find(|index| whole(*index))
                        .map_or(0, |index| index + 1),
                )
            }
        };
        Some(Self { contents, form, from })
    }

    /// The layers whose files are needed.
    pub(super) fn layers(&self) -> &'a [Layer] {
        &self.contents.layers[self.from..]
    }

    /// Unpacks what is missing.
    pub(super) fn carry_out(&self, store: &Store, layout: &Layout, progress: &mut Progress<'_>) -> Result<(), Error> {
        let total = self.layers().iter().map(|layer| layer.blob.size).sum();
        let mut done = 0;
        let mut count = |bytes: usize| {
            done += bytes as u64;
            progress(Step::Unpack(Amount { done, total }));
        };
        match self.form {
            Form::Apart => (self.from..self.contents.layers.len()).try_for_each(|index| {
                let below = || {
                    self.contents.layers[..index]
                        .iter()
                        .rev()
                        .map(|layer| store.layer(&layer.chain).join("diff"))
                };
                let top = &self.contents.layers[index];
                place(store, &top.chain, Form::Apart, |new| {
                    apart(layout, top, &below().collect::<Vec<_>>(), new, &mut count)
                })
            }),
            Form::Whole => {
                let top = self
                    .contents
                    .layers
                    .last()
                    .map(|layer| &layer.chain)
                    .unwrap_or(&self.contents.id);
                place(store, top, Form::Whole, |new| {
                    self.whole(store, layout, new, &mut count)
                })
            }
        }
    }

    fn whole(&self, store: &Store, layout: &Layout, new: &Path, count: &mut Count<'_>) -> Result<u64, Error> {
        let folder = new.join(Form::Whole.folder());
        let base = self
            .from
            .checked_sub(1)
            .map(|index| store.layer(&self.contents.layers[index].chain));
        let base = base.map(|base| [Form::Whole, Form::Apart].map(|form| base.join(form.folder())));
        let mut size = 0;
        if let Some(base) = base.iter().flatten().find(|base| base.exists()) {
            size = copy_tree(base, &folder).map_err(Error::store(&folder, "cannot be written"))?;
        }
        for layer in self.layers() {
            size += inside(layout, layer, &folder, count, || enter(&folder))?;
        }
        Ok(size)
    }
}

type Count<'a> = dyn FnMut(usize) + Send + 'a;

/// Makes a layer's folder under a name that does not count, and gives it its own when it is whole and on the disk.
/// `make` returns the size of what it made in bytes.
fn place(
    store: &Store,
    chain: &Digest,
    form: Form,
    make: impl FnOnce(&Path) -> Result<u64, Error>,
) -> Result<(), Error> {
    let (workshop, home) = (
        store.incoming().join(format!("unpack-{}", chain.hex())),
        store.layer(chain),
    );
    let failed = || Error::store(&workshop, "cannot be written");
    std::fs::create_dir_all(&workshop).map_err(failed())?;
    let lock = Lock::take(&workshop, FlockOperation::LockExclusive)?;
    // Another process may have been quicker.
    if home.join(form.folder()).exists() {
        return Ok(());
    }
    let new = workshop.join("layer");
    for left in [new.clone(), workshop.join("work"), workshop.join("merged")] {
        match std::fs::remove_dir_all(&left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed()(error)),
            _ => {}
        }
    }
    std::fs::create_dir_all(new.join(form.folder())).map_err(failed())?;
    let size = make(&new)?;
    std::fs::write(new.join("size"), size.to_string()).map_err(failed())?;
    // Whole on the disk before it has its name: a name is a promise.
    syncfs(&lock).map_err(|error| failed()(error.into()))?;
    match home.exists() {
        // In another form; both may be in use.
        true => std::fs::rename(new.join(form.folder()), home.join(form.folder())).map_err(failed())?,
        false => std::fs::rename(&new, &home).map_err(failed())?,
    }
    // The folder itself goes with the next clean-up: another process may wait for its lock.
    let _ = std::fs::remove_dir_all(workshop.join("work"));
    Ok(())
}

/// Unpacks a layer onto those below it, which come topmost first.
fn apart(layout: &Layout, layer: &Layer, below: &[PathBuf], new: &Path, count: &mut Count<'_>) -> Result<u64, Error> {
    let diff = new.join(Form::Apart.folder());
    if below.is_empty() {
        return inside(layout, layer, &diff, count, || enter(&diff));
    }
    let (work, merged) = (new.with_file_name("work"), new.with_file_name("merged"));
    for folder in [&work, &merged] {
        std::fs::create_dir_all(folder).map_err(Error::store(folder, "cannot be made"))?;
    }
    inside(layout, layer, &diff, count, || {
        overlay::own_mounts()?;
        let upper = Upper {
            upper: &diff,
            work: &work,
        };
        overlay::mount(below, Some(upper), &merged)?;
        enter(&merged)
    })
}

/// Unpacks a layer in a thread of its own, which first goes where it is to be unpacked.
fn inside(
    layout: &Layout,
    layer: &Layer,
    folder: &Path,
    count: &mut Count<'_>,
    go: impl FnOnce() -> io::Result<()> + Send,
) -> Result<u64, Error> {
    let failed = || Error::store(folder, "cannot be written");
    // Opened here: inside, no path of the host exists.
    let missing = || layout.malformed(&layer.blob.file.display().to_string(), "it is missing");
    let reader = layout.read(&layer.blob.file)?.ok_or_else(missing)?;
    let work = || {
        go().map_err(failed())?;
        unpack(layout, layer, folder, reader, count)
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(failed()(io::Error::other("the unpacking was cut off"))))
}

/// Makes a folder the root of the calling thread alone: whatever a layer's names and links say, nothing outside of it
/// can be reached.
pub(super) fn enter(rootfs: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS)?;
    rustix::process::chroot(rootfs)?;
    std::env::set_current_dir("/")
}

/// Unpacks one layer and believes it only after its last byte; returns the length of the plain tar.
fn unpack(
    layout: &Layout,
    layer: &Layer,
    folder: &Path,
    reader: impl Read,
    count: &mut Count<'_>,
) -> Result<u64, Error> {
    let image = layout.name();
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
            Error::store(folder, "cannot be written")(error)
        }
        _ => Error::Layer {
            image: image.to_owned(),
            digest: layer.diff_id.to_string(),
            why: Error::words(&error),
        },
    };
    let mut raw = Checked::new(Counted { inner: reader, count });
    let mut plain = Checked::new(decompress(&mut raw).map_err(refused)?);
    unpack_layer(&mut plain).map_err(refused)?;
    let length = plain.verify(image, &layer.diff_id, None)?;
    if let Some(digest) = &layer.blob.digest {
        raw.verify(image, digest, Some(layer.blob.size))?;
    }
    Ok(length)
}

struct Counted<'a, R> {
    inner: R,
    count: &'a mut Count<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        (self.count)(length);
        Ok(length)
    }
}
