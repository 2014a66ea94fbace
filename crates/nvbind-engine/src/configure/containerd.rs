//! containerd: `/etc/containerd/config.toml`, and a drop-in where that does no harm.
//!
//! Before version 2.1, a file that is imported replaces the whole section of a plugin that the importing file has
//! (containerd#5837). nvbind then writes its lines into the file whose section counts, so that what the user changes
//! there later still counts, too; a drop-in is used where no file has the section, or where it is asked for by name (it
//! then holds a copy of the section). Versions before 2.0 also forget their built-in runtime `runc` as soon as a file
//! names any runtime, so that it has to be named with it.

mod imports;
mod verify;

use super::document::{Document, Format, key_path};
use super::program::{self, Said};
use super::setting::Setting;
use super::{DropIn, Engine, Error, FilePlan, Plan, Request, Source, heading, next, rancher};
use imports::Files;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

pub(super) use verify::check;

const CONFIG: &str = "/etc/containerd/config.toml";
const DROP_IN: &str = "/etc/containerd/conf.d/99-nvbind.toml";
const PROGRAM: &str = "containerd";
/// What a new file says: the newest version that every containerd since 1.3 reads.
const NEW_VERSION: u64 = 2;
/// What a file is that says nothing.
const OLD_VERSION: u64 = 1;
/// The first version that merges the sections of plugins.
const MERGES: (u32, u32) = (2, 1);
/// Kind of the runtimes that take an OCI runtime's program.
const RUNC_SHIM: &str = "io.containerd.runc.v2";
/// The runtime that there is without any configuration.
const BUILT_IN: &str = "runc";

/// Name of the section of Kubernetes' interface, by the configuration's version.
const SECTIONS: [(u64, &str); 3] = [
    (1, "cri"),
    (2, "io.containerd.grpc.v1.cri"),
    (3, "io.containerd.cri.v1.runtime"),
];

/// What is known before it is decided what to write.
struct Known<'known> {
    request: &'known Request,
    files: Files,
    version: u64,
    section: &'static str,
    /// The section as it is now.
    cri: Value,
    merges: bool,
}

pub(super) fn plan(request: &Request) -> Result<Plan, Error> {
    let config = request.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG));
    rancher::check(&config)?;
    if request.config.is_none() {
        rancher::check_host(&config, Path::new("/"))?;
    }
    let known = Known::find(request, &config)?;
    let (names, mut notes) = request.names(|name| known.program_of(name));
    notes.extend(known.disabled_note());
    Ok(Plan {
        files: known.file_plans(&names),
        config,
        notes,
        next: next(Engine::Containerd),
    })
}

fn executable(request: &Request) -> PathBuf {
    request.executable.clone().unwrap_or_else(|| PROGRAM.into())
}

impl<'known> Known<'known> {
    fn find(request: &'known Request, config: &Path) -> Result<Self, Error> {
        let drop_in = match &request.drop_in {
            DropIn::At(path) => path.clone(),
            DropIn::Auto | DropIn::Never => config.parent().map_or_else(
                || PathBuf::from(DROP_IN),
                |folder| match request.config {
                    None => PathBuf::from(DROP_IN),
                    Some(_) => folder.join("conf.d/99-nvbind.toml"),
                },
            ),
        };
        let files = Files::read(config, &drop_in)?;
        let (version, section) = section(config, files.main.as_deref())?;
        let cri = match request.source {
            Source::File => files.section(&key_path(["plugins", section])).unwrap_or_default(),
            Source::Command => dumped_section(request, config)?,
        };
        Ok(Self {
            merges: merges(&executable(request)),
            request,
            files,
            version,
            section,
            cri,
        })
    }

    fn program_of(&self, name: &str) -> Option<String> {
        let program = self
            .cri
            .pointer(&format!("/containerd/runtimes/{name}/options/BinaryName"))?;
        Some(program.as_str()?.to_owned())
    }

    fn disabled_note(&self) -> Option<String> {
        let disabled = self.files.main.as_ref()?.get(&key_path(["disabled_plugins"]))?;
        let is_cri = |name: &Value| name == "cri" || name == self.section;
        disabled.as_array()?.iter().any(is_cri).then(|| {
            "Kubernetes' interface is switched off (disabled_plugins): only ctr and nerdctl can use this containerd"
                .to_owned()
        })
    }

    /// What to write where.
    fn file_plans(&self, names: &[String]) -> Vec<FilePlan> {
        match self.home() {
            Home::DropIn(path) => {
                let mut main = vec![Setting::value(key_path(["version"]), self.version)];
                if self.files.main.as_ref().is_some() {
                    main.clear();
                }
                if !self.files.imports(&path) {
                    main.push(Setting::element(key_path(["imports"]), path.display().to_string()));
                }
                let mut settings = vec![Setting::value(key_path(["version"]), self.version)];
                settings.extend(self.copy_of_section());
                settings.extend(self.settings(names));
                vec![
                    self.file(path, heading(Engine::Containerd), settings),
                    self.file(self.files.config.clone(), String::new(), main),
                ]
            }
            Home::File(path) => {
                let heading = format!("version = {}\n", self.version);
                vec![self.file(path, heading, self.settings(names))]
            }
        }
    }

    fn file(&self, path: PathBuf, heading: String, settings: Vec<Setting>) -> FilePlan {
        FilePlan {
            path,
            format: Format::Toml,
            heading,
            settings,
        }
    }

    fn home(&self) -> Home {
        let section = key_path(["plugins", self.section]);
        let drop_in = || Home::DropIn(self.files.drop_in.clone());
        match (&self.request.drop_in, self.files.holder(&section)) {
            (DropIn::At(path), _) => Home::DropIn(path.clone()),
            (DropIn::Auto, _) if self.merges => drop_in(),
            (DropIn::Auto, None) => drop_in(),
            (DropIn::Auto | DropIn::Never, Some(holder)) => Home::File(holder.to_owned()),
            (DropIn::Never, None) => Home::File(self.files.config.clone()),
        }
    }

    /// Where a drop-in takes the section's place it must hold all of it.
    fn copy_of_section(&self) -> Vec<Setting> {
        let members = match self.merges {
            true => None,
            false => self.cri.as_object(),
        };
        members
            .into_iter()
            .flatten()
            .map(|(name, value)| Setting::value(key_path(["plugins", self.section, name]), value.clone()))
            .collect()
    }

    fn settings(&self, names: &[String]) -> Vec<Setting> {
        let at = |words: &[&str]| {
            let mut path = key_path(["plugins", self.section]);
            path.extend(words.iter().map(|word| (*word).to_owned()));
            path
        };
        let mut settings = Vec::new();
        if self.needs_built_in() {
            settings.push(Setting::value(
                at(&["containerd", "runtimes", BUILT_IN, "runtime_type"]),
                RUNC_SHIM,
            ));
        }
        let runtime = self.runtime();
        let entry = |name: &String| Setting::value(at(&["containerd", "runtimes", name]), runtime.clone());
        settings.extend(names.iter().map(entry));
        if let (true, Some(name)) = (self.request.set_as_default, names.first()) {
            settings.push(Setting::value(
                at(&["containerd", "default_runtime_name"]),
                name.as_str(),
            ));
        }
        if let Some(cdi) = self.request.cdi {
            settings.push(Setting::value(at(&["enable_cdi"]), cdi));
        }
        settings
    }

    fn default_name(&self) -> &str {
        let name = self.cri.pointer("/containerd/default_runtime_name");
        name.and_then(Value::as_str).unwrap_or(BUILT_IN)
    }

    /// Whether naming a runtime would make the built-in one go.
    fn needs_built_in(&self) -> bool {
        let named = self.cri.pointer(&format!("/containerd/runtimes/{BUILT_IN}"));
        !self.merges && named.is_none() && self.default_name() == BUILT_IN
    }

    /// The entry of our runtime: the default one's, so that its cgroup driver and annotations are ours, with our program.
    fn runtime(&self) -> Value {
        let default = self
            .cri
            .pointer(&format!("/containerd/runtimes/{}", self.default_name()));
        let is_runc = |runtime: &&Value| {
            let kind = runtime.get("runtime_type").and_then(Value::as_str);
            kind.is_none_or(|kind| kind.is_empty() || kind == RUNC_SHIM)
        };
        let mut runtime = default
            .filter(is_runc)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        runtime.insert("runtime_type".to_owned(), json!(RUNC_SHIM));
        let options = runtime.entry("options").or_insert_with(|| Value::Object(Map::new()));
        options["BinaryName"] = json!(self.request.program_text());
        Value::Object(runtime)
    }
}

/// Where our lines go.
enum Home {
    /// A file of our own, that the main one imports.
    DropIn(PathBuf),
    /// A file that is there.
    File(PathBuf),
}

/// Version of the configuration and name of the section that it has then.
fn section(config: &Path, main: Option<&dyn Document>) -> Result<(u64, &'static str), Error> {
    let said = main.and_then(|document| document.get(&key_path(["version"])));
    let version = match (&main, &said) {
        (None, _) => NEW_VERSION,
        (Some(_), None) => OLD_VERSION,
        (Some(_), Some(said)) => said.as_u64().unwrap_or_default(),
    };
    let known = SECTIONS.iter().find(|(known, _)| *known == version);
    known.copied().ok_or_else(|| Error::Version {
        path: config.to_owned(),
        version: said.unwrap_or_default().to_string(),
    })
}

/// The section as containerd itself sees it.
fn dumped_section(request: &Request, config: &Path) -> Result<Value, Error> {
    let program = executable(request);
    let option = config.display().to_string();
    let arguments = ["--config", &option, "config", "dump"];
    let failed = |why: &str| Error::Source {
        program: format!("{} {}", program.display(), arguments.join(" ")),
        why: why.to_owned(),
    };
    match program::ask(&program, &arguments) {
        Said::Yes(text) => Ok(section_of(
            &Format::Toml.parse(&program, &text)?.get(&[]).unwrap_or_default(),
        )),
        Said::No(why) => Err(failed(&why)),
        Said::Absent => Err(failed("it is not installed")),
    }
}

/// The section of a whole configuration, of whatever version.
fn section_of(configuration: &Value) -> Value {
    let plugins = configuration.get("plugins");
    let section = |(_, name): &(u64, &str)| plugins?.get(name).cloned();
    SECTIONS.iter().rev().find_map(section).unwrap_or_default()
}

/// Whether this containerd merges the sections of plugins. One that cannot be asked is taken for an old one: what it is
/// given then is right for both.
fn merges(program: &Path) -> bool {
    match program::ask(program, &["--version"]) {
        Said::Yes(text) => version(&text).is_some_and(|version| version >= MERGES),
        Said::No(_) | Said::Absent => false,
    }
}

/// Major and minor version in `containerd github.com/containerd/containerd v1.7.27 05044ec`.
fn version(text: &str) -> Option<(u32, u32)> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches('v').split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let table = [
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3",
                Some((1, 6)),
            ),
            (
                "containerd github.com/containerd/containerd/v2 v2.1.0 061792f",
                Some((2, 1)),
            ),
            (
                "containerd containerd.io 1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da",
                Some((1, 7)),
            ),
            ("", None),
        ];
        for (text, wanted) in table {
            assert_eq!(version(text), wanted, "{text}");
        }
    }
}
