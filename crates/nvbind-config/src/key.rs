//! Every key of the configuration, in one table that files, variables and flags share.

use crate::config::{Config, DEFAULT_KIND};
use crate::error::{Error, Origin};
use crate::usd::Usd;
use std::path::{Path, PathBuf};

/// A key and how its value gets into the configuration.
pub(crate) struct Key {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) set: Setter,
}

/// Puts a value in its place. An empty text stands for the default.
pub(crate) enum Setter {
    /// An absolute path.
    Path(fn(&mut Config, Option<PathBuf>)),
    /// A word, of those listed; any word when none are.
    Word(&'static [&'static str], fn(&mut Config, Option<String>)),
    /// `true` or `false`; the text of the default stands first.
    Flag(bool, fn(&mut Config, bool)),
    /// A list of words, of those listed; any words when none are.
    Words(&'static [&'static str], fn(&mut Config, Vec<String>)),
    /// A list of absolute paths.
    Paths(fn(&mut Config, Vec<PathBuf>)),
    /// An amount of money: in a file, a number or a string.
    Usd(fn(&mut Config, Option<Usd>)),
}

/// A value as it was written.
pub(crate) enum Value {
    Text(String),
    Flag(bool),
    List(Vec<String>),
}

/// Names of the engines, as `nvbind run --runtime` takes them.
const ENGINES: &[&str] = &["auto", "native", "bolt", "docker", "podman", "containerd"];

/// Names of the providers, as `nvbind cloud` takes them.
const PROVIDERS: &[&str] = &["aws", "gcp", "azure", "hosts"];

pub(crate) const KEYS: &[Key] = &[
    key(
        "host",
        "driver_root",
        Setter::Path(|c, v| c.host.driver_root = v.unwrap_or_else(|| "/".into())),
    ),
    key("host", "dev_root", Setter::Path(|c, v| c.host.dev_root = v)),
    key(
        "host",
        "proc_root",
        Setter::Path(|c, v| c.host.proc_root = v.unwrap_or_else(|| "/proc".into())),
    ),
    key(
        "host",
        "sys_root",
        Setter::Path(|c, v| c.host.sys_root = v.unwrap_or_else(|| "/sys".into())),
    ),
    key("cdi", "spec_dirs", Setter::Paths(|c, v| c.cdi.spec_dirs = v)),
    key(
        "cdi",
        "default_kind",
        Setter::Word(&[], |c, v| {
            c.cdi.default_kind = v.unwrap_or_else(|| DEFAULT_KIND.into());
        }),
    ),
    key("runtime", "runtimes", Setter::Words(&[], |c, v| c.runtime.runtimes = v)),
    key("runtime", "log", Setter::Path(|c, v| c.runtime.log = v)),
    key(
        "runtime",
        "disable_hooks",
        Setter::Words(&[], |c, v| c.runtime.disable_hooks = v),
    ),
    key(
        "runtime",
        "feature_flags",
        Setter::Words(&[], |c, v| c.runtime.feature_flags = v),
    ),
    key(
        "request",
        "annotation_prefixes",
        Setter::Words(&[], |c, v| c.request.annotation_prefixes = v),
    ),
    key(
        "request",
        "env_when_unprivileged",
        Setter::Flag(true, |c, v| c.request.env_when_unprivileged = v),
    ),
    key(
        "request",
        "volume_mounts",
        Setter::Flag(false, |c, v| c.request.volume_mounts = v),
    ),
    key(
        "request",
        "swarm_resources",
        Setter::Words(&[], |c, v| c.request.swarm_resources = v),
    ),
    key(
        "request",
        "driver_capabilities",
        Setter::Words(&[], |c, v| c.request.driver_capabilities = v),
    ),
    key(
        "request",
        "requirements",
        Setter::Flag(true, |c, v| c.request.requirements = v),
    ),
    key(
        "request",
        "imex_channels",
        Setter::Flag(true, |c, v| c.request.imex_channels = v),
    ),
    key(
        "request",
        "cuda_compat",
        Setter::Flag(true, |c, v| c.request.cuda_compat = v),
    ),
    key(
        "request",
        "additional_gids",
        Setter::Flag(true, |c, v| c.request.additional_gids = v),
    ),
    key("hook", "path", Setter::Path(|c, v| c.hook.path = v)),
    key("state", "dir", Setter::Path(|c, v| c.state.dir = v)),
    key(
        "gpu",
        "default_selection",
        Setter::Word(&[], |c, v| c.gpu.default_selection = v.unwrap_or("none".into())),
    ),
    key(
        "container",
        "runtime",
        Setter::Word(ENGINES, |c, v| c.container.runtime = v.unwrap_or("auto".into())),
    ),
    key(
        "registry",
        "insecure",
        Setter::Words(&[], |c, v| c.registry.insecure = v),
    ),
    key(
        "cloud",
        "providers",
        Setter::Words(PROVIDERS, |c, v| c.cloud.providers = v),
    ),
    key("cloud", "hosts", Setter::Words(&[], |c, v| c.cloud.hosts = v)),
    key("cloud", "ssh_config", Setter::Path(|c, v| c.cloud.ssh_config = v)),
    key("cloud", "allow_from", Setter::Words(&[], |c, v| c.cloud.allow_from = v)),
    key(
        "cloud",
        "host_price",
        Setter::Usd(|c, v| c.cloud.host_price = v.unwrap_or_default()),
    ),
    key("cloud", "burst_price", Setter::Usd(|c, v| c.cloud.burst_price = v)),
    key("cloud", "budget_daily", Setter::Usd(|c, v| c.cloud.budget_daily = v)),
    key(
        "cloud",
        "budget_monthly",
        Setter::Usd(|c, v| c.cloud.budget_monthly = v),
    ),
    key(
        "cloud",
        "budget_mode",
        Setter::Word(&["hard", "soft"], |c, v| {
            c.cloud.budget_mode = v.unwrap_or("hard".into());
        }),
    ),
    key(
        "cloud",
        "default_image",
        Setter::Word(&[], |c, v| c.cloud.default_image = v),
    ),
];

const fn key(section: &'static str, name: &'static str, set: Setter) -> Key {
    Key { section, name, set }
}

/// The key of that section and name, or the error that names the nearest one.
pub(crate) fn find(section: &str, name: &str, origin: &Origin) -> Result<&'static Key, Error> {
    let found = KEYS.iter().find(|key| key.section == section && key.name == name);
    found.ok_or_else(|| unknown_key(&format!("{section}.{name}"), origin))
}

/// The error for a key that does not exist.
pub(crate) fn unknown_key(written: &str, origin: &Origin) -> Error {
    unknown(written, KEYS.iter().map(Key::dotted), origin)
}

/// The error for a section that does not exist.
pub(crate) fn unknown_section(section: &str, origin: &Origin) -> Error {
    unknown(section, KEYS.iter().map(|key| key.section.to_owned()), origin)
}

pub(crate) fn is_section(section: &str) -> bool {
    KEYS.iter().any(|key| key.section == section)
}

fn unknown(written: &str, known: impl Iterator<Item = String>, origin: &Origin) -> Error {
    let distance =
        |a: &String, b: &String| strsim::jaro_winkler(written, a).total_cmp(&strsim::jaro_winkler(written, b));
    let nearest = known.max_by(distance).unwrap_or_default();
    Error::UnknownKey {
        origin: origin.clone(),
        key: written.to_owned(),
        nearest,
    }
}

impl Key {
    /// `section.name`
    pub(crate) fn dotted(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// What the key takes, for error messages.
    pub(crate) fn wanted(&self) -> &'static str {
        match self.set {
            Setter::Path(_) | Setter::Word(..) => "a string",
            Setter::Flag(..) => "true or false",
            Setter::Words(..) | Setter::Paths(_) => "a list of strings",
            Setter::Usd(_) => "an amount in USD",
        }
    }

    /// Whether the key takes a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.set, Setter::Words(..) | Setter::Paths(_))
    }

    /// Whether the key takes a number.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.set, Setter::Usd(_))
    }

    /// Checks a value and puts it into the configuration.
    pub(crate) fn apply(&self, config: &mut Config, value: Value, origin: &Origin) -> Result<(), Error> {
        match (&self.set, value) {
            (Setter::Path(set), Value::Text(text)) => set(config, self.path(text, origin)?),
            (Setter::Word(known, set), Value::Text(text)) => set(config, self.word(known, text, origin)?),
            (Setter::Flag(_, set), Value::Flag(flag)) => set(config, flag),
            (Setter::Flag(default, set), Value::Text(text)) => set(config, self.flag(*default, text, origin)?),
            (Setter::Words(known, set), Value::List(list)) => set(config, self.words(known, list, origin)?),
            (Setter::Usd(set), Value::Text(text)) => set(config, self.usd(text, origin)?),
            (Setter::Paths(set), Value::List(list)) => set(config, self.paths(list, origin)?),
            (_, Value::Flag(_)) => return Err(self.wrong_type("a boolean", origin)),
            (_, Value::Text(_)) => return Err(self.wrong_type("a string", origin)),
            (_, Value::List(_)) => return Err(self.wrong_type("a list", origin)),
        }
        Ok(())
    }

    /// The error for a value of another type.
    pub(crate) fn wrong_type(&self, found: &'static str, origin: &Origin) -> Error {
        Error::WrongType {
            origin: origin.clone(),
            key: self.dotted(),
            wanted: self.wanted(),
            found,
        }
    }

    fn path(&self, text: String, origin: &Origin) -> Result<Option<PathBuf>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        if Path::new(&text).is_absolute() {
            return Ok(Some(text.into()));
        }
        Err(self.refuse(text, "give an absolute path".into(), origin))
    }

    fn paths(&self, list: Vec<String>, origin: &Origin) -> Result<Vec<PathBuf>, Error> {
        let paths = list.into_iter().map(|text| self.path(text, origin));
        paths.filter_map(Result::transpose).collect()
    }

    fn flag(&self, default: bool, text: String, origin: &Origin) -> Result<bool, Error> {
        match text.as_str() {
            "" => Ok(default),
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.refuse(text, "write true or false".into(), origin)),
        }
    }

    fn word(&self, known: &[&str], text: String, origin: &Origin) -> Result<Option<String>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        if known.is_empty() || known.contains(&text.as_str()) {
            return Ok(Some(text));
        }
        Err(self.refuse(text, format!("use one of {}", known.join(", ")), origin))
    }

    fn words(&self, known: &[&str], list: Vec<String>, origin: &Origin) -> Result<Vec<String>, Error> {
        let words = list.into_iter().map(|text| self.word(known, text, origin));
        words.filter_map(Result::transpose).collect()
    }

    fn usd(&self, text: String, origin: &Origin) -> Result<Option<Usd>, Error> {
        match text.is_empty() {
            true => Ok(None),
            false => match text.parse() {
                Ok(usd) => Ok(Some(usd)),
                Err(error) => Err(self.refuse(text, error.to_string(), origin)),
            },
        }
    }

    fn refuse(&self, value: String, wanted: String, origin: &Origin) -> Error {
        Error::Value {
            origin: origin.clone(),
            key: self.dotted(),
            value,
            wanted,
        }
    }
}
