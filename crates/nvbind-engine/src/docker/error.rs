//! What can go wrong with docker.

use bollard::errors::Error as ApiError;

/// What can go wrong with docker.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `DOCKER_HOST` names something other than a Unix socket.
    #[error(
        "DOCKER_HOST={host} is not a unix:// socket: GPUs can only be given to containers on this machine; unset DOCKER_HOST"
    )]
    Host {
        /// Value of the variable.
        host: String,
    },
    /// No daemon answers.
    #[error(
        "docker does not answer on {socket}: {source}; start it with 'systemctl start docker' or use --runtime native"
    )]
    NotReachable {
        /// Path of the socket.
        socket: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The socket may not be opened.
    #[error("no permission to use docker on {socket}: run as root or join the group 'docker'")]
    Permission {
        /// Path of the socket.
        socket: String,
    },
    /// The workload has no image that docker can run.
    #[error("docker cannot run {what}: it takes the name of an image; use --runtime native")]
    Image {
        /// What the workload has instead.
        what: String,
    },
    /// The image is not there and cannot be pulled.
    #[error(
        "image '{image}' not found by docker: {why}; check the name, or bring it with 'docker pull' or 'docker load'"
    )]
    ImageNotFound {
        /// Name of the image.
        image: String,
        /// What the daemon says.
        why: String,
    },
    /// The daemon has no way to give GPUs to a container.
    #[error(
        "docker {version} cannot give a container GPUs yet: run 'nvbind runtime configure --runtime docker', then \
         'systemctl restart docker'"
    )]
    NoGpus {
        /// Version of the daemon.
        version: String,
    },
    /// The daemon uses CDI, but no spec that it reads has the device.
    #[error("docker finds no CDI device '{device}': run 'nvbind cdi generate --output {dir}/nvidia.yaml'")]
    NoCdiDevice {
        /// Qualified name.
        device: String,
        /// A folder that the daemon reads specs from.
        dir: String,
    },
    /// The container cannot be started.
    #[error("docker could not start container '{name}': {why}")]
    Start {
        /// Name of the container.
        name: String,
        /// What the daemon says.
        why: String,
    },
    /// No container belongs to that binding.
    #[error("docker has no container of binding '{binding}'; 'nvbind ps' lists what runs")]
    NoContainer {
        /// Id of the binding.
        binding: String,
    },
    /// Standard input or output of the container.
    #[error("connection to container '{name}' failed: {source}")]
    Stream {
        /// Name of the container.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Anything else that the daemon refuses.
    #[error("docker could not {action} '{name}': {}", text(.source))]
    Api {
        /// What was asked for.
        action: &'static str,
        /// Of which container or image.
        name: String,
        /// The answer.
        #[source]
        source: Box<ApiError>,
    },
    /// This process could not get what it needs to talk to the daemon.
    #[error("cannot talk to docker: {0}")]
    Local(#[source] std::io::Error),
}

impl Error {
    /// The exit code of `nvbind` for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Host { .. } | Self::Image { .. } => 2,
            Self::Permission { .. } => 3,
            Self::ImageNotFound { .. } | Self::NoContainer { .. } => 4,
            Self::NotReachable { .. } | Self::NoGpus { .. } | Self::NoCdiDevice { .. } => 5,
            Self::Start { why, .. } => start_code(why),
            Self::Stream { .. } | Self::Api { .. } | Self::Local(_) => 1,
        }
    }

    /// For `map_err`: an answer of the daemon to `action` on `name`.
    pub(super) fn api<'a>(action: &'static str, name: &'a str) -> impl Fn(ApiError) -> Self + 'a {
        move |source| Self::Api {
            action,
            name: name.to_owned(),
            source: Box::new(source),
        }
    }
}

/// What the daemon said, on one line.
pub(super) fn text(error: &ApiError) -> String {
    let text = match error {
        ApiError::DockerResponseServerError { message, .. } => message.clone(),
        ApiError::DockerStreamError { error } => error.clone(),
        other => other.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the daemon answered with that HTTP status.
pub(super) fn is_status(error: &ApiError, status: u16) -> bool {
    matches!(error, ApiError::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// The codes of a command that was not found (127) or cannot be executed (126), as a shell and docker's client have them.
fn start_code(why: &str) -> u8 {
    const NOT_FOUND: [&str; 2] = ["executable file not found", "no such file or directory"];
    if !why.contains("exec") {
        return 1;
    }
    if NOT_FOUND.iter().any(|words| why.contains(words)) {
        return 127;
    }
    if why.contains("permission denied") { 126 } else { 1 }
}
