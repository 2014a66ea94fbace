//! The command line of an OCI runtime, understood as far as needed: which command, which bundle, which log.
//!
//! The forms are those that runc accepts (Go's flags: one dash or two, `--flag value` or `--flag=value`), with the
//! flags that crun and youki have besides.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Global flags that take a value.
const GLOBAL_VALUES: [&str; 8] = ["root", "r", "log", "l", "log-format", "log-level", "criu", "rootless"];
/// One more of crun's.
const CGROUP_MANAGER: &str = "cgroup-manager";
/// Flags of `create` and `run` that take a value.
const CREATE_VALUES: [&str; 6] = ["bundle", "b", "console-socket", "pid-file", "preserve-fds", "config"];

/// Commands that start a container.
const EDITED: [&str; 2] = ["create", "run"];

/// What is known of a command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    bundle: Option<PathBuf>,
    /// File that the engine reads error messages from.
    pub(super) log: Option<PathBuf>,
    /// Whether that file holds JSON lines.
    pub(super) log_is_json: bool,
}

impl CommandLine {
    /// Reads the arguments (without the program's name).
    pub(super) fn parse(args: &[OsString]) -> Self {
        let mut line = Self::default();
        let mut words = args.iter().map(OsString::as_os_str);
        let command = loop {
            let Some(word) = words.next() else { return line };
            let Some((name, value)) = flag(word) else { break word };
            let value = if is_global_value(name) {
                value.or_else(|| words.next())
            } else {
                None
            };
            line.global(name, value);
        };
        if EDITED.iter().any(|edited| command == *edited) {
            line.bundle = Some(bundle(words));
        }
        line
    }

    /// The bundle, if the command is one that starts a container.
    pub(super) fn bundle(&self) -> Option<&Path> {
        self.bundle.as_deref()
    }

    fn global(&mut self, name: &[u8], value: Option<&OsStr>) {
        match (name, value) {
            (b"log", Some(value)) if !value.is_empty() => self.log = Some(value.into()),
            (b"log-format", Some(value)) => self.log_is_json = value == "json",
            _ => {}
        }
    }
}

/// The value of the last bundle flag before the container's name; the current folder where there is none.
fn bundle<'a>(mut words: impl Iterator<Item = &'a OsStr>) -> PathBuf {
    let mut found = PathBuf::from(".");
    while let Some(word) = words.next() {
        let Some((name, value)) = flag(word) else { break };
        let takes_value = CREATE_VALUES.iter().any(|known| known.as_bytes() == name);
        let value = if takes_value {
            value.or_else(|| words.next())
        } else {
            None
        };
        if let (b"bundle" | b"b", Some(value)) = (name, value) {
            found = value.into();
        }
    }
    found
}

fn is_global_value(name: &[u8]) -> bool {
    GLOBAL_VALUES.iter().any(|known| known.as_bytes() == name) || name == CGROUP_MANAGER.as_bytes()
}

/// Name and value of a flag; `None` for what is not one, as `-`, `--` and words.
fn flag(word: &OsStr) -> Option<(&[u8], Option<&OsStr>)> {
    let bytes = word.as_bytes();
    let body = bytes
        .strip_prefix(b"--")
        .or_else(|| bytes.strip_prefix(b"-"))
        .filter(|body| !body.is_empty())?;
    Some(match body.iter().position(|byte| *byte == b'=') {
        Some(at) => (&body[..at], Some(OsStr::from_bytes(&body[at + 1..]))),
        None => (body, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> CommandLine {
        CommandLine::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn bundles_are_found() {
        let table = [
            ("create id", Some(".")),
            ("create --bundle /b id", Some("/b")),
            ("create --bundle=/b id", Some("/b")),
            ("create -b /b id", Some("/b")),
            ("create -b=/b id", Some("/b")),
            ("create -bundle /b id", Some("/b")),
            ("run -d --pid-file /p --bundle /b id", Some("/b")),
            ("create --bundle /a --bundle /b id", Some("/b")),
            ("create --pid-file --bundle id", Some(".")),
            ("create id --bundle /b", Some(".")),
            ("create -- --bundle", Some(".")),
            ("--root create create -b /b id", Some("/b")),
            (
                "--root=/r --log /l --log-format json --systemd-cgroup create --bundle /b --no-pivot id",
                Some("/b"),
            ),
            ("--debug run id", Some(".")),
            ("--criu run --rootless auto state id", None),
            ("--cgroup-manager disabled create -b /b id", Some("/b")),
            ("start id", None),
            ("delete create", None),
            ("exec create run", None),
            ("--version", None),
            ("-v", None),
            ("", None),
            ("--root", None),
            ("create --bundle", Some(".")),
            ("- create", None),
        ];
        for (line, bundle) in table {
            assert_eq!(parse(line).bundle(), bundle.map(Path::new), "{line}");
        }
    }

    #[test]
    fn logs_are_found() {
        let line = parse("--log /l.json --log-format=json create id");
        assert_eq!(
            (line.log.as_deref(), line.log_is_json),
            (Some(Path::new("/l.json")), true)
        );
        let line = parse("--log= --log-format text create id");
        assert_eq!((line.log, line.log_is_json), (None, false));
    }
}
