//! Edits of the host as it is now, from `nvbind cdi generate`.
//!
//! That is another process because NVML is a library to be loaded, which a static program cannot do reliably. It is
//! for hosts without a spec; the others pay nothing for it.

use crate::Error;
use nvbind_cdi::{Edits, Format, Spec};
use nvbind_config::Config;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = "nvbind";

/// Names of variables that the program gets besides `NVBIND_*`: the ones by which it finds its configuration and state.
const VARIABLES: [&str; 4] = ["PATH", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];
const VARIABLE_PREFIX: &[u8] = b"NVBIND_";

/// The spec of GPUs (`all`, `none`, index, UUID, `gpu:mig`).
pub(super) fn gpus(ids: &[&str], config: &Config) -> Result<Spec, Error> {
    // The values come from the image: behind the sign they are never taken for options.
    spec(ids.iter().map(|id| format!("--device-id={id}")).collect(), config)
}

/// The spec of a mode of `nvbind cdi generate`.
pub(super) fn mode(mode: &str, config: &Config) -> Result<Spec, Error> {
    spec(vec![format!("--mode={mode}")], config)
}

fn spec(args: Vec<String>, config: &Config) -> Result<Spec, Error> {
    let program =
        find().ok_or_else(|| failed(Path::new(PROGRAM), &"it is neither beside nvbind-runtime nor on PATH"))?;
    let output = generate(&program, args, config).map_err(|error| failed(&program, &error))?;
    if !output.status.success() {
        return Err(explained(&output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let spec = Spec::parse(&text, Format::Json).map_err(|error| failed(&program, &error))?;
    spec.validate().map_err(|error| failed(&program, &error))?;
    Ok(spec)
}

fn generate(program: &Path, args: Vec<String>, config: &Config) -> std::io::Result<Output> {
    let mut hook = OsString::from("--hook-path=");
    hook.push(config.hook_path());
    let disabled = config
        .runtime
        .disable_hooks
        .iter()
        .map(|name| format!("--disable-hook={name}"));
    let flags = config
        .runtime
        .feature_flags
        .iter()
        .map(|name| format!("--feature-flag={name}"));
    Command::new(program)
        .args(["cdi", "generate", "--format=json"])
        .args(args)
        .args(disabled.chain(flags))
        .arg(hook)
        .env_clear()
        .envs(env::vars_os().filter(|(name, _)| is_passed(name)))
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
}

fn is_passed(name: &OsStr) -> bool {
    VARIABLES.iter().any(|known| name == *known) || name.as_encoded_bytes().starts_with(VARIABLE_PREFIX)
}

/// The common edits and those of the one device that stands for all that were asked for.
pub(super) fn sum(spec: Spec) -> Edits {
    let mut edits = spec.container_edits;
    let all = spec.devices.into_iter().find(|device| device.name == "all");
    edits.merge(all.map(|device| device.container_edits).unwrap_or_default());
    edits
}

fn find() -> Option<PathBuf> {
    let beside = env::current_exe()
        .ok()
        .and_then(|shim| Some(shim.parent()?.join(PROGRAM)));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(PROGRAM));
    beside.into_iter().chain(on_path).find(|program| program.is_file())
}

/// The program's own words, which stand in the last line that it wrote.
fn explained(output: &Output) -> Error {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("nvbind cdi generate failed");
    let words = line.strip_prefix("nvbind: ").unwrap_or(line).trim();
    let exit_code = output
        .status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Error::Generate {
        message: words.strip_prefix("error: ").unwrap_or(words).to_owned(),
        exit_code,
    }
}

fn failed(program: &Path, reason: &dyn Display) -> Error {
    Error::JustInTime {
        program: program.display().to_string(),
        reason: reason.to_string(),
    }
}
