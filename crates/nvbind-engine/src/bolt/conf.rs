//! The configuration with which podman starts its containers through `nvbind-runtime`.
//!
//! `CONTAINERS_CONF` makes podman read that one file and no other, so it holds what the others say as well.

use super::Error;
use nvbind_workload::Network;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Name of the file, and of the runtime in it.
const FILE_NAME: &str = "containers.conf";
const RUNTIME_NAME: &str = "nvbind";
/// The files that podman reads, the later ones winning (containers.conf(5)).
const SYSTEM_FILES: [&str; 2] = [
    "/usr/share/containers/containers.conf",
    "/etc/containers/containers.conf",
];
/// Folder of files that podman reads after those, in the order of their names.
const SYSTEM_DIR: &str = "/etc/containers/containers.conf.d";

/// Writes the file into `dir`: its path.
pub(super) fn write(dir: &Path, shim: &Path, network: Network) -> Result<PathBuf, Error> {
    let mut conf = Table::new();
    for path in files() {
        merge(&mut conf, read(&path)?);
    }
    merge(&mut conf, ours(shim, network));
    let path = dir.join(FILE_NAME);
    let failed = |error: io::Error| Error::Conf {
        path: path.clone(),
        why: error.to_string(),
    };
    fs::create_dir_all(dir).map_err(failed)?;
    fs::write(&path, conf.to_string()).map_err(failed)?;
    Ok(path)
}

/// What is to be otherwise than the user has it.
fn ours(shim: &Path, network: Network) -> Table {
    let shim = Value::String(shim.to_string_lossy().into_owned());
    let runtimes = Table::from_iter([(RUNTIME_NAME.to_owned(), Value::Array(vec![shim]))]);
    let engine = Table::from_iter([
        ("runtime".to_owned(), Value::String(RUNTIME_NAME.into())),
        ("runtimes".to_owned(), Value::Table(runtimes)),
    ]);
    let containers = Table::from_iter([("netns".to_owned(), Value::String(network.to_string()))]);
    Table::from_iter([
        ("engine".to_owned(), Value::Table(engine)),
        ("containers".to_owned(), Value::Table(containers)),
    ])
}

/// The files that podman would read here.
fn files() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("CONTAINERS_CONF").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".config")));
    let user = config.map(|config| config.join("containers").join(FILE_NAME));
    let system = SYSTEM_FILES.into_iter().map(PathBuf::from);
    let dropped_in = drop_ins(Path::new(SYSTEM_DIR));
    system
        .chain(dropped_in)
        .chain(user)
        .filter(|path| path.exists())
        .collect()
}

fn drop_ins(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<Table, Error> {
    let failed = |why: String| Error::Conf {
        path: path.to_owned(),
        why,
    };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    text.parse()
        .map_err(|error: toml::de::Error| failed(error.message().to_owned()))
}

/// Lays one configuration over another: tables key by key, everything else whole.
fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_settings_stay_and_the_runtime_is_ours() {
        let mut conf: Table = r#"
            [containers]
            default_ulimits = ["nofile=1024:1024"]
            netns = "private"
            [engine]
            runtime = "crun"
            cgroup_manager = "cgroupfs"
            [engine.runtimes]
            crun = ["/usr/bin/crun"]
        "#
        .parse()
        .unwrap();
        merge(&mut conf, ours(Path::new("/opt/nvbind-runtime"), Network::None));
        let expected: Table = r#"
            [containers]
            default_ulimits = ["nofile=1024:1024"]
            netns = "none"
            [engine]
            runtime = "nvbind"
            cgroup_manager = "cgroupfs"
            [engine.runtimes]
            crun = ["/usr/bin/crun"]
            nvbind = ["/opt/nvbind-runtime"]
        "#
        .parse()
        .unwrap();
        assert_eq!(conf, expected);
    }
}
