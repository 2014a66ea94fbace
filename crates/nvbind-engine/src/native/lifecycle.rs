//! Containers that are there: list, stop, remove, clean up after.

use crate::native::bundle::Lock;
use crate::native::dirs::check_id;
use crate::native::{Dirs, Error, cgroup, logs, rootfs, userns};
use libcontainer::notify_socket::NOTIFY_FILE;
use nvbind_alloc::{Binding, Ledger, Owner, Status};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a process that should end is looked at.
const TICK: Duration = Duration::from_millis(5);
/// How long processes of a start that was cut off may take to notice.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every container, oldest first.
pub fn list(ledger: &Ledger) -> Result<Vec<Binding>, Error> {
    Ok(ledger.list()?)
}

/// Ends a container: SIGTERM, and SIGKILL when it still runs after `grace`. One that has ended already is no error.
pub fn stop(ledger: &Ledger, key: &str, grace: Duration) -> Result<(), Error> {
    let binding = own(ledger.find(key)?)?;
    if binding.status == Status::Exited {
        return Ok(());
    }
    signal(&binding, Signal::TERM);
    if ended_within(ledger, &binding, grace)? {
        return Ok(());
    }
    signal(&binding, Signal::KILL);
    let cgroup = binding.cgroup.as_deref().unwrap_or_default();
    cgroup::kill(cgroup, &binding.name)?;
    if ended_within(ledger, &binding, PATIENCE)? {
        Ok(())
    } else {
        Err(Error::Stuck { name: binding.name })
    }
}

/// Forgets a container that has ended, with its log; with `force` one that runs is killed first.
pub fn remove(ledger: &mut Ledger, dirs: &Dirs, key: &str, force: bool) -> Result<(), Error> {
    let binding = own(ledger.find(key)?)?;
    if binding.status != Status::Exited {
        if !force {
            return Err(Error::Running { name: binding.name });
        }
        stop(ledger, &binding.id, Duration::ZERO)?;
    }
    clean(dirs, &binding.id, &binding.name)?;
    ledger.finish(&binding.id)?;
    Ok(())
}

/// A container of this engine: it has a cgroup of ours.
pub(super) fn own(binding: Binding) -> Result<Binding, Error> {
    match binding.cgroup {
        Some(_) => Ok(binding),
        None => Err(Error::OtherEngine {
            name: binding.name,
            engine: binding.engine,
        }),
    }
}

/// Sends a signal to the first process, once it is sure that the number is still its own.
fn signal(binding: &Binding, signal: Signal) {
    let pid = binding.pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(pid) = pid else { return };
    if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty())
        && (cgroup::holds(binding.cgroup.as_deref().unwrap_or_default(), pid) || is_child_of_owner(binding, pid))
    {
        let _ = pidfd_send_signal(&fd, signal);
    }
}

/// Whether a process is a child of the container's owner, which lives: what there is to go by without a cgroup.
fn is_child_of_owner(binding: &Binding, pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let is_child = parent.and_then(|text| text.trim().parse().ok()) == Some(binding.owner.pid);
    is_child && Owner::current().is_ok_and(|me| binding.owner.is_alive(&me.boot_id))
}

/// Whether the container's owner has written down its end, or taken its binding away, by then.
fn ended_within(ledger: &Ledger, binding: &Binding, time: Duration) -> Result<bool, Error> {
    let start = Instant::now();
    loop {
        match ledger.find(&binding.id) {
            Err(nvbind_alloc::Error::NotFound { .. }) => return Ok(true),
            Ok(now) if now.status == Status::Exited => return Ok(true),
            Ok(_) if start.elapsed() >= time => return Ok(false),
            Ok(_) => std::thread::sleep(TICK),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes everything that a container leaves on the host. What is gone already is no error.
pub(super) fn clean(dirs: &Dirs, id: &str, name: &str) -> Result<(), Error> {
    clean_but_log(dirs, id, name)?;
    remove_folder(&dirs.container(id))
}

/// Removes everything but the log.
pub(super) fn clean_but_log(dirs: &Dirs, id: &str, name: &str) -> Result<(), Error> {
    check_id(id)?;
    // A container's files may belong to ids that only its namespace maps.
    userns::enter()?;
    let (cgroup, bundle) = (cgroup::path(id), dirs.bundle(id));
    cgroup::kill(&cgroup, name)?;
    cgroup::remove(&cgroup)?;
    remove_folder(&bundle)?;
    rootfs::unmount(dirs, id);
    logs::remove_all_but_logs(&dirs.container(id))
}

/// Waits until no process of a start that was cut off is left outside the container's cgroup: such a process would make
/// cgroups and files after they were removed.
pub(super) fn settle(dirs: &Dirs, id: &str, name: &str) -> Result<(), Error> {
    check_id(id)?;
    let (cgroup, bundle) = (cgroup::path(id), dirs.bundle(id));
    let start = Instant::now();
    while !Lock::is_free(&bundle) {
        if start.elapsed() > PATIENCE {
            return Err(Error::Stuck { name: name.to_owned() });
        }
        cgroup::kill(&cgroup, name)?;
        wake(&bundle.join(id));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Lets a process of a start that was cut off go on, if it waits for the word to run the command: it sees that nobody
/// answers for it any more, and ends. Where there is no cgroup, nothing else finds it.
fn wake(container: &Path) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // By descriptor: a socket's path is at most 108 bytes long.
    if let Ok(folder) = open(container, flags, Mode::empty()) {
        let _ = UnixStream::connect(format!("/proc/self/fd/{}/{NOTIFY_FILE}", folder.as_raw_fd()));
    }
}

pub(super) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", folder)(error)),
        _ => Ok(()),
    }
}
