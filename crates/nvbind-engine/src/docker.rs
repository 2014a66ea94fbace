//! Containers by the docker daemon, through its API.
//!
//! Every container carries the id of its binding as a label ([`BINDING_LABEL`]), so that the functions here find it
//! without any memory of their own, also after nvbind was killed.

mod attach;
mod connect;
mod container;
mod create;
mod error;
mod image;
mod inject;
mod terminal;

pub use error::Error;

use crate::{BINDING_LABEL, ContainerState, Context, ExitStatus, GpuAccess};
use connect::{Daemon, connect};
use nvbind_workload::Workload;
use std::future::Future;

/// Runs a workload to its end (or, detached, until it has started) and returns its exit code. The container is removed
/// unless it was detached. Signals go to the container; with a terminal it gets the window's size.
pub fn run(workload: &Workload, gpu: &GpuAccess, context: &Context<'_>) -> Result<ExitStatus, Error> {
    let image = create::image(workload)?;
    let daemon = connect()?;
    block_on(container::run(&daemon, workload, image, gpu, context))
}

/// Removes the container of a binding, running or not. `Ok` when there is none (any more); an error when the daemon
/// cannot be asked: the binding is to be kept then.
pub fn cleanup(binding: &str) -> Result<(), Error> {
    let daemon = connect()?;
    block_on(container::remove(&daemon.api, binding))
}

/// Asks the container of a binding to stop, and kills it after `seconds`.
pub fn stop(binding: &str, seconds: u32) -> Result<(), Error> {
    with_container(binding, async |daemon, id| {
        container::stop(&daemon.api, &id, seconds).await
    })
}

/// Writes what the container of a binding has said to standard output and error; with `follow` until it ends.
pub fn logs(binding: &str, follow: bool) -> Result<(), Error> {
    with_container(binding, async |daemon, id| {
        container::logs(&daemon.api, &id, follow).await
    })
}

/// What the container of a binding is doing; `None` when there is none.
pub fn state(binding: &str) -> Result<Option<ContainerState>, Error> {
    let daemon = connect()?;
    block_on(container::state(&daemon.api, binding))
}

fn with_container<F>(binding: &str, work: F) -> Result<(), Error>
where
    F: AsyncFnOnce(&Daemon, String) -> Result<(), Error>,
{
    let daemon = connect()?;
    block_on(async {
        let ids = container::find(&daemon.api, binding).await?;
        let id = ids.into_iter().next().ok_or_else(|| Error::NoContainer {
            binding: binding.to_owned(),
        })?;
        work(&daemon, id).await
    })
}

/// Runs a future on a runtime of this thread, the only asynchronous place of the engines.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Local)?;
    runtime.block_on(work)
}

/// The label of a binding's container, as `name=value`.
fn label(binding: &str) -> String {
    format!("{BINDING_LABEL}={binding}")
}
