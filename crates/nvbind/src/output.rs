//! Data on stdout.

use crate::cli::Format;
use crate::failure::{FAILED, Failure};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Prints data in the format asked for; the table is only made when it is.
pub(crate) fn data(format: Format, value: &impl Serialize, table: impl FnOnce() -> String) -> Result<(), Failure> {
    match format {
        Format::Table => text(&table()),
        Format::Json => text(&json(value)?),
        Format::Yaml => text(&yaml(value)?),
    }
}

/// Indented JSON with a line feed at its end.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(value);
    json.map(|text| text + "\n")
        .map_err(|error| Failure::from_error(&error, FAILED))
}

/// YAML.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    serde_saphyr::to_string(value).map_err(|error| Failure::from_error(&error, FAILED))
}

/// Writes text to stdout. A reader that has gone away has had enough: that is no failure.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::io("cannot write to stdout", &error)),
        _ => Ok(()),
    }
}

/// Tells something beside the data, on stderr.
pub(crate) fn warn(message: &str) {
    let _ = writeln!(
        std::io::stderr(),
        "nvbind: warning: {}",
        message.lines().collect::<Vec<_>>().join(" ")
    );
}

/// Tells how something that takes long goes on, on stderr.
pub(crate) fn note(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}
