//! The loopback link of a container without network: a new network namespace has it, but down.

use crate::native::{Error, netlink};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use std::path::PathBuf;

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
