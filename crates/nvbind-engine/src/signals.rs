//! The signals that are passed on to a container or to the engine that runs it.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal's number and its name.
type Named = (fn() -> SignalKind, &'static str);

/// Signals that are passed on. Those that stop or cannot be caught are the kernel's.
const FORWARDED: [Named; 6] = [
    (SignalKind::hangup, "SIGHUP"),
    (SignalKind::interrupt, "SIGINT"),
    (SignalKind::quit, "SIGQUIT"),
    (SignalKind::terminate, "SIGTERM"),
    (SignalKind::user_defined1, "SIGUSR1"),
    (SignalKind::user_defined2, "SIGUSR2"),
];

/// The signals that arrive from now on instead of ending this process.
#[derive(Debug)]
pub(crate) struct Signals(Vec<Signal>);

impl Signals {
    /// Begins to catch them.
    pub(crate) fn catch() -> io::Result<Self> {
        FORWARDED
            .iter()
            .map(|(kind, _)| signal(kind()))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// Waits for the next one: its number and name.
    pub(crate) async fn next(&mut self) -> (i32, &'static str) {
        std::future::poll_fn(|context| {
            let arrived = self
                .0
                .iter_mut()
                .position(|signal| signal.poll_recv(context).is_ready());
            match arrived {
                Some(at) => std::task::Poll::Ready((FORWARDED[at].0().as_raw_value(), FORWARDED[at].1)),
                None => std::task::Poll::Pending,
            }
        })
        .await
    }
}
