//! A container's standard input: a FIFO that ctr makes, and that this process writes.
//!
//! ctr (1.6) would copy its own standard input into the FIFO, and containerd's shim keeps the FIFO open beside it until
//! told that all is there. Either opens it in a thread of its own, whenever that comes to run. Told too early, the shim is
//! not reading yet: on a busy machine the container then waits for its input for ever, or finds nothing where there was
//! some. So ctr is given a pipe in which nothing comes, this process opens the FIFO, which succeeds once the shim
//! reads, and only then come the input and its end.

use super::api;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, fstat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;

/// Pause before containerd is asked again whether it has the task, and the FIFO opened again.
const RETRY: Duration = Duration::from_millis(20);

/// What the container reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// This process's terminal.
    Terminal,
    /// What this process is given.
    Piped,
    /// Nothing.
    Nothing,
    /// Nothing, and nobody waits for the container's end.
    Detached,
}

/// Writes the standard input of a container, as soon as there is one, to its end. `of_ctr` is the other end of ctr's own.
pub(super) async fn write(id: &str, input: Input, of_ctr: OwnedFd) -> io::Result<()> {
    let opened = open(id).await;
    let written = match opened {
        Ok(fifo) if input == Input::Piped => {
            feed(fifo).await;
            Ok(())
        }
        opened => opened.map(drop),
    };
    drop(of_ctr);
    while !matches!(api::close_stdin(id).await, Ok(true)) {
        tokio::time::sleep(RETRY).await;
    }
    written
}

/// The FIFO, once the shim reads from it.
async fn open(id: &str) -> io::Result<File> {
    loop {
        // Until the task is there, containerd's answer is that it is not; that containerd is gone, ctr will say.
        if let Ok(Some(path)) = api::stdin(id).await {
            match open_for_reader(&path) {
                // No reader yet, or the container has ended and ctr, about to end, has removed the FIFO.
                Err(Errno::NXIO | Errno::NOENT) => {}
                opened => return opened.map_err(Into::into),
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Opens a FIFO to write to it; `ENXIO` where no one has it open to read, `EINVAL` where it is none.
fn open_for_reader(path: &Path) -> Result<File, Errno> {
    let fifo = openat(
        CWD,
        path,
        OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    if FileType::from_raw_mode(fstat(&fifo)?.st_mode) != FileType::Fifo {
        return Err(Errno::INVAL);
    }
    fcntl_setfl(&fifo, OFlags::empty())?;
    Ok(fifo.into())
}

/// Copies this process's standard input, to its end.
async fn feed(mut fifo: File) {
    let (sender, end) = oneshot::channel();
    std::thread::spawn(move || {
        // A container that reads no further is no failure.
        let _ = io::copy(&mut io::stdin(), &mut fifo);
        drop(fifo);
        let _ = sender.send(());
    });
    let _ = end.await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_fifo_is_opened_once_someone_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &path, Mode::RWXU).unwrap();
        assert_eq!(open_for_reader(&path).unwrap_err(), Errno::NXIO);
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut text = String::new();
                File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        let mut fifo = loop {
            if let Ok(fifo) = open_for_reader(&path) {
                break fifo;
            }
        };
        // More than a FIFO holds: it is written to in blocking mode.
        fifo.write_all(&[b'x'; 1 << 20]).unwrap();
        drop(fifo);
        assert_eq!(reader.join().unwrap().len(), 1 << 20);
    }

    #[test]
    fn only_a_fifo_is_written_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(open_for_reader(file.path()).unwrap_err(), Errno::INVAL);
    }
}
