//! A deployment as a file: an `nvbind.toml` with a `[cloud]` table.
//!
//! What stands beside the table is what `nvbind run -f` gets on each machine, and means the same there as here, with two exceptions:
//! paths of the host are paths of the machine, so they must be absolute, and what needs somebody at a terminal is refused.
//! `nvbind run -f` passes over the table, so one file serves both.

mod key;
mod value;

use crate::{DeploymentSpec, Requirements, find_workload};
use key::KEYS;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};
use value::Entry;

/// Name of the table.
pub const TABLE: &str = "cloud";

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FileError {
    /// Line number, from 1 on.
    pub line: usize,
    /// What is wrong, in one line.
    pub message: String,
}

impl FileError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        2
    }
}

/// Keys of `nvbind run` that need somebody beside the container.
const ATTENDED: [&str; 3] = ["tty", "interactive", "detach"];

/// Reads a deployment. Its name is that of the `[cloud]` table, else that of the container, else empty. Whether the rest is what
/// `nvbind run -f` takes is for it to say.
pub fn parse(text: &str) -> Result<DeploymentSpec, FileError> {
    let document = document(text)?;
    let mut spec = DeploymentSpec::new("", "", Requirements::default());
    if let Some(DeValue::String(name)) = document.get("name").map(Spanned::get_ref) {
        spec.name = name.to_string();
    }
    let cloud = fill(text, &document, &mut spec)?;
    check_paths(text, &document)?;
    let mut run: toml::Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    run.remove(TABLE);
    if let Some(workload) = cloud.workload {
        add_workload(&mut run, workload).map_err(|message| error_at(text, cloud.workload_at, message))?;
    }
    spec.run = toml::to_string(&run).map_err(|error| error_at(text, 0..0, error.to_string()))?;
    Ok(spec)
}

/// Whether the `[cloud]` table of a file, if it has one, could be deployed. For `nvbind run -f`, which has no use for it.
pub fn check(text: &str) -> Result<(), FileError> {
    let mut spec = DeploymentSpec::new("", "", Requirements::default());
    fill(text, &document(text)?, &mut spec).map(drop)
}

/// What the table says about the run beside it.
#[derive(Default)]
struct Cloud {
    workload: Option<&'static crate::NamedWorkload>,
    workload_at: Range<usize>,
}

fn document(text: &str) -> Result<DeTable<'_>, FileError> {
    let parsed = DeTable::parse(text).map_err(|error| syntax(text, &error))?;
    Ok(parsed.into_inner())
}

/// Puts every key of the `[cloud]` table in its place.
fn fill(text: &str, document: &DeTable<'_>, spec: &mut DeploymentSpec) -> Result<Cloud, FileError> {
    let mut cloud = Cloud::default();
    let Some((at, content)) = document.get_key_value(TABLE) else {
        return Ok(cloud);
    };
    let DeValue::Table(table) = content.get_ref() else {
        return Err(error_at(
            text,
            at.span(),
            format!("'{TABLE}' must be a table: write [{TABLE}]"),
        ));
    };
    for (name, value) in table {
        let told = |message: String| error_at(text, name.span(), format!("'{TABLE}.{}' {message}", name.get_ref()));
        let entry = Entry(value.get_ref());
        if word(name) == "workload" {
            let asked = entry.text().map_err(told)?;
            cloud.workload =
                Some(find_workload(&asked).map_err(|error| error_at(text, name.span(), error.to_string()))?);
            cloud.workload_at = name.span();
            continue;
        }
        let key = KEYS.iter().find(|key| key.names.contains(&word(name).as_str()));
        let key = key.ok_or_else(|| unknown(text, name))?;
        (key.set)(spec, &entry).map_err(told)?;
    }
    key::settle(spec);
    Ok(cloud)
}

/// Keys are written as on the command line or, as elsewhere in the file, with `_`.
fn word(name: &Spanned<DeString<'_>>) -> String {
    name.get_ref().replace('_', "-")
}

fn unknown(text: &str, name: &Spanned<DeString<'_>>) -> FileError {
    let known = KEYS.iter().map(|key| key.names[0]).chain(["workload"]);
    let nearest = crate::nearest(&word(name), known);
    let message = format!("unknown key '{TABLE}.{}': did you mean '{nearest}'?", name.get_ref());
    error_at(text, name.span(), message)
}

/// Refuses what means nothing on another machine.
fn check_paths(text: &str, document: &DeTable<'_>) -> Result<(), FileError> {
    let refuse = |at: Range<usize>, what: &str, path: &str| {
        let message = format!(
            "{what} '{path}' is a path here: on the machine only an absolute path means something, and what lies there is that machine's"
        );
        Err(error_at(text, at, message))
    };
    if let Some(rootfs) = document.get("rootfs")
        && let Some(path) = rootfs.get_ref().as_str().filter(|path| !path.starts_with('/'))
    {
        return refuse(rootfs.span(), "the root file system", path);
    }
    let volumes = document.get("volumes").and_then(|volumes| volumes.get_ref().as_array());
    for volume in volumes.into_iter().flatten() {
        if let Some(path) = volume.get_ref().as_str().filter(|path| !path.starts_with('/')) {
            return refuse(volume.span(), "the volume", path);
        }
    }
    if let Some(image) = document.get("image")
        && let Some(path) = image.get_ref().as_str().filter(|path| is_relative_layout(path))
    {
        return refuse(image.span(), "the image", path);
    }
    for name in ATTENDED {
        let value = document.get(name);
        if let Some(value) = value.filter(|value| value.get_ref().as_bool() == Some(true)) {
            let message =
                format!("'{name}' needs somebody beside the container: leave it out, nvbind cloud watches it itself");
            return Err(error_at(text, value.span(), message));
        }
    }
    Ok(())
}

/// Whether an image is a layout in a folder that is not named from the root on.
fn is_relative_layout(image: &str) -> bool {
    let layout = ["oci:", "oci-archive:"]
        .iter()
        .find_map(|prefix| image.strip_prefix(prefix));
    match layout {
        Some(path) => !path.starts_with('/'),
        None => image.starts_with('.'),
    }
}

/// Fills what the run leaves open from a named workload.
fn add_workload(run: &mut toml::Table, workload: &crate::NamedWorkload) -> Result<(), String> {
    if run.contains_key("rootfs") {
        return Err(format!(
            "workload '{}' has an image, so it cannot have a rootfs, too",
            workload.name
        ));
    }
    let parts = [
        ("image", workload.image),
        ("profile", workload.profile),
        ("capabilities", workload.capabilities),
    ];
    for (key, value) in parts {
        run.entry(key).or_insert_with(|| value.into());
    }
    Ok(())
}

fn syntax(text: &str, error: &toml::de::Error) -> FileError {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    error_at(text, error.span().unwrap_or(0..0), message)
}

fn error_at(text: &str, at: Range<usize>, message: String) -> FileError {
    let before = &text.as_bytes()[..at.start.min(text.len())];
    FileError {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        message,
    }
}

#[cfg(test)]
mod tests;
