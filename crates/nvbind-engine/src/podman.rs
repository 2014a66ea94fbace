//! Containers by podman, through its command line: it has no daemon, so that is its interface on every machine.
//!
//! GPUs come by `nvbind-runtime` as podman's OCI runtime. That works on every version, as root and without, and needs
//! no CDI spec in the system's folders.

use crate::access::environment;
use crate::child::{self, forward};
use crate::{BINDING_LABEL, ContainerState, Context, ExitStatus, GpuAccess};
use nvbind_workload::{ImageRef, Pull, Volume, Workload};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PODMAN: &str = "podman";
/// Exit code of `podman run` when podman itself failed.
const PODMAN_FAILED: u8 = 125;

/// What can go wrong with podman.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Podman is not there.
    #[error("podman is not installed: 'apt-get install podman' or use --runtime native")]
    NotInstalled,
    /// The OCI runtime shim is not there.
    #[error(
        "podman needs nvbind-runtime to give a container GPUs, and it is neither beside nvbind nor on PATH: run 'make install'"
    )]
    NoShim,
    /// The workload has nothing to run.
    #[error("podman needs an image or --rootfs for '{name}'")]
    NoImage {
        /// Name of the workload.
        name: String,
    },
    /// The image is not there and cannot be pulled.
    #[error("image '{image}' not found by podman; check the name, or bring it with 'podman pull' or 'podman load'")]
    ImageNotFound {
        /// Name of the image.
        image: String,
    },
    /// Podman cannot be started, or its output not read.
    #[error("cannot run podman: {0}")]
    Start(#[source] io::Error),
    /// Podman refused.
    #[error("podman could not {action} binding '{binding}': {why}")]
    Failed {
        /// What was asked for.
        action: &'static str,
        /// Id of the binding.
        binding: String,
        /// What podman says.
        why: String,
    },
    /// No container belongs to that binding.
    #[error("podman has no container of binding '{binding}'; 'nvbind ps' lists what runs")]
    NoContainer {
        /// Id of the binding.
        binding: String,
    },
}

impl Error {
    /// The exit code of `nvbind` for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoImage { .. } => 2,
            Self::ImageNotFound { .. } | Self::NoContainer { .. } => 4,
            Self::NotInstalled | Self::NoShim => 5,
            Self::Start(_) | Self::Failed { .. } => 1,
        }
    }

    fn start(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::NotInstalled
        } else {
            Self::Start(error)
        }
    }
}

/// Runs a workload to its end (or, detached, until it has started) and returns its exit code; podman's own failures are
/// 125. Standard streams and terminal are this process's, signals are passed on.
pub fn run(workload: &Workload, gpu: &GpuAccess, context: &Context<'_>) -> Result<ExitStatus, Error> {
    let arguments = arguments(workload, gpu, context)?;
    let cid_file = fresh_cid_file(context).map_err(Error::Start)?;
    let mut podman = Command::new(PODMAN);
    podman.args(arguments);
    if !workload.stdin {
        podman.stdin(Stdio::null());
    }
    if workload.detach {
        // The id of the container is podman's answer and not the container's output.
        podman.stdout(Stdio::null());
    }
    let status = forward(podman, &async |signal: &str| kill(signal, &cid_file).await).map_err(Error::start)?;
    if !workload.detach || status.code != 0 {
        remove_made(context.binding, &cid_file)?;
    }
    refuse_unknown_image(workload, status)
}

/// The file that podman writes the id of the container to once it has made it. Podman refuses one that is there.
fn fresh_cid_file(context: &Context<'_>) -> io::Result<PathBuf> {
    std::fs::create_dir_all(context.work_dir)?;
    let path = cid_file(context);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(path),
    }
}

fn cid_file(context: &Context<'_>) -> PathBuf {
    context.work_dir.join("podman.cid")
}

/// Sends a signal to the container, if it runs: `false` when it does not (the image is being pulled). The `podman run`
/// that is waiting would pass it on as well, but loses one that comes while the container is being started.
async fn kill(signal: &str, cid_file: &Path) -> bool {
    let mut podman = tokio::process::Command::new(PODMAN);
    podman.args(["kill", "--signal", signal, "--cidfile"]).arg(cid_file);
    podman.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    podman.status().await.is_ok_and(|status| status.success())
}

/// Removes the container that was made, if one was. Not by podman's `--rm`: on a busy machine version 4.3 has removed
/// the container before it asks for its exit code, and answers 0.
fn remove_made(binding: &str, cid_file: &Path) -> Result<(), Error> {
    if std::fs::metadata(cid_file).map_or(0, |file| file.len()) == 0 {
        return Ok(());
    }
    let mut podman = Command::new(PODMAN);
    podman
        .args(["rm", "--force", "--ignore", "--volumes", "--time", "0", "--cidfile"])
        .arg(cid_file);
    let removed = child::ask(&mut podman).map_err(Error::start)?;
    removed.map_err(|why| Error::Failed {
        action: "remove",
        binding: binding.to_owned(),
        why,
    })?;
    std::fs::remove_file(cid_file).map_err(Error::Start)
}

/// Podman's own failures all have one code: find out whether it was for want of the image.
fn refuse_unknown_image(workload: &Workload, status: ExitStatus) -> Result<ExitStatus, Error> {
    let (None, Some(image @ ImageRef::Name(name)), PODMAN_FAILED) = (&workload.rootfs, &workload.image, status.code)
    else {
        return Ok(status);
    };
    let there = Command::new(PODMAN)
        .args(["image", "exists", &image_name(image)])
        .stdin(Stdio::null())
        .status();
    match there.map_err(Error::start)?.code() {
        Some(1) => Err(Error::ImageNotFound { image: name.clone() }),
        _ => Ok(status),
    }
}

/// The arguments of `podman run`.
pub fn arguments(workload: &Workload, gpu: &GpuAccess, context: &Context<'_>) -> Result<Vec<OsString>, Error> {
    let mut arguments = Arguments::new(["run"]);
    arguments.pair("--name", &workload.name);
    arguments.pair("--label", format!("{BINDING_LABEL}={}", context.binding));
    arguments.pair("--cidfile", cid_file(context));
    arguments.flag("--detach", workload.detach);
    if !gpu.devices.is_empty() {
        arguments.pair("--runtime", context.shim.ok_or(Error::NoShim)?);
    }
    for entry in environment(workload, &gpu.variables()) {
        arguments.pair("--env", entry);
    }
    arguments.flag("--interactive", workload.stdin);
    arguments.flag("--tty", workload.tty);
    arguments.flag("--read-only", workload.read_only);
    arguments.pair("--network", workload.network.to_string());
    arguments.optional("--workdir", workload.workdir.as_ref());
    arguments.optional("--user", workload.user.as_ref());
    arguments.optional("--hostname", workload.hostname.as_ref());
    arguments.optional("--memory", workload.memory_bytes.map(|bytes| format!("{bytes}b")));
    arguments.optional("--cpus", workload.cpus.map(|cpus| cpus.to_string()));
    for volume in &workload.volumes {
        arguments.pair("--mount", mount(volume).map_err(Error::Start)?);
    }
    let pull = Some(workload.pull).filter(|pull| *pull != Pull::Missing && workload.rootfs.is_none());
    arguments.optional("--pull", pull.map(Pull::as_str));
    arguments.0.extend(context.engine_args.iter().map(OsString::from));
    arguments.0.extend(source(workload)?);
    arguments.0.extend(workload.command.iter().map(OsString::from));
    Ok(arguments.0)
}

/// Removes the container of a binding, running or not. `Ok` when there is none (any more).
pub fn cleanup(binding: &str) -> Result<(), Error> {
    for id in find(binding)? {
        ask("remove", binding, ["rm", "--force", "--volumes", "--time", "0", &id])?;
    }
    Ok(())
}

/// Asks the container of a binding to stop, and kills it after `seconds`.
pub fn stop(binding: &str, seconds: u32) -> Result<(), Error> {
    let id = find_one(binding)?;
    ask("stop", binding, ["stop", "--time", &seconds.to_string(), &id]).map(|_| ())
}

/// Writes what the container of a binding has said to standard output and error; with `follow` until it ends.
pub fn logs(binding: &str, follow: bool) -> Result<(), Error> {
    let id = find_one(binding)?;
    let mut podman = Command::new(PODMAN);
    podman
        .arg("logs")
        .args(follow.then_some("--follow"))
        .arg(&id)
        .stdin(Stdio::null());
    let status = podman.status().map_err(Error::start)?;
    let failed = || Error::Failed {
        action: "read the logs of",
        binding: binding.to_owned(),
        why: status.to_string(),
    };
    status.success().then_some(()).ok_or_else(failed)
}

/// What the container of a binding is doing; `None` when there is none.
pub fn state(binding: &str) -> Result<Option<ContainerState>, Error> {
    let Some(id) = find(binding)?.into_iter().next() else {
        return Ok(None);
    };
    let format = "{{.State.Status}} {{.State.ExitCode}}";
    let answer = ask("inspect", binding, ["container", "inspect", "--format", format, &id])?;
    Ok(Some(parse_state(&answer)))
}

/// Reads `STATUS EXIT-CODE`.
fn parse_state(answer: &str) -> ContainerState {
    let (status, code) = answer.trim().split_once(' ').unwrap_or((answer.trim(), "0"));
    match status {
        "configured" | "created" | "initialized" => ContainerState::Created,
        "exited" | "stopped" | "removing" => {
            ContainerState::Exited(ExitStatus::from_engine(code.parse().unwrap_or(1)).code)
        }
        _ => ContainerState::Running,
    }
}

/// Ids of the containers of a binding: one, or none.
fn find(binding: &str) -> Result<Vec<String>, Error> {
    let filter = format!("label={BINDING_LABEL}={binding}");
    let answer = ask(
        "list containers of",
        binding,
        ["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter],
    )?;
    Ok(answer.split_whitespace().map(str::to_owned).collect())
}

fn find_one(binding: &str) -> Result<String, Error> {
    find(binding)?.into_iter().next().ok_or_else(|| Error::NoContainer {
        binding: binding.to_owned(),
    })
}

/// Runs podman to its end: what it printed.
fn ask<const N: usize>(action: &'static str, binding: &str, arguments: [&str; N]) -> Result<String, Error> {
    let answer = child::ask(Command::new(PODMAN).args(arguments)).map_err(Error::start)?;
    answer.map_err(|why| Error::Failed {
        action,
        binding: binding.to_owned(),
        why,
    })
}

/// What podman is to run: the image, or the root file system in its place.
fn source(workload: &Workload) -> Result<Vec<OsString>, Error> {
    match (&workload.rootfs, &workload.image) {
        (Some(rootfs), _) => Ok(vec![
            "--rootfs".into(),
            std::path::absolute(rootfs).map_err(Error::Start)?.into(),
        ]),
        (None, Some(image)) => Ok(vec![image_name(image).into()]),
        (None, None) => Err(Error::NoImage {
            name: workload.name.clone(),
        }),
    }
}

/// The image as podman names it: a layout that is a tar file is an `oci-archive:`.
fn image_name(image: &ImageRef) -> String {
    match image {
        ImageRef::Layout { path, .. } if path.is_file() => image.to_string().replacen("oci:", "oci-archive:", 1),
        other => other.to_string(),
    }
}

/// A bind mount of a path that must exist, in the notation whose paths may contain colons.
fn mount(volume: &Volume) -> io::Result<OsString> {
    let source = std::path::absolute(&volume.source)?;
    let mut text = OsString::from("type=bind,source=");
    text.push(source);
    text.push(",target=");
    text.push(&volume.target);
    if volume.read_only {
        text.push(",readonly");
    }
    Ok(text)
}

/// An argument list being written.
struct Arguments(Vec<OsString>);

impl Arguments {
    fn new<const N: usize>(first: [&str; N]) -> Self {
        Self(first.map(OsString::from).to_vec())
    }

    /// `NAME=VALUE`, in one word: a value may begin with a dash.
    fn pair(&mut self, name: &str, value: impl AsRef<Path>) {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value.as_ref());
        self.0.push(word);
    }

    fn optional(&mut self, name: &str, value: Option<impl AsRef<Path>>) {
        if let Some(value) = value {
            self.pair(name, value);
        }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.0.push(name.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_gpu::Capabilities;
    use nvbind_workload::Network;

    fn words(workload: &Workload, gpu: &GpuAccess, shim: Option<&Path>) -> Result<Vec<String>, Error> {
        let engine_args = ["--pids-limit=100".to_owned()];
        let work_dir = Path::new("/nonexistent");
        let context = Context {
            binding: "b1",
            shim,
            work_dir,
            engine_args: &engine_args,
            progress: &|_| (),
        };
        let arguments = arguments(workload, gpu, &context)?;
        Ok(arguments.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    fn gpu() -> GpuAccess {
        GpuAccess {
            devices: vec!["GPU-a".into(), "GPU-b".into()],
            capabilities: Capabilities::DEFAULT,
        }
    }

    #[test]
    fn everything_of_a_workload_reaches_podman() {
        let workload = Workload {
            image: Some(ImageRef::Name("debian:12".into())),
            command: vec!["train".into(), "--x".into()],
            env: vec![("A".into(), "1 2".into())],
            workdir: Some("/work".into()),
            user: Some("1000:1000".into()),
            volumes: vec!["/data:/mnt:ro".parse().unwrap()],
            tty: true,
            stdin: true,
            network: Network::Host,
            memory_bytes: Some(1 << 30),
            cpus: Some(1.5),
            hostname: Some("box".into()),
            read_only: true,
            ..Workload::new("job")
        };
        let expected = [
            "run",
            "--name=job",
            "--label=nvbind.binding=b1",
            "--cidfile=/nonexistent/podman.cid",
            "--runtime=/opt/nvbind-runtime",
            "--env=A=1 2",
            "--env=NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b",
            "--env=NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            "--interactive",
            "--tty",
            "--read-only",
            "--network=host",
            "--workdir=/work",
            "--user=1000:1000",
            "--hostname=box",
            "--memory=1073741824b",
            "--cpus=1.5",
            "--mount=type=bind,source=/data,target=/mnt,readonly",
            "--pids-limit=100",
            "debian:12",
            "train",
            "--x",
        ];
        assert_eq!(
            words(&workload, &gpu(), Some(Path::new("/opt/nvbind-runtime"))).unwrap(),
            expected
        );
    }

    #[test]
    fn a_root_file_system_takes_the_place_of_the_image() {
        let workload = Workload {
            rootfs: Some("/srv/root".into()),
            detach: true,
            ..Workload::new("job")
        };
        let expected = [
            "run",
            "--name=job",
            "--label=nvbind.binding=b1",
            "--cidfile=/nonexistent/podman.cid",
            "--detach",
            "--env=NVIDIA_VISIBLE_DEVICES=void",
            "--network=none",
            "--pids-limit=100",
            "--rootfs",
            "/srv/root",
        ];
        assert_eq!(words(&workload, &GpuAccess::none(), None).unwrap(), expected);
    }

    #[test]
    fn an_image_is_asked_for_as_the_user_said() {
        let words_for = |pull| {
            let workload = Workload {
                image: Some(ImageRef::Name("a".into())),
                pull,
                ..Workload::new("job")
            };
            words(&workload, &GpuAccess::none(), None).unwrap().join(" ")
        };
        assert!(words_for(Pull::Always).contains(" --pull=always "));
        assert!(words_for(Pull::Never).contains(" --pull=never "));
        assert!(!words_for(Pull::Missing).contains("--pull"));
    }

    #[test]
    fn gpus_need_the_shim() {
        let workload = Workload {
            image: Some(ImageRef::Name("a".into())),
            ..Workload::new("job")
        };
        assert_eq!(words(&workload, &gpu(), None).unwrap_err().exit_code(), 5);
        assert_eq!(
            words(&Workload::new("job"), &GpuAccess::none(), None)
                .unwrap_err()
                .exit_code(),
            2
        );
    }

    #[test]
    fn podmans_words_for_states() {
        assert_eq!(parse_state("exited 3\n"), ContainerState::Exited(3));
        assert_eq!(parse_state("running 0"), ContainerState::Running);
        assert_eq!(parse_state("created 0"), ContainerState::Created);
    }
}
