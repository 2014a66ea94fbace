//! The life of a container.

use super::attach::{Attached, copy_input, copy_output};
use super::connect::Daemon;
use super::error::{is_status, text};
use super::terminal::{self, RawTerminal};
use super::{Error, create, image, inject, label};
use crate::signals::Signals;
use crate::{ContainerState, Context, ExitStatus, GpuAccess};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as ApiError;
use bollard::models::ContainerStateStatusEnum as Status;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use nvbind_workload::Workload;
use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::thread::JoinHandle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// HTTP status of "there is no such container".
const NOT_FOUND: u16 = 404;
/// HTTP status of "it is being removed already", and of a name that is in use.
const CONFLICT: u16 = 409;

/// Runs a workload; see [`super::run`].
pub(super) async fn run(
    daemon: &Daemon,
    workload: &Workload,
    image: &str,
    gpu: &GpuAccess,
    context: &Context<'_>,
) -> Result<ExitStatus, Error> {
    let mut signals = Signals::catch().map_err(Error::Local)?;
    let prepared = prepare(daemon, workload, image, gpu, context);
    let id = tokio::select! {
        id = prepared => id?,
        (signal, _) = signals.next() => return Ok(ExitStatus::of_signal(signal)),
    };
    let ended = match workload.detach {
        true => start(&daemon.api, &id, &workload.name)
            .await
            .map(|()| ExitStatus::from_engine(0)),
        false => attended(daemon, &id, workload, &mut signals).await,
    };
    if workload.detach && ended.is_ok() {
        return ended;
    }
    // The container's own end is what the caller asked about; what is left is found by its label.
    let removed = remove_one(&daemon.api, &id).await;
    ended.and_then(|status| removed.map(|()| status))
}

/// Makes the container: its id.
async fn prepare(
    daemon: &Daemon,
    workload: &Workload,
    image: &str,
    gpu: &GpuAccess,
    context: &Context<'_>,
) -> Result<String, Error> {
    let info = daemon.api.info().await.map_err(Error::api("ask", "info"))?;
    let injection = inject::choose(&info, gpu, inject::in_specs)?;
    image::ensure(&daemon.api, image, workload.pull, context.progress).await?;
    let console = if workload.tty { terminal::size() } else { None };
    let body = create::body(workload, image, gpu, &injection, context.binding, console)?;
    let options = CreateContainerOptionsBuilder::default().name(&workload.name).build();
    let made = daemon.api.create_container(Some(options), body).await;
    made.map(|made| made.id)
        .map_err(Error::api("create container", &workload.name))
}

async fn start(api: &Docker, id: &str, name: &str) -> Result<(), Error> {
    let started = api.start_container(id, None::<StartContainerOptions>).await;
    started.map_err(|error| Error::Start {
        name: name.to_owned(),
        why: text(&error),
    })
}

/// Starts a container and stays with it until it ends.
async fn attended(daemon: &Daemon, id: &str, workload: &Workload, signals: &mut Signals) -> Result<ExitStatus, Error> {
    let name = &workload.name;
    let stream_error = |source| Error::Stream {
        name: name.clone(),
        source,
    };
    let attached = Attached::open(&daemon.socket, id, workload.stdin).map_err(stream_error)?;
    start(&daemon.api, id, name).await?;
    let ended = pin!(exit_code(&daemon.api, id, name));
    let raw = if workload.tty && workload.stdin {
        RawTerminal::enter()
    } else {
        None
    };
    let streams = Streams::start(attached, workload.stdin, workload.tty);
    let status = accompany(&daemon.api, id, workload.tty, ended, signals, streams.output_lost).await?;
    // The output ends when the container has; the input may wait for a person for ever.
    let copied = streams
        .output
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the copier of the output failed")));
    drop(raw);
    match copied {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(stream_error(error)),
        _ => Ok(status),
    }
}

/// The code with which a container that was started ended or will end. It is not removed before that is known.
async fn exit_code(api: &Docker, id: &str, name: &str) -> Result<ExitStatus, Error> {
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let mut answers = pin!(api.wait_container(id, Some(options)));
    match answers.next().await {
        Some(Ok(answer)) => Ok(ExitStatus::from_engine(answer.status_code)),
        // What the API client calls an error is any code but 0.
        Some(Err(ApiError::DockerContainerWaitError { code, .. })) => Ok(ExitStatus::from_engine(code)),
        Some(Err(error)) => Err(Error::api("wait for container", name)(error)),
        None => Err(Error::Stream {
            name: name.to_owned(),
            source: io::ErrorKind::UnexpectedEof.into(),
        }),
    }
}

/// Passes on signals and the window's size until the container ends.
async fn accompany(
    api: &Docker,
    id: &str,
    tty: bool,
    mut ended: impl Future<Output = Result<ExitStatus, Error>> + Unpin,
    signals: &mut Signals,
    mut output_lost: oneshot::Receiver<()>,
) -> Result<ExitStatus, Error> {
    let mut window = signal(SignalKind::window_change()).map_err(Error::Local)?;
    let mut output_is_read = true;
    if tty {
        resize(api, id).await;
    }
    loop {
        tokio::select! {
            status = &mut ended => return status,
            (_, name) = signals.next() => kill(api, id, name).await,
            _ = window.recv(), if tty => resize(api, id).await,
            // As the kernel does it to a program whose reader is gone.
            lost = &mut output_lost, if output_is_read => {
                output_is_read = false;
                if lost.is_ok() {
                    kill(api, id, "SIGKILL").await;
                }
            }
        }
    }
}

/// Sends a signal. That the container has just ended is no error.
async fn kill(api: &Docker, id: &str, signal: &str) {
    let options = KillContainerOptionsBuilder::default().signal(signal).build();
    let _ = api.kill_container(id, Some(options)).await;
}

async fn resize(api: &Docker, id: &str) {
    if let Some((rows, columns)) = terminal::size() {
        let options = ResizeContainerTTYOptionsBuilder::default()
            .h(rows.into())
            .w(columns.into())
            .build();
        let _ = api.resize_container_tty(id, options).await;
    }
}

/// The threads that copy a container's standard streams.
#[derive(Debug)]
struct Streams {
    output: JoinHandle<io::Result<()>>,
    output_lost: oneshot::Receiver<()>,
}

impl Streams {
    fn start(attached: Attached, stdin: bool, tty: bool) -> Self {
        let (mut from, to) = attached.split();
        let (sender, output_lost) = oneshot::channel();
        let output = std::thread::spawn(move || {
            let copied = copy_output(&mut from, tty, &mut io::stdout(), &mut io::stderr());
            if copied.is_err() {
                let _ = sender.send(());
            }
            copied
        });
        if stdin {
            // Left alone at the end: a read from a terminal cannot be taken back. A container that does not read ends
            // the copy with an error that nobody needs.
            std::thread::spawn(move || copy_input(io::stdin(), to));
        }
        Self { output, output_lost }
    }
}

/// Ids of the containers of a binding: one, or none.
pub(super) async fn find(api: &Docker, binding: &str) -> Result<Vec<String>, Error> {
    let filters = HashMap::from([("label", vec![label(binding)])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let found = api
        .list_containers(Some(options))
        .await
        .map_err(Error::api("list containers of", binding))?;
    Ok(found.into_iter().filter_map(|container| container.id).collect())
}

/// Removes the containers of a binding, with the volumes that docker made for them.
pub(super) async fn remove(api: &Docker, binding: &str) -> Result<(), Error> {
    for id in find(api, binding).await? {
        remove_one(api, &id).await?;
    }
    Ok(())
}

async fn remove_one(api: &Docker, id: &str) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match api.remove_container(id, Some(options)).await {
        Err(error) if !is_status(&error, NOT_FOUND) && !is_status(&error, CONFLICT) => {
            Err(Error::api("remove container", id)(error))
        }
        _ => Ok(()),
    }
}

/// Stops a container; see [`super::stop`].
pub(super) async fn stop(api: &Docker, id: &str, seconds: u32) -> Result<(), Error> {
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::default().t(seconds).build();
    api.stop_container(id, Some(options))
        .await
        .map_err(Error::api("stop container", id))
}

/// Writes a container's output; see [`super::logs`].
pub(super) async fn logs(api: &Docker, id: &str, follow: bool) -> Result<(), Error> {
    let options = LogsOptionsBuilder::default()
        .follow(follow)
        .stdout(true)
        .stderr(true)
        .build();
    let pieces = api.logs(id, Some(options)).map_err(Error::api("read the logs of", id));
    write_logs(pieces, id).await
}

async fn write_logs(pieces: impl Stream<Item = Result<LogOutput, Error>>, id: &str) -> Result<(), Error> {
    let mut pieces = pin!(pieces);
    while let Some(piece) = pieces.next().await {
        let written = match piece? {
            LogOutput::StdErr { message } => io::stderr().write_all(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => io::stdout().write_all(&message),
            LogOutput::StdIn { .. } => Ok(()),
        };
        written
            .and_then(|()| io::stdout().flush())
            .map_err(|source| Error::Stream {
                name: id.to_owned(),
                source,
            })?;
    }
    Ok(())
}

/// What the container of a binding is doing; see [`super::state`].
pub(super) async fn state(api: &Docker, binding: &str) -> Result<Option<ContainerState>, Error> {
    let Some(id) = find(api, binding).await?.into_iter().next() else {
        return Ok(None);
    };
    let inspected = match api.inspect_container(&id, None).await {
        Err(error) if is_status(&error, NOT_FOUND) => return Ok(None),
        other => other.map_err(Error::api("inspect container", &id))?,
    };
    let state = inspected.state.unwrap_or_default();
    Ok(Some(match state.status {
        Some(Status::CREATED) => ContainerState::Created,
        Some(Status::EXITED | Status::DEAD | Status::REMOVING) => {
            ContainerState::Exited(ExitStatus::from_engine(state.exit_code.unwrap_or_default()).code)
        }
        _ => ContainerState::Running,
    }))
}
