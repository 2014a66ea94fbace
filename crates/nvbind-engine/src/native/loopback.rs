//! The loopback link of a container without network: a new network namespace has it, but down.

use crate::native::{Error, netlink};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Takes the calling process, which must have one thread, into a network namespace of its own and loopback up in it.
///
/// For where nvbind is root of a user namespace only: it then may not look into a process that was told not to be
/// looked into, as `libcontainer` tells each. The container is made from inside.
pub(super) fn leave_network() -> Result<(), Error> {
    let own = PathBuf::from("/proc/self/ns/net");
    unshare(CloneFlags::CLONE_NEWNET).map_err(Error::io("make a network namespace beside", &own))?;
    netlink::loopback_up().map_err(Error::io("take loopback up in", &own))
}

/// Takes loopback up in the network namespace of `pid`. Visits it with the calling thread and comes back.
pub(super) fn up(pid: Pid) -> Result<(), Error> {
    let theirs = PathBuf::from(format!("/proc/{}/ns/net", pid.as_raw_nonzero()));
    let failed = |error: rustix::io::Errno| Error::io("take loopback up in", &theirs)(error);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = open("/proc/thread-self/ns/net", flags, Mode::empty()).map_err(failed)?;
    let other = open(&theirs, flags, Mode::empty()).map_err(failed)?;
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(other.as_fd(), kind).map_err(failed)?;
    let done = netlink::loopback_up();
    move_into_link_name_space(own.as_fd(), kind).map_err(failed)?;
    done.map_err(failed)
}
