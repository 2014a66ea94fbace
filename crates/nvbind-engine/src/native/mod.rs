//! The native engine: containers of our own on `libcontainer`, no daemon, no other program.
//!
//! Everything that a container leaves on the host is named by its binding's id: the bundle `<run>/<id>`, the folder
//! `<state>/containers/<id>` and the cgroup `/nvbind-<id>`. The binding is written first and forgotten last, so
//! [`recover`] finds what a killed nvbind left.

mod bundle;
mod capsule;
mod cgroup;
mod dirs;
mod error;
mod executor;
mod foreground;
mod lifecycle;
mod logs;
mod loopback;
mod netlink;
mod recover;
mod rootfs;
mod run;
mod supervise;
mod terminal;
mod user;
mod userns;

pub use bundle::Prepared;
pub use capsule::{Capsule, Streams};
pub use dirs::Dirs;
pub use error::Error;
pub use lifecycle::{list, remove, stop};
pub use logs::logs;
pub use recover::recover;
pub use run::{Request, Step, new_id, run};
pub use supervise::{launch, supervise};
pub use userns::{Rootless, own_files};
