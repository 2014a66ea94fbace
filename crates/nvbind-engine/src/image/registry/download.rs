//! The files of layers: several at a time, each by one process, taken up where they were cut.

use super::error::{Meaning, meaning, root_cause};
use super::{Error, FIRST_WAIT, Session, TRIES};
use crate::image::blob::{Checked, Digest};
use crate::image::manifest::{Layer, malformed};
use crate::image::store::{Lock, Store};
use crate::image::{self, Amount, Progress, Step};
use futures_util::{StreamExt, TryStreamExt, stream};
use oci_client::client::BlobResponse;
use oci_client::errors::OciDistributionError;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Layers that are fetched at a time (docker's own number).
const AT_A_TIME: usize = 3;
/// How often it is looked whether another process has fetched a layer.
const TICK: Duration = Duration::from_millis(50);
/// An attempt that got so many bytes further is no failed one: long downloads over bad lines end, too.
const PROGRESS: u64 = 1 << 20;

/// Bytes that are there, of those that are wanted.
struct Meter<'a, 'p> {
    done: u64,
    total: u64,
    progress: &'a mut Progress<'p>,
}

impl Meter<'_, '_> {
    fn advance(&mut self, bytes: i64) {
        self.done = self.done.saturating_add_signed(bytes);
        let (done, total) = (self.done, self.total);
        (self.progress)(Step::Pull(Amount { done, total }));
    }
}

/// One layer on its way.
struct Download<'a> {
    session: &'a Session,
    digest: Digest,
    size: u64,
    path: PathBuf,
}

/// Fetches the files of layers.
pub(super) async fn layers(
    session: &Session,
    store: &Store,
    layers: &[Layer],
    progress: &mut Progress<'_>,
) -> Result<(), image::Error> {
    let mut seen = HashSet::new();
    let blobs = layers
        .iter()
        .filter_map(|layer| Some((layer.blob.digest.clone()?, layer.blob.size)));
    let blobs: Vec<_> = blobs.filter(|(digest, _)| seen.insert(digest.clone())).collect();
    let total = blobs.iter().map(|(_, size)| size).sum();
    let meter = RefCell::new(Meter {
        done: 0,
        total,
        progress,
    });
    let downloads = blobs.into_iter().map(|(digest, size)| {
        let path = store.incoming().join(digest.hex());
        let download = Download {
            session,
            digest,
            size,
            path,
        };
        download.run(store, &meter)
    });
    stream::iter(downloads).buffer_unordered(AT_A_TIME).try_collect().await
}

impl Download<'_> {
    async fn run(self, store: &Store, meter: &RefCell<Meter<'_, '_>>) -> Result<(), image::Error> {
        let home = store.blob(&self.digest);
        let count = |bytes: u64| meter.borrow_mut().advance(bytes.cast_signed());
        let Some(mut file) = self.claim(&home).await? else {
            count(self.size);
            return Ok(());
        };
        let failed = || image::Error::store(&self.path, "cannot be written");
        let mut is_resumed = self.begin(&mut file, &count).map_err(failed())?;
        loop {
            self.fill(&mut file, meter).await?;
            match self.check(&mut file) {
                Ok(()) => break,
                // What an earlier process left may be what is wrong.
                Err(_) if is_resumed => is_resumed = false,
                Err(error) => {
                    let _ = file.set_len(0);
                    return Err(error);
                }
            }
            meter.borrow_mut().advance(-self.size.cast_signed());
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed())?;
        }
        file.sync_all().map_err(failed())?;
        std::fs::rename(&self.path, &home).map_err(failed())
    }

    /// The file to write to, when this process is the one to fetch it; `None` when another has done so.
    async fn claim(&self, home: &Path) -> Result<Option<File>, image::Error> {
        let failed = || image::Error::store(&self.path, "cannot be written");
        while !home.exists() {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&self.path).map_err(failed())?;
            if Lock::try_on(&file).map_err(|error| failed()(error.into()))?.is_none() {
                tokio::time::sleep(TICK).await;
            } else if !home.exists() {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Goes to the end of what is there; whether there is something.
    fn begin(&self, file: &mut File, count: &dyn Fn(u64)) -> std::io::Result<bool> {
        if file.metadata()?.len() > self.size {
            file.set_len(0)?;
        }
        let there = file.seek(SeekFrom::End(0))?;
        count(there);
        Ok(there > 0)
    }

    /// Fetches until all bytes are there. Gives up after some tries in a row that brought next to nothing.
    async fn fill(&self, file: &mut File, meter: &RefCell<Meter<'_, '_>>) -> Result<(), image::Error> {
        let (mut tries, mut wait) = (0, FIRST_WAIT);
        loop {
            let before = self.position(file)?;
            if before >= self.size {
                return Ok(());
            }
            let why = match self.attempt(file, meter).await? {
                Ok(()) => "the connection was closed".to_owned(),
                Err(error) if matches!(meaning(&error), Meaning::Silence | Meaning::Passing) => root_cause(&error),
                Err(error) if meaning(&error) == Meaning::Absent => {
                    let digest = self.digest.to_string();
                    return Err(malformed(&self.session.name, &digest, "the registry does not have it"));
                }
                Err(error) => return Err(self.session.failure(&error).into()),
            };
            let done = self.position(file)?;
            if done >= self.size {
                return Ok(());
            }
            if done.saturating_sub(before) >= PROGRESS {
                (tries, wait) = (0, FIRST_WAIT);
            }
            tries += 1;
            if tries >= TRIES {
                return Err(self.cut(tries, done, why));
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    fn cut(&self, tries: u32, done: u64, why: String) -> image::Error {
        let cut = Error::Cut {
            name: self.session.name.clone(),
            digest: self.digest.to_string(),
            tries,
            done,
            size: self.size,
            why,
        };
        cut.into()
    }

    fn position(&self, file: &mut File) -> Result<u64, image::Error> {
        file.stream_position()
            .map_err(image::Error::store(&self.path, "cannot be read"))
    }

    /// One request, from where the file ends. The outer error is this machine's, the inner one the registry's.
    async fn attempt(
        &self,
        file: &mut File,
        meter: &RefCell<Meter<'_, '_>>,
    ) -> Result<Result<(), OciDistributionError>, image::Error> {
        let session = self.session;
        let failed = || image::Error::store(&self.path, "cannot be written");
        session
            .client
            .store_auth_if_needed(session.reference.resolve_registry(), &session.auth())
            .await;
        let mut done = self.position(file)?;
        let digest = self.digest.to_string();
        let response = session
            .client
            .pull_blob_stream_partial(&session.reference, digest.as_str(), done, None)
            .await;
        let mut stream = match response {
            Ok(BlobResponse::Partial(stream)) => stream,
            Ok(BlobResponse::Full(stream)) => {
                // A registry that knows no ranges begins anew.
                meter.borrow_mut().advance(-done.cast_signed());
                done = 0;
                file.set_len(0).and_then(|()| file.rewind()).map_err(failed())?;
                stream
            }
            Err(error) => return Ok(Err(error)),
        };
        while let Some(chunk) = stream.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                // The client's own check of a whole answer; ours comes later, and says more.
                Err(_) if done >= self.size => return Ok(Ok(())),
                Err(error) => return Ok(Err(error.into())),
            };
            done += chunk.len() as u64;
            if done > self.size {
                let _ = file.set_len(0);
                return Err(self.damaged(format!("it is longer than {} bytes", self.size)));
            }
            if let Err(error) = file.write_all(&chunk) {
                // A full disk is not kept full.
                let _ = file.set_len(0);
                return Err(failed()(error));
            }
            meter.borrow_mut().advance((chunk.len() as u64).cast_signed());
        }
        Ok(Ok(()))
    }

    fn check(&self, file: &mut File) -> Result<(), image::Error> {
        file.rewind()
            .map_err(image::Error::store(&self.path, "cannot be read"))?;
        Checked::new(&mut *file)
            .verify(&self.session.name, &self.digest, Some(self.size))
            .map(|_| ())
    }

    fn damaged(&self, why: String) -> image::Error {
        image::Error::Digest {
            image: self.session.name.clone(),
            digest: self.digest.to_string(),
            why,
        }
    }
}
