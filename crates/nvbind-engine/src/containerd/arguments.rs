//! The arguments of `ctr run`.

use super::{Error, LOG_LABEL, files};
use crate::access::environment;
use crate::{BINDING_LABEL, Context, GpuAccess};
use nvbind_workload::{Network, Volume, Workload};
use std::ffi::OsString;
use std::path::Path;

/// Search path of a container without an image, which would name one.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The arguments; `image` is its full name where there is no root file system.
pub(super) fn arguments(
    workload: &Workload,
    gpu: &GpuAccess,
    context: &Context<'_>,
    image: Option<&str>,
) -> Result<Vec<OsString>, Error> {
    let mut arguments: Vec<OsString> = vec!["run".into()];
    let mut pair = |name: &str, value: &dyn AsRef<Path>| {
        arguments.push(name.into());
        arguments.push(value.as_ref().as_os_str().to_owned());
    };
    pair("--label", &format!("{BINDING_LABEL}={}", context.binding));
    pair("--pid-file", &files::pid(context.work_dir));
    if !gpu.devices.is_empty() {
        pair("--runc-binary", &context.shim.ok_or(Error::NoShim)?);
    }
    if image.is_none() {
        pair("--env", &PATH);
    }
    for entry in environment(workload, &gpu.variables()) {
        pair("--env", &entry);
    }
    for volume in &workload.volumes {
        pair("--mount", &mount(volume));
    }
    if let Some(workdir) = &workload.workdir {
        pair("--cwd", workdir);
    }
    if let Some(user) = &workload.user {
        pair("--user", user);
    }
    if let Some(hostname) = &workload.hostname {
        pair("--hostname", hostname);
    }
    if let Some(bytes) = workload.memory_bytes {
        pair("--memory-limit", &bytes.to_string());
    }
    if let Some(cpus) = workload.cpus {
        pair("--cpus", &cpus.to_string());
    }
    if workload.detach {
        let log = files::log(context.work_dir);
        pair("--label", &format!("{LOG_LABEL}={}", log.display()));
        pair("--log-uri", &format!("file://{}", log.display()));
    }
    let flags = [
        ("--seccomp", true),
        ("--rm", !workload.detach),
        ("--detach", workload.detach),
        ("--tty", workload.tty),
        ("--read-only", workload.read_only),
        ("--net-host", workload.network == Network::Host),
        ("--rootfs", image.is_none()),
    ];
    arguments.extend(flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag.into()));
    arguments.extend(context.engine_args.iter().map(OsString::from));
    arguments.push(source(workload, image)?);
    arguments.push(workload.name.as_str().into());
    arguments.extend(workload.command.iter().map(OsString::from));
    Ok(arguments)
}

/// Refuses what this ctr has no option for; `help` is what `ctr run --help` prints.
pub(super) fn check(workload: &Workload, help: &str) -> Result<(), Error> {
    let lacks = |option: &str| !help.split_whitespace().any(|word| word.trim_end_matches(',') == option);
    let unable = [
        (workload.user.is_some() && lacks("--user"), "a user (--user)"),
        (
            workload.hostname.is_some() && lacks("--hostname"),
            "a host name (--hostname)",
        ),
        (
            workload.tty && workload.detach,
            "a terminal in the background (--tty with --detach)",
        ),
    ];
    match unable.into_iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(Error::Unable { what }),
        None => Ok(()),
    }
}

fn source(workload: &Workload, image: Option<&str>) -> Result<OsString, Error> {
    match (image, &workload.rootfs) {
        (None, Some(rootfs)) => std::path::absolute(rootfs).map(Into::into).map_err(|source| Error::Io {
            action: "find the root file system",
            source,
        }),
        (image, _) => Ok(image.unwrap_or_default().into()),
    }
}

/// A bind mount, as ctr takes it: comma-separated values, those with commas or quotes in quotes.
fn mount(volume: &Volume) -> String {
    let field = |name: &str, path: &Path| {
        let field = format!("{name}={}", path.display());
        match field.contains([',', '"']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        }
    };
    let access = if volume.read_only { "ro" } else { "rw" };
    format!(
        "type=bind,{},{},options=rbind:{access}",
        field("src", &volume.source),
        field("dst", &volume.target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_gpu::Capabilities;

    fn words(workload: &Workload, gpu: &GpuAccess, image: Option<&str>) -> Result<Vec<String>, Error> {
        let context = Context {
            binding: "b1",
            shim: Some(Path::new("/opt/nvbind-runtime")),
            work_dir: Path::new("/work"),
            engine_args: &["--cgroup=x".to_owned()],
            progress: &|_| (),
        };
        let arguments = arguments(workload, gpu, &context, image)?;
        Ok(arguments.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn everything_of_a_workload_reaches_ctr() {
        let workload = Workload {
            command: vec!["train".into(), "--x".into()],
            env: vec![("A".into(), "1 2".into())],
            workdir: Some("/work".into()),
            user: Some("1000:1000".into()),
            volumes: vec!["/da,ta:/mnt:ro".parse().unwrap()],
            tty: true,
            network: Network::Host,
            memory_bytes: Some(1 << 30),
            cpus: Some(1.5),
            read_only: true,
            ..Workload::new("job")
        };
        let gpu = GpuAccess {
            devices: vec!["GPU-a".into()],
            capabilities: Capabilities::DEFAULT,
        };
        let wanted = "run|--label|nvbind.binding=b1|--pid-file|/work/ctr.pid|--runc-binary|/opt/nvbind-runtime|--env|A=1 2\
            |--env|NVIDIA_VISIBLE_DEVICES=GPU-a|--env|NVIDIA_DRIVER_CAPABILITIES=compute,utility\
            |--mount|type=bind,\"src=/da,ta\",dst=/mnt,options=rbind:ro|--cwd|/work|--user|1000:1000\
            |--memory-limit|1073741824|--cpus|1.5|--seccomp|--rm|--tty|--read-only|--net-host|--cgroup=x\
            |docker.io/library/a:1|job|train|--x";
        assert_eq!(
            words(&workload, &gpu, Some("docker.io/library/a:1")).unwrap().join("|"),
            wanted
        );
    }

    #[test]
    fn a_root_file_system_in_the_background() {
        let workload = Workload {
            rootfs: Some("/srv/root".into()),
            detach: true,
            ..Workload::new("job")
        };
        let wanted = format!(
            "run|--label|nvbind.binding=b1|--pid-file|/work/ctr.pid|--env|{PATH}|--env|NVIDIA_VISIBLE_DEVICES=void\
             |--label|nvbind.log=/work/ctr.log|--log-uri|file:///work/ctr.log|--seccomp|--detach|--rootfs|--cgroup=x|/srv/root|job"
        );
        assert_eq!(words(&workload, &GpuAccess::none(), None).unwrap().join("|"), wanted);
    }

    #[test]
    fn what_ctr_cannot_do_is_refused() {
        let named = Workload {
            hostname: Some("box".into()),
            user: Some("1".into()),
            ..Workload::new("job")
        };
        let hidden = Workload {
            tty: true,
            detach: true,
            ..Workload::new("job")
        };
        let new = "--tty, -t    allocate a TTY\n--user value, -u value    a user\n--hostname value    a name";
        assert_eq!(check(&named, "--tty, -t    allocate").unwrap_err().exit_code(), 5);
        assert!(check(&named, new).is_ok());
        assert_eq!(check(&hidden, new).unwrap_err().exit_code(), 5);
    }
}
