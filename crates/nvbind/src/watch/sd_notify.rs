//! Telling systemd how the service does (sd_notify(3)): a datagram to the socket in `NOTIFY_SOCKET`.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket, when there is one.
pub(super) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// systemd wants to hear that the service is alive (`WatchdogSec=`).
    has_watchdog: bool,
    is_ready: bool,
}

impl Notifier {
    pub(super) fn from_env() -> Self {
        Self {
            socket: env::var_os("NOTIFY_SOCKET").and_then(|name| connect(name.as_bytes())),
            has_watchdog: env::var_os("WATCHDOG_USEC").is_some(),
            is_ready: false,
        }
    }

    /// The service is up (told once), and how it does.
    pub(super) fn ready(&mut self, status: &str) {
        let first = if self.is_ready { "" } else { "READY=1\n" };
        self.is_ready = true;
        self.send(&format!("{first}STATUS={status}\n"));
    }

    pub(super) fn alive(&self) {
        if self.has_watchdog {
            self.send("WATCHDOG=1\n");
        }
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// A manager that does not listen is no trouble of ours.
    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// `@name` is an abstract socket, everything else a path.
fn connect(name: &[u8]) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
    };
    Some((UnixDatagram::unbound().ok()?, address.ok()?))
}
