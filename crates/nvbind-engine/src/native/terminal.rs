//! A terminal for the command: its pseudo-terminal on one side, the caller's own on the other.

use crate::native::foreground::{Signals, forward, wait};
use crate::native::{Capsule, Error};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// End of transmission (control-D): what a terminal's reader takes for the end of the input.
const END_OF_INPUT: u8 = 4;

/// The socket on which the container's terminal arrives.
#[derive(Debug)]
pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// Listens in the bundle.
    pub(super) fn listen(bundle: &Path) -> Result<Self, Error> {
        let path = bundle.join("console.sock");
        let folder = std::fs::File::open(bundle).map_err(Error::io("open", bundle))?;
        // An address has 108 bytes at most: reach a deep folder through its descriptor.
        let short = format!("/proc/self/fd/{}/console.sock", folder.as_raw_fd());
        let listener = UnixListener::bind(short).map_err(Error::io("listen on", &path))?;
        Ok(Self { listener, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal's master side, which a container that was made has sent.
    pub(super) fn accept(self) -> Result<OwnedFd, Error> {
        let failed = |error: std::io::Error| Error::io("receive a terminal on", &self.path)(error);
        let (stream, _) = self.listener.accept().map_err(failed)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0u8; 256];
        recvmsg(
            &stream,
            &mut [IoSliceMut::new(&mut name)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
        .map_err(|error| failed(error.into()))?;
        let received = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        received.ok_or_else(|| failed(std::io::Error::other("none came")))
    }
}

/// The caller's terminal without line editing; as it was again when this is dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `None` when standard input is no terminal.
    fn enter() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Gives the container's terminal the size of the caller's.
pub(super) fn fit(master: &OwnedFd) {
    let terminals = [rustix::stdio::stdin(), rustix::stdio::stdout()];
    if let Some(size) = terminals.into_iter().find_map(|fd| tcgetwinsize(fd).ok()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// Passes input, output, signals and the terminal's size on until the command ends: its exit code.
pub(super) fn attend(capsule: &Capsule, signals: &Signals, master: OwnedFd, pass_input: bool) -> Result<u8, Error> {
    let _raw = pass_input.then(RawMode::enter).flatten();
    let mut relay = Relay::new(master, pass_input)?;
    while !relay.step(capsule, signals)? {}
    relay.drain();
    capsule.wait()
}

/// Bytes under way between the two terminals.
struct Relay {
    master: OwnedFd,
    /// Input that the container has not taken yet.
    input: Vec<u8>,
    input_open: bool,
    /// Some process has the container's terminal open.
    master_open: bool,
    /// Somebody reads what the caller's standard output takes.
    stdout_open: bool,
}

/// What `poll` found.
struct Ready {
    end: bool,
    signal: bool,
    master: bool,
    input: bool,
}

impl Relay {
    fn new(master: OwnedFd, input_open: bool) -> Result<Self, Error> {
        let failed = |error: Errno| Error::io("set up", Path::new("the container's terminal"))(error);
        let flags = fcntl_getfl(&master).map_err(failed)?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK).map_err(failed)?;
        Ok(Self {
            master,
            input: Vec::new(),
            input_open,
            master_open: true,
            stdout_open: true,
        })
    }

    /// Waits until something can be done, and does it; `true` once the command has ended.
    fn step(&mut self, capsule: &Capsule, signals: &Signals) -> Result<bool, Error> {
        let ready = self.ready(capsule, signals)?;
        // The new size before the keys that were typed after it.
        if ready.signal && forward(capsule, signals) {
            fit(&self.master);
        }
        if ready.input {
            self.take_input();
        }
        if ready.master {
            self.give_input();
            self.pass_output(capsule);
        }
        Ok(ready.end)
    }

    fn ready(&self, capsule: &Capsule, signals: &Signals) -> Result<Ready, Error> {
        let master_flags = if self.input.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        let mut fds = vec![
            PollFd::from_borrowed_fd(capsule.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
        ];
        let mut add = |wanted: bool, fd, flags| {
            fds.extend(wanted.then(|| PollFd::from_borrowed_fd(fd, flags)));
            wanted.then(|| fds.len() - 1)
        };
        // Hung up (nobody has the other side open), the master would be ready for ever.
        let master = add(self.master_open, self.master.as_fd(), master_flags);
        let input = add(
            self.input_open && self.input.is_empty(),
            rustix::stdio::stdin(),
            PollFlags::IN,
        );
        wait(&mut fds)?;
        let ready = |index: usize| !fds[index].revents().is_empty();
        Ok(Ready {
            end: ready(0),
            signal: ready(1),
            master: master.is_some_and(ready),
            input: input.is_some_and(ready),
        })
    }

    fn take_input(&mut self) {
        let mut buffer = [0u8; 4096];
        match read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => {
                self.input_open = false;
                // A pipe that ended: say so the way a person would.
                self.input.push(END_OF_INPUT);
            }
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.input_open = false,
        }
        self.give_input();
    }

    fn give_input(&mut self) {
        if self.input.is_empty() {
            return;
        }
        if let Ok(written) = write(&self.master, &self.input) {
            self.input.drain(..written);
        }
    }

    /// Passes one buffer of output on.
    fn pass_output(&mut self, capsule: &Capsule) {
        let mut buffer = [0u8; 16384];
        match read(&self.master, &mut buffer) {
            Ok(length @ 1..) => self.show(capsule, &buffer[..length]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO: no process has the terminal open.
            Ok(0) | Err(_) => self.master_open = false,
        }
    }

    /// Writes output where the caller wants it. Once nobody reads there, the container is told, and its output dropped:
    /// a command whose terminal is full would wait for ever.
    fn show(&mut self, capsule: &Capsule, output: &[u8]) {
        if self.stdout_open && !write_all(rustix::stdio::stdout(), output) {
            self.stdout_open = false;
            capsule.deliver(rustix::process::Signal::HUP);
        }
    }

    /// Passes on what the command wrote before it ended.
    fn drain(&self) {
        let mut buffer = [0u8; 16384];
        while let Ok(length @ 1..) = read(&self.master, &mut buffer) {
            if !write_all(rustix::stdio::stdout(), &buffer[..length]) {
                return;
            }
        }
    }
}

/// Writes everything; `false` when nobody reads any more.
pub(super) fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                let _ = rustix::event::poll(&mut fds, None);
            }
            Err(_) => return false,
        }
    }
    true
}
