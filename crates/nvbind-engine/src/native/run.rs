//! The whole life of a container in the foreground.

use crate::image::{self, Registries};
use crate::native::bundle::{self, Lock, Prepared, Resolved};
use crate::native::capsule::{Capsule, Streams};
use crate::native::{Dirs, Error, cgroup, foreground, lifecycle, loopback, rootfs, terminal, userns};
use nvbind_alloc::{Binding, Change, Ledger, Owner, Status};
use nvbind_cdi::Edits;
use nvbind_oci::HostFacts;
use nvbind_workload::Workload;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to run, and with which devices.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Id of container and binding: letters, digits, `-`, `_`.
    pub id: &'a str,
    /// The engine as the user named it (`native`, `bolt`).
    pub engine: &'a str,
    /// What the user wants.
    pub workload: &'a Workload,
    /// What its devices need.
    pub edits: &'a Edits,
    /// UUIDs of its devices.
    pub devices: &'a [String],
    /// What is known of the host, for `NVIDIA_REQUIRE_*` of the image; `None` without devices, of which nothing is required.
    pub facts: Option<&'a HostFacts>,
    /// What is to be known of the registries that the image may come from.
    pub registries: &'a Registries,
}

/// How far a run came; told to the caller, who may show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The image is being fetched or unpacked.
    Image(image::Step),
    /// The container is an ordinary user's.
    Rootless(userns::Rootless),
    /// The kernel refused an overlay with this error: the image is copied for the container.
    Copy(rustix::io::Errno),
    /// The binding is written down.
    Bound,
    /// The container is made; its command does not run yet.
    Created,
    /// The command runs, its process numbered so by the host.
    Running(u32),
}

/// A new id: twelve hexadecimal digits.
pub fn new_id() -> Result<String, Error> {
    let source = Path::new("/proc/sys/kernel/random/uuid");
    let uuid = std::fs::read_to_string(source).map_err(Error::io("read", source))?;
    Ok(uuid.chars().filter(char::is_ascii_hexdigit).take(12).collect())
}

/// Runs a workload to its end with the caller's own standard streams: the command's exit code, or 128 and the number of
/// the signal that ended it. Nothing is left behind, whatever happens.
///
/// To be called while the process has one thread.
pub fn run(
    ledger: &mut Ledger,
    dirs: &Dirs,
    request: &Request<'_>,
    on_step: &mut (dyn FnMut(Step) + Send),
) -> Result<u8, Error> {
    let resolved = begin(ledger, dirs, request, on_step)?;
    let outcome = live(ledger, dirs, request, &resolved, on_step);
    let cleaned = lifecycle::clean(dirs, request.id, &request.workload.name);
    // A binding whose traces could not be removed stays: the next command tries again.
    let forgotten = cleaned.and_then(|()| Ok(ledger.finish(request.id)?));
    let code = outcome?;
    forgotten.map(|()| code)
}

/// Checks the request, unpacks its image and writes the binding down: the last thing before the first effect.
pub(super) fn begin(
    ledger: &mut Ledger,
    dirs: &Dirs,
    request: &Request<'_>,
    on_step: &mut (dyn FnMut(Step) + Send),
) -> Result<Resolved, Error> {
    userns::enter()?;
    if let Some(rootless) = userns::current() {
        on_step(Step::Rootless(rootless));
        if request.workload.memory_bytes.is_some() || request.workload.cpus.is_some() {
            return Err(Error::Limits);
        }
    }
    let resolved = bundle::resolve(request, dirs, on_step)?;
    ledger.begin(&binding(dirs, request, &resolved.workload)?)?;
    on_step(Step::Bound);
    Ok(resolved)
}

fn binding(dirs: &Dirs, request: &Request<'_>, workload: &Workload) -> Result<Binding, Error> {
    let image = workload.image.as_ref().map(ToString::to_string);
    let rootfs = workload.rootfs.as_ref().map(|path| path.display().to_string());
    Ok(Binding {
        id: request.id.to_owned(),
        name: workload.name.clone(),
        engine: request.engine.to_owned(),
        devices: request.devices.to_vec(),
        isolation: workload.isolation,
        owner: Owner::current().map_err(nvbind_alloc::Error::Proc)?,
        status: Status::Created,
        pid: None,
        exit_code: None,
        detached: workload.detach,
        image: image.or(rootfs).unwrap_or_default(),
        command: workload.command.clone(),
        created_at: now(),
        finished_at: None,
        bundle: Some(dirs.bundle(request.id)),
        cgroup: Some(cgroup::path(request.id)),
    })
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

fn live(
    ledger: &mut Ledger,
    dirs: &Dirs,
    request: &Request<'_>,
    resolved: &Resolved,
    on_step: &mut (dyn FnMut(Step) + Send),
) -> Result<u8, Error> {
    let _lock = Lock::create(&dirs.bundle(request.id))?;
    let prepared = bundle::write(request, resolved, dirs)?;
    rootfs::mount(&prepared, dirs, on_step)?;
    let signals = foreground::Signals::block()?;
    let console = prepared
        .tty
        .then(|| terminal::Console::listen(&prepared.bundle))
        .transpose()?;
    let streams = if prepared.stdin {
        Streams::default()
    } else {
        Streams::without_input()?
    };
    let mut capsule = Capsule::create(&prepared, streams, console.as_ref().map(terminal::Console::path))?;
    on_step(Step::Created);
    let master = console.map(terminal::Console::accept).transpose()?;
    // Before the command runs: it may ask at once.
    master.iter().for_each(terminal::fit);
    start(&mut capsule, &prepared)?;
    let pid = capsule.pid().as_raw_nonzero().get().unsigned_abs();
    ledger.update(request.id, &Change::running(pid))?;
    on_step(Step::Running(pid));
    match master {
        Some(master) => terminal::attend(&capsule, &signals, master, prepared.stdin),
        None => foreground::attend(&capsule, &signals),
    }
}

/// Lets the command of a container run.
pub(super) fn start(capsule: &mut Capsule, prepared: &Prepared) -> Result<(), Error> {
    if prepared.own_network && userns::current().is_none() {
        loopback::up(capsule.pid())?;
    }
    capsule.start()
}
