//! The `config.toml` of NVIDIA's container toolkit, read as it is, so that a host that was set up for it needs no other.
//!
//! What nvbind does without (paths of programs that it does not start, cgroup switches for work that it does not do) is
//! passed over, and so is every key that it does not know: the file is not nvbind's.

use crate::config::Config;
use crate::error::{Error, Origin};
use crate::key::{self, Value};
use crate::source::{file_value, line_of};
use crate::trusted;
use std::env;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Names the file itself (`configFilePathEnvvar` in the toolkit's `internal/config`).
const VARIABLE: &str = "NVIDIA_CTK_CONFIG_FILE_PATH";

/// Its place below `$XDG_CONFIG_HOME` or `/etc`.
const FILE: &str = "nvidia-container-runtime/config.toml";

/// How a value of the toolkit becomes one of nvbind's.
#[derive(Clone, Copy)]
enum Convert {
    /// As it is.
    Same,
    /// `true` there is `false` here.
    Not,
    /// A text of words between commas becomes a list.
    Split,
    /// A path of which `/dev/null` means none.
    NoNull,
    /// The word `disabled` is `false`, any other `true`.
    Mode,
}

/// A key of the toolkit (sections are folded in with dots), and what it is here.
const KEYS: [(&[&str], &str, Convert); 19] = [
    (&["disable-require"], "request.requirements", Convert::Not),
    (&["swarm-resource"], "request.swarm_resources", Convert::Split),
    (
        &["accept-nvidia-visible-devices-envvar-when-unprivileged"],
        "request.env_when_unprivileged",
        Convert::Same,
    ),
    (
        &["accept-nvidia-visible-devices-as-volume-mounts"],
        "request.volume_mounts",
        Convert::Same,
    ),
    (
        &["supported-driver-capabilities"],
        "request.driver_capabilities",
        Convert::Split,
    ),
    (&["nvidia-container-cli", "root"], "host.driver_root", Convert::Same),
    (&["nvidia-container-runtime", "debug"], "runtime.log", Convert::NoNull),
    (
        &["nvidia-container-runtime", "runtimes"],
        "runtime.runtimes",
        Convert::Same,
    ),
    (
        &["nvidia-container-runtime", "modes", "cdi", "spec-dirs"],
        "cdi.spec_dirs",
        Convert::Same,
    ),
    (
        &["nvidia-container-runtime", "modes", "cdi", "default-kind"],
        "cdi.default_kind",
        Convert::Same,
    ),
    (
        &["nvidia-container-runtime", "modes", "cdi", "annotation-prefixes"],
        "request.annotation_prefixes",
        Convert::Same,
    ),
    (
        &["nvidia-container-runtime", "modes", "jit-cdi", "nvcdi-feature-flags"],
        "runtime.feature_flags",
        Convert::Same,
    ),
    (
        &["nvidia-container-runtime", "modes", "jit-cdi", "nvcdi-disable-hooks"],
        "runtime.disable_hooks",
        Convert::Same,
    ),
    (
        &["nvidia-container-runtime", "modes", "legacy", "cuda-compat-mode"],
        "request.cuda_compat",
        Convert::Mode,
    ),
    (
        &["features", "disable-cuda-compat-lib-hook"],
        "request.cuda_compat",
        Convert::Not,
    ),
    (
        &["features", "ignore-imex-channel-requests"],
        "request.imex_channels",
        Convert::Not,
    ),
    (
        &["features", "no-additional-gids-for-device-nodes"],
        "request.additional_gids",
        Convert::Not,
    ),
    // Older spellings that files in the field still have.
    (
        &["nvidia-container-runtime", "cdi", "spec-dirs"],
        "cdi.spec_dirs",
        Convert::Same,
    ),
    (
        &["nvidia-container-runtime", "cdi", "default-kind"],
        "cdi.default_kind",
        Convert::Same,
    ),
];

/// Where the toolkit of this host has its file.
pub(crate) fn file() -> PathBuf {
    if let Some(file) = env::var_os(VARIABLE).filter(|file| !file.is_empty()) {
        return file.into();
    }
    let home = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute());
    home.unwrap_or_else(|| "/etc".into()).join(FILE)
}

/// Merges the file, if it is there.
pub(crate) fn load(config: &mut Config, path: &Path) -> Result<(), Error> {
    let text = match trusted::read(path) {
        Err(error) if error.is_not_found() => return Ok(()),
        read => read?,
    };
    merge(config, path, &text)
}

/// Merges the text of the file.
pub(crate) fn merge(config: &mut Config, path: &Path, text: &str) -> Result<(), Error> {
    let origin = |offset: usize| Origin::File {
        path: path.to_owned(),
        line: line_of(text, offset),
    };
    let document = DeTable::parse(text).map_err(|error| Error::Syntax {
        origin: origin(error.span().map_or(text.len(), |span| span.start)),
        message: error.message().to_owned(),
    })?;
    for (theirs, ours, convert) in KEYS {
        let Some(found) = lookup(document.get_ref(), theirs) else {
            continue;
        };
        let at = origin(found.span().start);
        let (section, name) = ours.split_once('.').unwrap_or_default();
        let key = key::find(section, name, &at)?;
        let value = file_value(found.get_ref()).and_then(|value| converted(value, convert));
        let value = value.map_err(|found| Error::WrongType {
            origin: at.clone(),
            key: theirs.join("."),
            wanted: wanted(key, convert),
            found,
        })?;
        // Empty stands for the toolkit's default, as in its own commented lines.
        if !matches!(&value, Value::Text(text) if text.is_empty()) {
            key.apply(config, value, &at)?;
        }
    }
    Ok(())
}

fn lookup<'a, 'b>(table: &'b DeTable<'a>, path: &[&str]) -> Option<&'b Spanned<DeValue<'a>>> {
    let (last, sections) = path.split_last()?;
    let mut table = table;
    for section in sections {
        match table.get(*section)?.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return None,
        }
    }
    table.get(*last)
}

fn converted(value: Value, convert: Convert) -> Result<Value, &'static str> {
    Ok(match (convert, value) {
        (Convert::Not, Value::Flag(flag)) => Value::Flag(!flag),
        (Convert::Split, Value::Text(text)) => Value::List(words(&text)),
        (Convert::NoNull, Value::Text(text)) if text == "/dev/null" => Value::Text(String::new()),
        (Convert::Mode, Value::Text(text)) => Value::Flag(text != "disabled"),
        (Convert::Same | Convert::NoNull, value) => value,
        (_, Value::Flag(_)) => return Err("a boolean"),
        (_, Value::Text(_)) => return Err("a string"),
        (_, Value::List(_)) => return Err("a list"),
    })
}

fn wanted(key: &key::Key, convert: Convert) -> &'static str {
    match convert {
        Convert::Split | Convert::Mode => "a string",
        _ => key.wanted(),
    }
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// The file as the toolkit's packages install it, comments and all.
    const SHIPPED: &str = r#"
#accept-nvidia-visible-devices-as-volume-mounts = false
#accept-nvidia-visible-devices-envvar-when-unprivileged = true
disable-require = false
supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"
#swarm-resource = "DOCKER_RESOURCE_GPU"

[nvidia-container-cli]
#debug = "/var/log/nvidia-container-toolkit.log"
environment = []
#ldcache = "/etc/ld.so.cache"
ldconfig = "@/sbin/ldconfig.real"
load-kmods = true
#no-cgroups = false
#path = "/usr/bin/nvidia-container-cli"
#root = "/run/nvidia/driver"
#user = "root:video"

[nvidia-container-runtime]
debug = "/dev/null"
log-level = "info"
mode = "auto"
runtimes = ["runc", "crun"]

[nvidia-container-runtime.modes]

[nvidia-container-runtime.modes.cdi]
annotation-prefixes = ["cdi.k8s.io/"]
default-kind = "nvidia.com/gpu"
spec-dirs = ["/etc/cdi", "/var/run/cdi"]

[nvidia-container-runtime.modes.csv]
mount-spec-path = "/etc/nvidia-container-runtime/host-files-for-container.d"

[nvidia-container-runtime.modes.legacy]
cuda-compat-mode = "ldconfig"

[nvidia-container-runtime-hook]
path = "nvidia-container-runtime-hook"
skip-mode-detection = false

[nvidia-ctk]
path = "nvidia-ctk"
"#;

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut config = Config::default();
        let prefix = format!("{}/", dir.path().display());
        load(&mut config, &path).map_err(|error| error.to_string().replace(&prefix, ""))?;
        Ok(config)
    }

    #[test]
    fn the_shipped_file_means_the_defaults() {
        let mut wanted = Config::default();
        wanted.runtime.runtimes = vec!["runc".into(), "crun".into()];
        wanted.request.driver_capabilities = ["compat32", "compute", "display", "graphics", "ngx", "utility", "video"]
            .map(String::from)
            .to_vec();
        assert_eq!(read(SHIPPED).unwrap(), wanted);
    }

    #[test]
    fn every_key_has_its_meaning() {
        let config = read(
            r#"
disable-require = true
swarm-resource = "DOCKER_RESOURCE_GPU, OTHER"
accept-nvidia-visible-devices-envvar-when-unprivileged = false
accept-nvidia-visible-devices-as-volume-mounts = true
supported-driver-capabilities = "utility,compute"
[nvidia-container-cli]
root = "/run/nvidia/driver"
[nvidia-container-runtime]
debug = "/var/log/x.log"
runtimes = ["/usr/local/bin/crun"]
[nvidia-container-runtime.modes.cdi]
spec-dirs = ["/a"]
default-kind = "a.com/b"
annotation-prefixes = ["x/"]
[nvidia-container-runtime.modes.jit-cdi]
nvcdi-feature-flags = ["enable-explicit-driver-libraries"]
nvcdi-disable-hooks = ["create-symlinks"]
[nvidia-container-runtime.modes.legacy]
cuda-compat-mode = "disabled"
[features]
ignore-imex-channel-requests = true
no-additional-gids-for-device-nodes = true
allow-unknown-oci-spec-fields = true
"#,
        )
        .unwrap();
        let mut wanted = Config::default();
        wanted.host.driver_root = "/run/nvidia/driver".into();
        wanted.cdi.spec_dirs = vec!["/a".into()];
        wanted.cdi.default_kind = "a.com/b".into();
        wanted.runtime.runtimes = vec!["/usr/local/bin/crun".into()];
        wanted.runtime.log = Some("/var/log/x.log".into());
        wanted.runtime.feature_flags = vec!["enable-explicit-driver-libraries".into()];
        wanted.runtime.disable_hooks = vec!["create-symlinks".into()];
        wanted.request.annotation_prefixes = vec!["x/".into()];
        wanted.request.env_when_unprivileged = false;
        wanted.request.volume_mounts = true;
        wanted.request.swarm_resources = vec!["DOCKER_RESOURCE_GPU".into(), "OTHER".into()];
        wanted.request.driver_capabilities = vec!["utility".into(), "compute".into()];
        wanted.request.requirements = false;
        wanted.request.imex_channels = false;
        wanted.request.cuda_compat = false;
        wanted.request.additional_gids = false;
        assert_eq!(config, wanted);
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_line() {
        assert_eq!(
            read("\ndisable-require = 'yes'\n").unwrap_err(),
            "configuration: config.toml:2: 'disable-require' is a string: it must be true or false"
        );
        assert!(
            read("[nvidia-container-cli]\nroot = 'relative'\n")
                .unwrap_err()
                .contains("absolute path")
        );
        assert!(
            read("disable-require = tru\n")
                .unwrap_err()
                .starts_with("configuration: config.toml:1: ")
        );
    }

    #[test]
    fn a_file_that_is_not_there_changes_nothing() {
        let mut config = Config::default();
        load(&mut config, Path::new("/nonexistent/config.toml")).unwrap();
        assert_eq!(config, Config::default());
    }
}
