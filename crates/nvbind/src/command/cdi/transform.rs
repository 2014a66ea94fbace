//! `nvbind cdi transform`: changes what a spec says.

use crate::failure::{Failure, NOT_FOUND};
use crate::output;
use clap::{Args, Subcommand, ValueHint};
use nvbind_cdi::{Error, Format, RelativeTo, Spec};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Stands for standard input.
const STDIN: &str = "-";
/// Most bytes of a spec that are read from standard input.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum TransformCommand {
    /// Put another root in the place of the one that paths begin with
    Root(RootArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RootArgs {
    /// The root that paths begin with
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The root that they are to begin with
    #[arg(long, value_name = "DIR", default_value = "/")]
    to: PathBuf,
    /// The spec; - is standard input
    #[arg(long, value_name = "FILE", default_value = STDIN, value_hint = ValueHint::FilePath)]
    input: PathBuf,
    /// Write to this file instead of stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Whose paths are meant: host or container
    #[arg(long, default_value = "host")]
    relative_to: String,
}

pub(super) fn run(command: &TransformCommand) -> Result<(), Failure> {
    match command {
        TransformCommand::Root(args) => root(args),
    }
}

fn root(args: &RootArgs) -> Result<(), Failure> {
    let relative_to: RelativeTo = args.relative_to.parse()?;
    for (option, path) in [("from", &args.from), ("to", &args.to)] {
        if !path.is_absolute() {
            let message = format!("--{option} does not take '{}': use an absolute path", path.display());
            return Err(Failure::usage(message));
        }
    }
    let mut spec = read(&args.input)?;
    spec.transform_root(&args.from, &args.to, relative_to);
    // Nodes that moved may need more than the version that the spec had.
    spec.raise_version();
    spec.validate().map_err(Error::from)?;
    match args.output.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => super::write(&spec, path, Format::of_file(path).unwrap_or(Format::Yaml)),
        None => output::text(&spec.to_text(Format::Yaml)?),
    }
}

fn read(input: &Path) -> Result<Spec, Failure> {
    if input != Path::new(STDIN) {
        return Ok(Spec::from_file(input)?);
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::io("cannot read a spec from standard input", &error))?;
    if text.trim().is_empty() {
        let message = "there is no spec on standard input: name a file with --input";
        return Err(Failure::new(NOT_FOUND, message));
    }
    let format = match text.trim_start().starts_with('{') {
        true => Format::Json,
        false => Format::Yaml,
    };
    let wrong = |reason: String| Failure::usage(format!("standard input is no CDI spec: {reason}"));
    let spec = Spec::parse(&text, format).map_err(wrong)?;
    spec.validate().map_err(|error| wrong(error.to_string()))?;
    Ok(spec)
}
