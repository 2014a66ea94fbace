//! `nvbind cdi watch`: keeps the spec of this host right while the driver, the device nodes and the MIG layout change.

use super::generate::{GenerateArgs, GenerateHost, write_all};
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::output;
use crate::watch::{WRITTEN, Watch};
use clap::Args;
use nvbind_cdi::{Format, Spec};
use nvbind_config::Roots;
use nvbind_gpu::{NodeKind, Source};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The kind that is written to `nvidia.yaml`, as the toolkit does; others get a file of their own name.
const USUAL_KIND: (&str, &str) = ("nvidia.com", "gpu");

// The options of `cdi generate`, and how the watch goes.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Look once, write the spec if it is not right, and end
    #[arg(long)]
    once: bool,
    /// Load nvidia-uvm and nvidia-modeset when the driver is loaded without them
    #[arg(long)]
    load_kernel_modules: bool,
    #[command(flatten)]
    generate: GenerateArgs,
}

pub(super) fn run(args: &WatchArgs, context: &Context) -> Result<u8, Failure> {
    let host = args.generate.host(context)?;
    let format = args.generate.spec_format()?;
    let path = match args.generate.output() {
        Some(path) => path.to_owned(),
        None => usual_path(&host, format)?,
    };
    if args.once {
        return once(args, &host, &path, format);
    }
    let mut pass: Vec<_> = std::env::args_os().skip(1).collect();
    pass.push("--once".into());
    let watch = Watch {
        search: host.options.search_options(),
        roots: host.roots,
        output: path,
        pass,
    };
    watch.run()
}

/// A file in the folder of specs with the highest priority.
fn usual_path(host: &GenerateHost, format: Format) -> Result<PathBuf, Failure> {
    let dirs = &host.config.cdi.spec_dirs;
    let dir = dirs
        .last()
        .ok_or_else(|| Failure::usage("cdi.spec_dirs is empty: name the file with --output"))?;
    let name = match (host.options.vendor.as_str(), host.options.class.as_str()) {
        kind if kind == USUAL_KIND => "nvidia".to_owned(),
        (vendor, class) => format!("{vendor}-{class}"),
    };
    let extension = match format {
        Format::Json => "json",
        Format::Yaml => "yaml",
    };
    Ok(dir.join(format!("{name}.{extension}")))
}

/// One pass: nodes, then the spec.
fn once(args: &WatchArgs, host: &GenerateHost, path: &Path, format: Format) -> Result<u8, Failure> {
    if args.load_kernel_modules {
        load_modules(&host.roots);
    }
    make_nodes(&host.roots);
    let found = Spec::from_file(path);
    let made = args
        .generate
        .make(host)
        .map_err(|failure| kept(failure, path, found.is_ok()))?;
    // What procfs tells is less than what a good spec has.
    if made.source == Some(Source::Procfs) && found.is_ok() {
        return Err(kept(Failure::new(FAILED, "NVML does not answer"), path, true));
    }
    let count = made.spec.devices.len();
    let result = if found.is_ok_and(|found| found == made.spec) {
        "unchanged "
    } else {
        let folder = path.parent().unwrap_or(path);
        // /run is empty after a reboot.
        let failed = |error| Failure::io(format!("cannot make '{}'", folder.display()), &error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        write_all(&made.spec, path, format, &host.options)?;
        WRITTEN
    };
    output::text(&format!("{result}{}: {count} device(s)\n", path.display()))?;
    Ok(0)
}

/// Says that the spec stays as it is.
fn kept(mut failure: Failure, path: &Path, is_there: bool) -> Failure {
    if is_there {
        failure
            .message
            .push_str(&format!("; {} is kept as it was", path.display()));
    }
    failure
}

/// Loads modules by `modprobe` of the driver root. One that does not load is told, not fatal: the spec goes without.
fn load_modules(roots: &Roots) {
    for module in nvbind_gpu::missing_modules(roots) {
        let status = Command::new("modprobe")
            .arg("--dirname")
            .arg(&roots.driver)
            .arg(module)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => output::warn(&format!("modprobe {module}: {status}")),
            Err(error) => output::warn(&format!("cannot start modprobe {module}: {error}")),
        }
    }
}

/// Makes control and capability nodes that are missing and the links by number that systemd and runc look for. The
/// nodes of GPUs are the driver's own to make, when it opens them.
fn make_nodes(roots: &Roots) {
    for node in nvbind_gpu::kernel_nodes(roots) {
        let made = match node.kind {
            NodeKind::Control | NodeKind::Capability => node.make(roots),
            NodeKind::Gpu => Ok(false),
        };
        let linked = made.and_then(|_| node.link_char(roots));
        if let Err(error) = linked {
            output::warn(&error.to_string());
        }
    }
}
