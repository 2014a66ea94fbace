//! The layers of the configuration, read in order: files, variables, flags.

use crate::config::Config;
use crate::error::{Error, Origin};
use crate::key::{self, Value};
use crate::{toolkit, trusted};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Prefix of the variables that set keys: `NVBIND_<SECTION>_<KEY>`.
const PREFIX: &str = "NVBIND_";

/// Variables of other meanings, less the prefix; `NVBIND_SIM_*` and `NVBIND_TEST_*` are left alone too.
const OTHER_VARIABLES: [&str; 4] = ["CONFIG", "SIM", "HOOK", "LOG"];
const OTHER_PREFIXES: [&str; 2] = ["SIM_", "TEST_"];

/// Where the configuration is read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The `config.toml` of NVIDIA's container toolkit, which stands below all others.
    pub toolkit: Option<PathBuf>,
    /// Files, lowest priority first.
    pub files: Vec<PathBuf>,
    /// Whether a file that is not there is an error.
    pub files_must_exist: bool,
    /// Environment variables; those that set no key are passed over.
    pub variables: Vec<(OsString, OsString)>,
}

impl Sources {
    /// The files and variables of this process.
    pub fn of_process() -> Self {
        let variables = env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        let named = env::var_os("NVBIND_CONFIG").filter(|file| !file.is_empty());
        Self {
            toolkit: named.is_none().then(toolkit::file),
            files_must_exist: named.is_some(),
            files: named.map_or_else(default_files, |file| vec![file.into()]),
            variables: variables.collect(),
        }
    }

    /// Reads every layer; `overrides` are flags, the dotted key and its text.
    pub fn load(&self, overrides: &[(&str, &str)]) -> Result<Config, Error> {
        let mut config = Config::default();
        if let Some(file) = &self.toolkit {
            toolkit::load(&mut config, file)?;
        }
        for file in &self.files {
            self.load_file(&mut config, file)?;
        }
        for (name, value) in &self.variables {
            load_variable(&mut config, name, value)?;
        }
        for (dotted, text) in overrides {
            load_flag(&mut config, dotted, text)?;
        }
        Ok(config)
    }

    fn load_file(&self, config: &mut Config, path: &Path) -> Result<(), Error> {
        match trusted::read(path) {
            Ok(text) => merge_file(config, path, &text),
            Err(error) if error.is_not_found() && self.files_must_exist => Err(Error::Missing(path.to_owned())),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn default_files() -> Vec<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path: &PathBuf| path.is_absolute())
    };
    let config_home = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let user = config_home.map(|dir| dir.join("nvbind/config.toml"));
    [Some(PathBuf::from("/etc/nvbind/config.toml")), user]
        .into_iter()
        .flatten()
        .collect()
}

/// Merges the text of a file, key by key.
pub(crate) fn merge_file(config: &mut Config, path: &Path, text: &str) -> Result<(), Error> {
    let origin = |offset: usize| Origin::File {
        path: path.to_owned(),
        line: line_of(text, offset),
    };
    let document = DeTable::parse(text).map_err(|error| Error::Syntax {
        origin: origin(error.span().map_or(text.len(), |span| span.start)),
        message: error.message().to_owned(),
    })?;
    for (section, content) in document.get_ref() {
        let at = origin(section.span().start);
        let section = section.get_ref();
        if !key::is_section(section) {
            return Err(key::unknown_section(section, &at));
        }
        let DeValue::Table(keys) = content.get_ref() else {
            return Err(Error::WrongType {
                origin: at,
                key: section.to_string(),
                wanted: "a section",
                found: with_article(content.get_ref()),
            });
        };
        for (name, value) in keys {
            let at = origin(name.span().start);
            let key = key::find(section, name.get_ref(), &at)?;
            let value = match (value.get_ref(), key.is_number()) {
                (DeValue::Integer(number), true) => Value::Text(number.to_string()),
                (DeValue::Float(number), true) => Value::Text(number.to_string()),
                (value, _) => file_value(value).map_err(|found| key.wrong_type(found, &at))?,
            };
            key.apply(config, value, &at)?;
        }
    }
    Ok(())
}

/// A string, a boolean or a list of strings; otherwise what it is instead.
pub(crate) fn file_value(value: &DeValue<'_>) -> Result<Value, &'static str> {
    match value {
        DeValue::String(text) => Ok(Value::Text(text.to_string())),
        DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts
                .collect::<Option<_>>()
                .map(Value::List)
                .ok_or("a list of other things than strings")
        }
        other => Err(with_article(other)),
    }
}

fn with_article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// Line number, from 1, of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn load_variable(config: &mut Config, name: &OsStr, value: &OsStr) -> Result<(), Error> {
    let Some((section, key_name)) = name.to_str().and_then(section_and_key) else {
        return Ok(());
    };
    let origin = Origin::Variable(name.to_string_lossy().into_owned());
    let key = key::find(&section, &key_name, &origin)?;
    let text = value.to_str().ok_or_else(|| key.wrong_type("not UTF-8", &origin))?;
    set_text(config, key, text, &origin)
}

/// The section and key that a variable means; `None` for a variable of another meaning.
fn section_and_key(variable: &str) -> Option<(String, String)> {
    let rest = variable.strip_prefix(PREFIX)?;
    if OTHER_VARIABLES.contains(&rest) || OTHER_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) {
        return None;
    }
    let (section, key) = rest.split_once('_')?;
    let section = section.to_ascii_lowercase();
    key::is_section(&section).then(|| (section, key.to_ascii_lowercase()))
}

fn load_flag(config: &mut Config, dotted: &str, text: &str) -> Result<(), Error> {
    let (section, name) = dotted
        .split_once('.')
        .ok_or_else(|| key::unknown_key(dotted, &Origin::Flag))?;
    let key = key::find(section, name, &Origin::Flag)?;
    set_text(config, key, text, &Origin::Flag)
}

/// Sets a key from text: lists are separated by commas; an empty text is an empty list, or else the default.
fn set_text(config: &mut Config, key: &key::Key, text: &str, origin: &Origin) -> Result<(), Error> {
    if !key.is_list() {
        return key.apply(config, Value::Text(text.to_owned()), origin);
    }
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    key.apply(config, Value::List(words.map(str::to_owned).collect()), origin)
}

#[cfg(test)]
mod tests;
