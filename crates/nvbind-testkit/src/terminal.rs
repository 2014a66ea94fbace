//! A pseudo-terminal with a program in it.

use crate::PATIENCE;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// A program whose controlling terminal is a pseudo-terminal that the test holds.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    output: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Terminal {
    /// Starts a program in a new terminal of that size.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Self {
        let (master, slave) = open_pair();
        set_size(&master, rows, columns);
        let handle = || {
            slave
                .try_clone()
                .unwrap_or_else(|error| panic!("cannot copy a terminal: {error}"))
        };
        // setsid makes its standard input the controlling terminal, which otherwise takes code between fork and exec.
        let mut inside = Command::new("setsid");
        inside
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        let child = inside.stdin(handle()).stdout(handle()).stderr(handle()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start setsid: {error}"));
        let master = File::from(master);
        let output = read_all(&master);
        Self {
            master,
            output,
            seen: String::new(),
            child,
        }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .unwrap_or_else(|error| panic!("cannot type into a terminal: {error}"));
    }

    /// Changes the size of the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    /// Waits until the screen has shown `text`, and forgets everything up to its end.
    pub fn expect(&mut self, text: &str) {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("the terminal did not show {text:?} ({error}), but {:?}", self.seen),
            }
        }
    }

    /// Waits for the program's end; returns its status and the rest of what it showed.
    pub fn finish(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap_or_else(|error| panic!("cannot wait: {error}"));
        while let Ok(bytes) = self.output.recv_timeout(std::time::Duration::from_secs(2)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        (status, self.seen)
    }

    /// Whether the terminal echoes and edits lines, as it does while no program has made it raw.
    pub fn is_cooked(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master).unwrap_or_else(|error| panic!("tcgetattr: {error}"));
        modes
            .local_modes
            .contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    }
}

fn open_pair() -> (OwnedFd, OwnedFd) {
    let open = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        Ok((master, slave))
    };
    open().unwrap_or_else(|error| panic!("cannot open a pseudo-terminal: {error}"))
}

fn set_size(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).unwrap_or_else(|error| panic!("cannot size a terminal: {error}"));
}

fn read_all(master: &File) -> Receiver<Vec<u8>> {
    let mut reader = master
        .try_clone()
        .unwrap_or_else(|error| panic!("cannot copy a terminal: {error}"));
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // The read fails with EIO once the last program has closed the terminal.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
