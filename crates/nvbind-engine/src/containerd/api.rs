//! The things of containerd's interface that `ctr` has no command for: to write and close a container's standard input, and
//! to ask how it ended without removing it.
//!
//! gRPC as its specification has it ("gRPC over HTTP2"), one call a connection. The messages are those fields of
//! containerd's `api/services/tasks/v1/tasks.proto` and `api/types/task/task.proto` that are used here.

use super::ctr;
use http::{Method, Request};
use prost::Message;
use std::io;
use std::path::PathBuf;
use tokio::net::UnixStream;

/// Statuses of a task (`containerd.v1.types.Status`).
const UNKNOWN: i32 = 0;
const CREATED: i32 = 1;
const STOPPED: i32 = 3;
/// gRPC's status code of what is not there.
const NOT_FOUND: &str = "5";
const OK: &str = "0";

#[derive(Clone, PartialEq, Message)]
struct CloseIoRequest {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(bool, tag = "3")]
    stdin: bool,
}

#[derive(Clone, PartialEq, Message)]
struct GetRequest {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct GetResponse {
    #[prost(message, optional, tag = "1")]
    process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(int32, tag = "4")]
    status: i32,
    #[prost(string, tag = "5")]
    stdin: String,
    #[prost(uint32, tag = "9")]
    exit_status: u32,
}

/// The error where containerd's shim of a task does not answer.
pub(super) const SHIM_SILENT: &str = "containerd's shim does not answer";

/// What a task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// It was not started yet.
    Created,
    /// It runs, or is paused.
    Running,
    /// It ended with that code.
    Stopped(u32),
}

/// Closes the standard input of a container: it has read all that there is. `false` when there is no task yet.
pub(super) async fn close_stdin(id: &str) -> io::Result<bool> {
    let request = CloseIoRequest {
        container_id: id.to_owned(),
        stdin: true,
    };
    Ok(call("CloseIO", &request).await?.is_some())
}

/// The task of a container; `None` when there is none.
pub(super) fn task(id: &str) -> io::Result<Option<Task>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let process = runtime.block_on(process(id))?;
    Ok(process.map(|process| match process.status {
        CREATED => Task::Created,
        STOPPED => Task::Stopped(process.exit_status),
        _ => Task::Running,
    }))
}

/// The FIFO that is the standard input of a container; `None` when there is no task yet.
pub(super) async fn stdin(id: &str) -> io::Result<Option<PathBuf>> {
    let process = process(id).await?;
    Ok(process.map(|process| process.stdin.into()))
}

async fn process(id: &str) -> io::Result<Option<Process>> {
    let request = GetRequest {
        container_id: id.to_owned(),
    };
    let Some(answer) = call("Get", &request).await? else {
        return Ok(None);
    };
    let answer = GetResponse::decode(answer.as_slice()).map_err(io::Error::other)?;
    match answer.process {
        // A shim has two seconds to answer, which can be too few on a busy machine; containerd then says that there is a task.
        Some(Process { status: UNKNOWN, .. }) => Err(io::Error::other(SHIM_SILENT)),
        process => Ok(process),
    }
}

/// Calls a method of the service of tasks; `None` when what it is about is not there.
async fn call(method: &str, message: &impl Message) -> io::Result<Option<Vec<u8>>> {
    let socket = UnixStream::connect(ctr::address()).await?;
    let (mut client, connection) = h2::client::handshake(socket).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://containerd/containerd.services.tasks.v1.Tasks/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("containerd-namespace", ctr::namespace())
        .body(())
        .map_err(io::Error::other)?;
    let (response, mut body) = client.send_request(request, false).map_err(io::Error::other)?;
    body.send_data(framed(message).into(), true).map_err(io::Error::other)?;
    let response = response.await.map_err(io::Error::other)?;
    // An error without an answer has its status among the headers.
    let mut headers = response.headers().clone();
    let mut body = response.into_body();
    let mut answer = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(io::Error::other)?;
        let _ = body.flow_control().release_capacity(data.len());
        answer.extend_from_slice(&data);
    }
    headers.extend(body.trailers().await.map_err(io::Error::other)?.unwrap_or_default());
    connection.abort();
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    match text("grpc-status").as_str() {
        OK => Ok(Some(answer.get(PREFIX..).unwrap_or_default().to_vec())),
        NOT_FOUND => Ok(None),
        _ => Err(io::Error::other(text("grpc-message"))),
    }
}

/// Length of what stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

fn framed(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(body);
    frame
}
