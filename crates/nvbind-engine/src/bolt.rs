//! Containers by the Bolt container runtime.
//!
//! Bolt and nvbind call each other. A workload with a root file system comes *from* Bolt, which prepared it: nvbind runs
//! it itself ([`runs_itself`]) and never calls back. A workload with an image goes *to* `bolt run`, which starts podman;
//! podman is told by a configuration file of ours (`CONTAINERS_CONF`) to start the container through `nvbind-runtime`.

mod conf;

use crate::access::environment;
use crate::child::{self, forward};
use crate::{Context, ExitStatus, GpuAccess};
use nvbind_workload::Workload;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const BOLT: &str = "bolt";
const PODMAN: &str = "podman";

/// Set for everything that is started by `bolt run`: an nvbind that finds it does not call Bolt again.
pub const FROM_BOLT: &str = "NVBIND_FROM_BOLT";
/// Variable in the container that says which binding it belongs to: `bolt run` cannot set a label.
const BINDING_VARIABLE: &str = "NVBIND_BINDING";

/// What can go wrong with Bolt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bolt or the engine below it is not there.
    #[error(
        "{program} is not installed, and --runtime bolt without --rootfs needs it: install it or use --runtime native"
    )]
    NotInstalled {
        /// Name of the program.
        program: &'static str,
    },
    /// The OCI runtime shim is not there.
    #[error(
        "bolt needs nvbind-runtime to give a container GPUs, and it is neither beside nvbind nor on PATH: run 'make install'"
    )]
    NoShim,
    /// Bolt has called nvbind, and is not called back.
    #[error(
        "nvbind was started by bolt for '{name}' without --rootfs: calling bolt again would never end; pass --rootfs or use --runtime native"
    )]
    Loop {
        /// Name of the workload.
        name: String,
    },
    /// The workload has no image.
    #[error("bolt needs an image for '{name}'")]
    NoImage {
        /// Name of the workload.
        name: String,
    },
    /// `bolt run` has no way to pass something on.
    #[error("'bolt run' cannot pass on {what}: leave it out, pass --rootfs, or use --runtime native, docker or podman")]
    Unsupported {
        /// The options, comma-separated.
        what: String,
    },
    /// A configuration file of podman's cannot be read or written.
    #[error("cannot use podman's configuration {path}: {why}")]
    Conf {
        /// Path of the file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A program cannot be started.
    #[error("cannot run bolt: {0}")]
    Start(#[source] io::Error),
    /// Podman, which has the container, refused.
    #[error("podman could not {action} '{name}': {why}")]
    Failed {
        /// What was asked for.
        action: &'static str,
        /// Name of the container.
        name: String,
        /// What podman says.
        why: String,
    },
}

impl Error {
    /// The exit code of `nvbind` for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Loop { .. } | Self::NoImage { .. } | Self::Unsupported { .. } | Self::Conf { .. } => 2,
            Self::NotInstalled { .. } | Self::NoShim => 5,
            Self::Start(_) | Self::Failed { .. } => 1,
        }
    }

    fn start(program: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Self::NotInstalled { program },
            _ => Self::Start(error),
        }
    }
}

/// Whether the workload is one that Bolt prepared: the native engine is to run it.
pub fn runs_itself(workload: &Workload) -> bool {
    workload.rootfs.is_some()
}

/// Runs a workload by `bolt run` to its end. Bolt shows the container's output when it has ended and turns every
/// failure into exit code 1.
pub fn run(workload: &Workload, gpu: &GpuAccess, context: &Context<'_>) -> Result<ExitStatus, Error> {
    if std::env::var_os(FROM_BOLT).is_some() {
        return Err(Error::Loop {
            name: workload.name.clone(),
        });
    }
    let arguments = arguments(workload, gpu, context)?;
    // With docker below it, Bolt has no way in for GPUs.
    let podman = Command::new(PODMAN).arg("--version").stdin(Stdio::null()).output();
    podman.map_err(Error::start(PODMAN))?;
    let conf = conf::write(context.work_dir, context.shim.ok_or(Error::NoShim)?, workload.network)?;
    let mut bolt = Command::new(BOLT);
    bolt.args(arguments)
        .env("CONTAINERS_CONF", conf)
        .env(FROM_BOLT, "1")
        .stdin(Stdio::null());
    let status = forward(bolt, &async |_| false).map_err(Error::start(BOLT))?;
    cleanup(context.binding, &workload.name)?;
    Ok(status)
}

/// The arguments of `bolt run`.
pub fn arguments(workload: &Workload, gpu: &GpuAccess, context: &Context<'_>) -> Result<Vec<OsString>, Error> {
    let image = workload.image.as_ref().ok_or_else(|| Error::NoImage {
        name: workload.name.clone(),
    })?;
    let unsupported = unsupported(workload);
    if !unsupported.is_empty() {
        return Err(Error::Unsupported {
            what: unsupported.join(", "),
        });
    }
    let mut arguments: Vec<OsString> = vec![
        "run".into(),
        image.to_string().into(),
        "-n".into(),
        (&workload.name).into(),
    ];
    let binding = format!("{BINDING_VARIABLE}={}", context.binding);
    for entry in environment(workload, &gpu.variables()).into_iter().chain([binding]) {
        arguments.extend(["-e".into(), entry.into()]);
    }
    for volume in &workload.volumes {
        arguments.extend(["-v".into(), volume.to_string().into()]);
    }
    Ok(arguments)
}

/// What a workload asks for that `bolt run` has no option for, as nvbind's options.
fn unsupported(workload: &Workload) -> Vec<&'static str> {
    let asked = [
        ("a command", !workload.command.is_empty()),
        ("--workdir", workload.workdir.is_some()),
        ("--user", workload.user.is_some()),
        ("--tty", workload.tty),
        ("--interactive", workload.stdin),
        ("--detach", workload.detach),
        ("--memory", workload.memory_bytes.is_some()),
        ("--cpus", workload.cpus.is_some()),
        ("--hostname", workload.hostname.is_some()),
        ("--read-only", workload.read_only),
    ];
    asked
        .into_iter()
        .filter(|(_, asked)| *asked)
        .map(|(name, _)| name)
        .collect()
}

/// Removes the container of a binding, running or not. `Ok` when there is none (any more), and when a container of that
/// name belongs to someone else.
pub fn cleanup(binding: &str, name: &str) -> Result<(), Error> {
    let is_ours = |environment: &str| {
        environment
            .split('\n')
            .any(|entry| entry == format!("{BINDING_VARIABLE}={binding}"))
    };
    let format = "{{range .Config.Env}}{{println .}}{{end}}";
    match ask(&["container", "inspect", "--format", format, name])? {
        Ok(environment) if is_ours(&environment) => {
            let removed = ask(&["rm", "--force", "--volumes", "--time", "0", name])?;
            removed.map(|_| ()).map_err(|why| Error::Failed {
                action: "remove",
                name: name.to_owned(),
                why,
            })
        }
        Ok(_) => Ok(()),
        Err(why) if why.contains("no such container") => Ok(()),
        Err(why) => Err(Error::Failed {
            action: "inspect",
            name: name.to_owned(),
            why,
        }),
    }
}

fn ask(arguments: &[&str]) -> Result<Result<String, String>, Error> {
    child::ask(Command::new(PODMAN).args(arguments)).map_err(Error::start(PODMAN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_gpu::Capabilities;
    use nvbind_workload::ImageRef;
    use std::path::Path;

    fn context() -> Context<'static> {
        Context {
            binding: "b1",
            shim: None,
            work_dir: Path::new("/nonexistent"),
            engine_args: &[],
            progress: &|_| (),
        }
    }

    fn workload() -> Workload {
        Workload {
            image: Some(ImageRef::Name("steam:1".into())),
            ..Workload::new("game")
        }
    }

    #[test]
    fn the_arguments_are_those_that_bolt_run_has() {
        let workload = Workload {
            env: vec![("A".into(), "1".into())],
            volumes: vec!["/data:/mnt:ro".parse().unwrap()],
            ..workload()
        };
        let gpu = GpuAccess {
            devices: vec!["GPU-a".into()],
            capabilities: Capabilities::DEFAULT,
        };
        let expected = "run steam:1 -n game -e A=1 -e NVIDIA_VISIBLE_DEVICES=GPU-a \
                        -e NVIDIA_DRIVER_CAPABILITIES=compute,utility -e NVBIND_BINDING=b1 -v /data:/mnt:ro";
        let arguments = arguments(&workload, &gpu, &context()).unwrap();
        assert_eq!(arguments.join(" ".as_ref()), expected);
    }

    #[test]
    fn what_bolt_run_cannot_carry_is_named() {
        let workload = Workload {
            command: vec!["ls".into()],
            tty: true,
            ..workload()
        };
        let error = arguments(&workload, &GpuAccess::none(), &context()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error
                .to_string()
                .starts_with("'bolt run' cannot pass on a command, --tty: "),
            "{error}"
        );
    }

    #[test]
    fn a_root_file_system_is_not_for_bolt() {
        assert!(runs_itself(&Workload {
            rootfs: Some("/srv/root".into()),
            ..workload()
        }));
        assert!(!runs_itself(&workload()));
    }
}
