//! Kubernetes' container runtime interface (CRI), as far as a kubelet uses it to start a container. Debian has no `crictl`.
//!
//! The messages are those fields of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto` that are used here.

use http::{Method, Request};
use prost::Message;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The node's own network (`NamespaceMode.NODE`): the test needs no network plugins.
const NODE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct PodMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct Namespaces {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct PodSecurity {
    #[prost(message, optional, tag = "1")]
    namespaces: Option<Namespaces>,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxPod {
    #[prost(message, optional, tag = "2")]
    security: Option<PodSecurity>,
}

#[derive(Clone, PartialEq, Message)]
struct PodConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodMetadata>,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPod>,
}

#[derive(Clone, PartialEq, Message)]
struct RunPod {
    #[prost(message, optional, tag = "1")]
    config: Option<PodConfig>,
    #[prost(string, tag = "2")]
    handler: String,
}

/// Answers and requests that hold one id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<Id>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    envs: Vec<KeyValue>,
    #[prost(string, tag = "11")]
    log_path: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    pod: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pod_config: Option<PodConfig>,
}

/// A pod that runs.
pub(super) struct Pod {
    id: String,
    config: PodConfig,
}

/// A kubelet's side of the interface.
pub(super) struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    /// Starts a pod by a runtime class's handler; its containers' logs go to `logs`.
    pub(super) fn run_pod(&self, handler: &str, logs: &Path) -> Pod {
        let namespaces = Some(Namespaces { network: NODE });
        let config = PodConfig {
            metadata: Some(PodMetadata {
                name: "pod".into(),
                uid: format!("uid-{handler}"),
                namespace: "test".into(),
            }),
            log_directory: logs.display().to_string(),
            labels: HashMap::new(),
            linux: Some(LinuxPod {
                security: Some(PodSecurity { namespaces }),
            }),
        };
        let request = RunPod {
            config: Some(config.clone()),
            handler: handler.into(),
        };
        Pod {
            id: self.call::<Id>("RunPodSandbox", &request).id,
            config,
        }
    }

    /// Starts a container in it; returns its id. Its log is `container.log`.
    pub(super) fn start(&self, pod: &Pod, image: &str, command: &[&str], variable: &str) -> String {
        let (key, value) = variable.split_once('=').unwrap();
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: "container".into(),
            }),
            image: Some(Id { id: image.into() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            envs: vec![KeyValue {
                key: key.into(),
                value: value.into(),
            }],
            log_path: "container.log".into(),
        };
        let request = CreateContainer {
            pod: pod.id.clone(),
            config: Some(config),
            pod_config: Some(pod.config.clone()),
        };
        let container = self.call::<Id>("CreateContainer", &request);
        self.call::<()>("StartContainer", &container);
        container.id
    }

    /// Stops and removes a pod with its containers.
    pub(super) fn remove_pod(&self, pod: &Pod) {
        let id = Id { id: pod.id.clone() };
        self.call::<()>("StopPodSandbox", &id);
        self.call::<()>("RemovePodSandbox", &id);
    }

    fn call<Answer: Message + Default>(&self, method: &str, message: &impl Message) -> Answer {
        let answer = self.runtime.block_on(self.exchange(method, message));
        Answer::decode(answer.get(5..).unwrap_or_default()).unwrap()
    }

    async fn exchange(&self, method: &str, message: &impl Message) -> Vec<u8> {
        let socket = UnixStream::connect(&self.socket).await.unwrap();
        let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://containerd/runtime.v1.RuntimeService/{method}");
        let request = Request::builder().method(Method::POST).uri(uri);
        let request = request
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        let encoded = message.encode_to_vec();
        let mut frame = vec![0];
        frame.extend(u32::try_from(encoded.len()).unwrap().to_be_bytes());
        frame.extend(encoded);
        body.send_data(frame.into(), true).unwrap();
        let response = response.await.unwrap();
        let mut headers = response.headers().clone();
        let (mut body, mut answer) = (response.into_body(), Vec::new());
        while let Some(data) = body.data().await {
            answer.extend_from_slice(&data.unwrap());
        }
        headers.extend(body.trailers().await.unwrap().unwrap_or_default());
        assert_eq!(
            headers["grpc-status"],
            "0",
            "{method}: {:?}",
            headers.get("grpc-message")
        );
        answer
    }
}
