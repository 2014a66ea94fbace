//! `nvbind run`: the options, made into a workload.

use crate::cli::RootArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::launch;
use clap::{Args, ValueHint};
use nvbind_gpu::Capabilities;
use nvbind_workload::{
    CapabilityWords, Draft, DriverChoice, ImageRef, Isolation, Network, Profile, Pull, Runtime, Selector, Size,
    Variables, Volume,
};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(
    override_usage = "nvbind run [OPTIONS] IMAGE [-- CMD...]\n       nvbind run [OPTIONS] --rootfs DIR [IMAGE] -- CMD..."
)]
pub(crate) struct RunArgs {
    /// What starts the container: auto (native), native, bolt, docker, podman or containerd [default: auto]
    #[arg(long)]
    runtime: Option<Runtime>,
    /// GPUs: all, none, 0, gpu0, 0:1 (MIG), GPU-<uuid>, count=2, model=A100, memory>=40GiB; separated by commas, may be repeated [default: none]
    #[arg(long, value_name = "SELECTOR")]
    gpu: Vec<String>,
    /// Environment variable; without a value, the caller's own
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Folder or file of the host
    #[arg(short, long, value_name = "HOST:CONTAINER[:ro]")]
    volume: Vec<Volume>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// User and group in the container
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Keep standard input open; the native engine always does, unless detached
    #[arg(short, long)]
    interactive: bool,
    /// Network: none or host [default: none]
    #[arg(long)]
    network: Option<Network>,
    /// Memory limit, as 512MiB or 8GiB
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Size>,
    /// CPU limit, as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<f64>,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Folder to run as root file system; IMAGE is then only a label
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    rootfs: Option<PathBuf>,
    /// Kind of work: default, balanced, ultra, gaming, development, ai, training or inference
    #[arg(long)]
    profile: Option<Profile>,
    /// Driver that must be loaded: auto, nvidia-proprietary, nvidia-open or nouveau [default: auto]
    #[arg(long)]
    driver: Option<DriverChoice>,
    /// All driver capabilities, and the gaming profile unless another is named
    #[arg(long)]
    gaming: bool,
    /// Whether others may use the same GPUs meanwhile: shared or exclusive [default: shared]
    #[arg(long)]
    isolation: Option<Isolation>,
    /// Without root on the host, in a user namespace: what an ordinary user has anyway; to root it is nothing new
    #[arg(long)]
    rootless: bool,
    /// Driver capabilities: all, or some of compute,compat32,graphics,utility,video,display,ngx [default: as the profile]
    #[arg(long, value_name = "LIST")]
    capabilities: Option<CapabilityWords>,
    /// Mount the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Host name in the container
    #[arg(long)]
    hostname: Option<String>,
    /// Whether a registry is asked for the image: missing, always or never [default: missing]
    #[arg(long)]
    pull: Option<Pull>,
    /// Read the workload from this file; options given here win over it
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    #[command(flatten)]
    roots: RootArgs,
    /// Image: a name, or an OCI layout as oci:DIR[:TAG] or a path
    image: Option<ImageRef>,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(crate) fn run(args: RunArgs, context: &Context) -> Result<u8, Failure> {
    let config = context.config_with(&args.roots)?;
    let roots = RootArgs {
        driver_root: args.roots.driver_root.clone(),
        dev_root: args.roots.dev_root.clone(),
    };
    let file = args.file.as_deref().map(from_file).transpose()?;
    let mut draft = args.into_draft()?;
    if let Some(file) = file {
        draft = draft.over(file);
    }
    if draft.runtime.is_none() {
        let configured = &config.container.runtime;
        draft.runtime = Some(
            configured
                .parse()
                .map_err(|error| Failure::usage(format!("container.runtime: {error}")))?,
        );
    }
    launch::launch(draft, &config, &roots, context)
}

impl RunArgs {
    /// The command and its arguments.
    pub(crate) fn words(&mut self) -> &mut Vec<String> {
        &mut self.command
    }

    fn into_draft(self) -> Result<Draft, Failure> {
        let gpu = match self.gpu.is_empty() {
            true => None,
            false => Some(
                self.gpu
                    .join(",")
                    .parse::<Selector>()
                    .map_err(|error| Failure::usage(error.to_string()))?,
            ),
        };
        let every = || Some(CapabilityWords(Capabilities::ALL));
        let gaming = self.gaming.then_some(Profile::Gaming);
        Ok(Draft {
            name: self.name,
            runtime: self.runtime,
            image: self.image,
            pull: self.pull,
            rootfs: self.rootfs.as_deref().map(absolute).transpose()?,
            command: self.command,
            env: Variables(self.env),
            workdir: self.workdir,
            user: self.user,
            volumes: self.volume.into_iter().map(absolute_source).collect::<Result<_, _>>()?,
            tty: self.tty,
            interactive: self.interactive,
            detach: self.detach,
            network: self.network,
            memory: self.memory,
            cpus: self.cpus,
            gpu,
            capabilities: self.capabilities.or_else(|| self.gaming.then(every).flatten()),
            profile: self.profile.or(gaming),
            driver: self.driver,
            isolation: self.isolation,
            rootless: self.rootless,
            hostname: self.hostname,
            read_only: self.read_only,
            cloud: None,
        })
    }
}

/// A file's workload. Its `[cloud]` table is of no use here, and must be right all the same.
fn from_file(path: &Path) -> Result<Draft, Failure> {
    let draft = Draft::from_file(path)?;
    #[cfg(feature = "cloud")]
    if draft.cloud.is_some() {
        let what = format!("workload file '{}'", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| Failure::io(format!("cannot read {what}"), &error))?;
        nvbind_cloud::file::check(&text).map_err(|error| Failure::usage(format!("{what}: {error}")))?;
    }
    Ok(draft)
}

fn absolute_source(volume: Volume) -> Result<Volume, Failure> {
    Ok(Volume {
        source: absolute(&volume.source)?,
        ..volume
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::io(format!("bad path '{}'", path.display()), &error))
}

/// `NAME=VALUE`, or `NAME` with the value that this process has.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the name is empty".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match std::env::var(text) {
            Ok(value) => Ok((text.to_owned(), value)),
            Err(_) => Err(format!("'{text}' is not set here: write {text}=VALUE")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::command::Command;
    use nvbind_workload::Workload;

    fn draft(line: &str) -> Draft {
        let words = line.split_whitespace().map(str::to_owned).collect();
        let cli = Cli::of(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        let Command::Run(args) = cli.command else {
            panic!("{line} is no run")
        };
        args.into_draft().unwrap()
    }

    fn image(name: &str) -> Option<ImageRef> {
        Some(ImageRef::Name(name.into()))
    }

    #[test]
    fn the_line_that_bolt_sends() {
        let line = "nvbind run --name c-1234 --runtime bolt --profile gaming --driver nvidia-proprietary --gpu gpu0 \
                    --rootless --rootfs /b/rootfs --env NVIDIA_DRIVER_CAPABILITIES=all \
                    --env PULSE_RUNTIME_PATH=/run/user/1000/pulse --env NVIDIA_VISIBLE_DEVICES=all --gaming \
                    --isolation exclusive steam-game:latest -- /bin/game -w";
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = Workload {
            image: image("steam-game:latest"),
            rootfs: Some("/b/rootfs".into()),
            command: vec!["/bin/game".into(), "-w".into()],
            env: vec![
                variable("NVIDIA_DRIVER_CAPABILITIES", "all"),
                variable("PULSE_RUNTIME_PATH", "/run/user/1000/pulse"),
                variable("NVIDIA_VISIBLE_DEVICES", "all"),
            ],
            gpu: "0".parse().unwrap(),
            capabilities: Capabilities::ALL,
            profile: Profile::Gaming,
            driver: DriverChoice::NvidiaProprietary,
            isolation: Isolation::Exclusive,
            rootless: true,
            ..Workload::new("c-1234")
        };
        let draft = draft(line);
        assert_eq!(draft.runtime, Some(Runtime::Bolt));
        assert_eq!(draft.into_workload("x", &Selector::none()).unwrap(), expected);
    }

    #[test]
    fn bolt_without_a_command_or_without_dashes() {
        let only_image = draft("nvbind run --runtime bolt --rootfs /r --gaming img");
        assert_eq!(
            (only_image.image, only_image.command),
            (image("img"), Vec::<String>::new())
        );
        let no_dashes = draft("nvbind run --runtime bolt --gpu gpu0 img prog -x --gpu 7");
        assert_eq!(no_dashes.image, image("img"));
        assert_eq!(no_dashes.command, ["prog", "-x", "--gpu", "7"]);
        assert_eq!(no_dashes.gpu, "0".parse().ok());
    }

    #[test]
    fn a_rootfs_needs_no_image() {
        let draft = draft("nvbind run --rootfs /r -- sh -c true");
        assert_eq!((draft.image, draft.command.join(" ").as_str()), (None, "sh -c true"));
    }

    #[test]
    fn only_the_first_dashes_are_ours() {
        let command = |line| draft(line).command.join(" ");
        assert_eq!(command("nvbind run img -- sh -- x"), "sh -- x");
        assert_eq!(command("nvbind run img sh -- x"), "sh -- x");
        assert_eq!(command("nvbind run img --"), "");
    }

    #[test]
    fn repeated_options_add_up() {
        let draft = draft("nvbind run --gpu 0 --gpu gpu1,2 -e A=1 -e B=x=y -v /a:/b:ro -v /c:/d img");
        assert_eq!(draft.gpu, "0,1,2".parse().ok());
        assert_eq!(draft.env.0[1], ("B".to_owned(), "x=y".to_owned()));
        assert_eq!(draft.volumes.len(), 2);
    }

    #[test]
    fn gaming_wants_every_capability_whatever_the_profile() {
        let draft = draft("nvbind run --profile balanced --gaming img");
        assert_eq!(draft.profile, Some(Profile::Balanced));
        assert_eq!(draft.capabilities, Some(CapabilityWords(Capabilities::ALL)));
    }
}
