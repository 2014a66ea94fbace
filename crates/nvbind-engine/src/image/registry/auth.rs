//! Credentials from the files that docker and podman keep (`config.json`; containers-auth.json(5)).

use super::Error;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nvbind_config::trusted;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Under which docker keeps the credentials of its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// What a helper says when it has none, in the words of docker's own (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found";
/// The user name that marks a secret as an identity token.
const TOKEN_USER: &str = "<token>";

/// Who asks.
pub(super) struct Login {
    pub(super) auth: RegistryAuth,
    pub(super) user: String,
    /// The file that the credentials, or the name of their keeper, are from.
    pub(super) file: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The files of this user, the first that knows a registry wins; whether the first must be there.
fn files() -> (Vec<PathBuf>, bool) {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return (vec![file], true);
    }
    let home = std::env::home_dir();
    let podman = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let podman_home = home.as_ref().map(|home| home.join(".config/containers/auth.json"));
    let docker = variable("DOCKER_CONFIG").or(home.map(|home| home.join(".docker")));
    let docker = docker.map(|dir| dir.join("config.json"));
    (podman.into_iter().chain(podman_home).chain(docker).collect(), false)
}

/// The credentials for a repository, if there are any.
pub(super) fn find(registry: &str, repository: &str) -> Result<Option<Login>, Error> {
    let (files, must_exist) = files();
    for path in files {
        if let Some(login) = find_in(&path, must_exist, registry, repository)? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

fn find_in(path: &Path, must_exist: bool, registry: &str, repository: &str) -> Result<Option<Login>, Error> {
    let bad = |why: String| Error::AuthFile {
        path: path.to_owned(),
        why,
    };
    // Trusted: it may name a program to be run.
    let text = match trusted::read(path) {
        Err(error) if error.is_not_found() && !must_exist => return Ok(None),
        // Somebody else's file, as under sudo with the caller's HOME, is no business of ours.
        Err(trusted::Error::Owner { .. }) if !must_exist => return Ok(None),
        Err(error) if error.is_permission() && !must_exist => return Ok(None),
        read => read.map_err(|error| bad(error.to_string()))?,
    };
    let file: File = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if let Some(name) = keys(registry, repository)
        .iter()
        .find_map(|key| file.cred_helpers.get(key))
    {
        return ask_helper(name, registry, path);
    }
    let wanted = keys(registry, repository);
    let entry = wanted.iter().find_map(|key| {
        let same = |(name, _): &(&String, &Entry)| host_of(name) == *key;
        file.auths.iter().find(same).map(|(_, entry)| entry.clone())
    });
    match entry {
        Some(entry) if entry.has_secret() => login(&entry, path).map(Some).map_err(bad),
        // docker leaves an empty entry where a keeper has the secret.
        _ if !file.creds_store.is_empty() => ask_helper(&file.creds_store, registry, path),
        _ => Ok(None),
    }
}

/// What an entry for a repository may be called, the most precise first.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let full = format!("{registry}/{repository}");
    let ends = full.match_indices('/').map(|(at, _)| at).chain([full.len()]);
    let mut keys: Vec<String> = ends.map(|end| full[..end].to_owned()).collect();
    keys.reverse();
    if registry == "docker.io" {
        keys.push("index.docker.io".to_owned());
    }
    keys
}

/// Docker's keys may be addresses: `https://host/v1/`. Podman's may name a repository.
fn host_of(key: &str) -> String {
    let bare = key.strip_prefix("https://").or(key.strip_prefix("http://"));
    match bare {
        Some(address) => address.split('/').next().unwrap_or_default().to_owned(),
        None => key.trim_end_matches('/').to_owned(),
    }
}

impl Entry {
    fn has_secret(&self) -> bool {
        [&self.auth, &self.password, &self.identitytoken, &self.registrytoken]
            .iter()
            .any(|secret| !secret.is_empty())
    }
}

fn login(entry: &Entry, path: &Path) -> Result<Login, String> {
    if !entry.registrytoken.is_empty() {
        return Ok(Login {
            auth: RegistryAuth::Bearer(entry.registrytoken.clone()),
            user: TOKEN_USER.to_owned(),
            file: path.to_owned(),
        });
    }
    if !entry.identitytoken.is_empty() {
        return Err(
            "they are an identity token, which nvbind cannot exchange: log in with a password or an access token"
                .to_owned(),
        );
    }
    let (user, password) = match entry.auth.is_empty() {
        true => (entry.username.clone(), entry.password.clone()),
        false => decode(&entry.auth).ok_or("'auth' is not the base64 of user:password")?,
    };
    Ok(Login {
        auth: RegistryAuth::Basic(user.clone(), password),
        user,
        file: path.to_owned(),
    })
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Asks a program for credentials, in the way of docker-credential-helpers: the server on its standard input, JSON back.
fn ask_helper(name: &str, registry: &str, path: &Path) -> Result<Option<Login>, Error> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| Error::Helper {
        program: program.clone(),
        path: path.to_owned(),
        registry: registry.to_owned(),
        why,
    };
    if name.contains('/') {
        return Err(failed("its name is a path".to_owned()));
    }
    let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
    let output = run(&program, server).map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let words = format!("{} {}", said.trim(), String::from_utf8_lossy(&output.stderr).trim());
        return match words.contains(NOT_FOUND) {
            true => Ok(None),
            false => Err(failed(words.replace(char::is_control, " "))),
        };
    }
    // The words of the parser could quote the secret.
    let answer: Answer = serde_json::from_str(&said).map_err(|_| failed("it printed no credentials".to_owned()))?;
    let entry = match answer.username.as_str() {
        TOKEN_USER => Entry {
            identitytoken: answer.secret,
            ..Entry::default()
        },
        _ => Entry {
            username: answer.username,
            password: answer.secret,
            ..Entry::default()
        },
    };
    login(&entry, path).map(Some).map_err(failed)
}

fn run(program: &str, server: &str) -> std::io::Result<std::process::Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read needs none.
        let _ = stdin.write_all(server.as_bytes());
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, registry: &str, repository: &str) -> Option<(String, RegistryAuth)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let login = find_in(file.path(), true, registry, repository).unwrap()?;
        Some((login.user, login.auth))
    }

    fn basic(user: &str, password: &str) -> Option<(String, RegistryAuth)> {
        Some((
            user.to_owned(),
            RegistryAuth::Basic(user.to_owned(), password.to_owned()),
        ))
    }

    #[test]
    fn entries_are_found_under_the_names_that_docker_and_podman_use() {
        let auth = |user: &str| STANDARD.encode(format!("{user}:p:w"));
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"lab:5000":{{"auth":"{}"}},
               "quay.io/team":{{"auth":"{}"}},"quay.io":{{"username":"all","password":"x"}},"empty":{{}}}}}}"#,
            auth("hub"),
            auth("lab"),
            auth("team")
        );
        assert_eq!(found(&text, "docker.io", "library/debian"), basic("hub", "p:w"));
        assert_eq!(found(&text, "lab:5000", "a/b"), basic("lab", "p:w"));
        assert_eq!(found(&text, "quay.io", "team/image"), basic("team", "p:w"));
        assert_eq!(found(&text, "quay.io", "teammate/image"), basic("all", "x"));
        assert_eq!(found(&text, "empty", "x"), None);
        assert_eq!(found(&text, "other", "x"), None);
        assert_eq!(found("{}", "other", "x"), None);
    }

    #[test]
    fn tokens_are_told_apart() {
        let text = r#"{"auths":{"a":{"registrytoken":"t"},"b":{"identitytoken":"t"},"c":{"auth":"%"}}}"#;
        assert_eq!(found(text, "a", "x").unwrap().1, RegistryAuth::Bearer("t".into()));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        for (registry, words) in [("b", "identity token"), ("c", "base64")] {
            let error = find_in(file.path(), true, registry, "x").err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = find_in(file.path(), false, "a", "x").err().unwrap().to_string();
        assert!(error.contains("chmod"), "{error}");
        assert!(find_in(Path::new("/nonexistent/x"), true, "a", "x").is_err());
        assert!(find_in(Path::new("/nonexistent/x"), false, "a", "x").unwrap().is_none());
    }

    #[test]
    fn no_file_names_a_program_by_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"credsStore":"../../tmp/evil"}"#).unwrap();
        let error = find_in(file.path(), true, "a", "x").err().unwrap().to_string();
        assert!(error.contains("is a path"), "{error}");
    }
}
