//! Device nodes: `linux.devices` and the rules of the device cgroup.

use super::json::{self, Object};
use crate::Error;
use nvbind_cdi::{DeviceNode, Mount};
use rustix::fs::{FileType, Stat, major, minor, stat};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

/// Cgroup access of a node whose edits name none. No `m`: runtimes let a container make nodes anyway, and opening is
/// what counts.
const DEFAULT_ACCESS: &str = "rw";

/// How a node that cannot be made is bound from the host.
const BIND_OPTIONS: [&str; 4] = ["nosuid", "noexec", "rbind", "rprivate"];

/// Adds the nodes. Returns bind mounts for those that the runtime could not make itself.
pub(super) fn apply(root: &mut Object, nodes: &[DeviceNode]) -> Result<Vec<Mount>, Error> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let rootless = has_user_namespace(root);
    let owner = process_owner(root);
    let linux = json::object(root, "linux")?;
    // What stood in a node's place gives way to it, and an edit to a later one of the same path.
    let mut last: HashMap<&OsStr, usize> = HashMap::with_capacity(nodes.len());
    last.extend(
        nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.path.as_os_str(), index)),
    );
    let is_kept = |device: &Value| json::string(device, "path").is_none_or(|path| !last.contains_key(OsStr::new(path)));
    json::array(linux, "devices")?.retain(is_kept);
    let mut rules = Rules::new(linux, rootless);
    let mut binds = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let is_last = last.get(node.path.as_os_str()) == Some(&index);
        let node = Resolved::new(node, owner)?;
        // Inside a user namespace nodes cannot be made: runtimes bind the host's node of the same path instead, which
        // is the wrong one when the node lies elsewhere on the host.
        if node.plain_file || (rootless && node.moved()) {
            binds.push(node.bind());
            if node.plain_file {
                continue;
            }
        } else if is_last {
            json::array(linux, "devices")?.push(node.device()?);
        }
        rules.add(&node);
    }
    rules.put(linux)?;
    Ok(binds)
}

/// A node with everything that the edits left out.
struct Resolved<'a> {
    edit: &'a DeviceNode,
    kind: &'static str,
    major: i64,
    minor: i64,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    /// What stands at the host path is an ordinary file: it can be bound but has no numbers.
    plain_file: bool,
}

impl<'a> Resolved<'a> {
    /// Fills the gaps as CDI's Go package does: numbers from the host node, owner from the container's own user.
    fn new(edit: &'a DeviceNode, owner: Owner) -> Result<Self, Error> {
        let host = edit.host_path.as_deref().unwrap_or(&edit.path);
        let stat = match stat(host) {
            Ok(stat) => Some(stat),
            Err(_) if edit.kind.is_some() && edit.major.is_some() && edit.minor.is_some() => None,
            Err(error) => {
                return Err(Error::Node {
                    path: host.to_owned(),
                    source: error.into(),
                });
            }
        };
        let found = stat.as_ref().map(file_kind);
        if let (None, Some("a file")) = (edit.major, found) {
            return Ok(Self {
                edit,
                kind: "",
                major: 0,
                minor: 0,
                mode: None,
                uid: None,
                gid: None,
                plain_file: true,
            });
        }
        let kind = kind_letter(edit, found, host)?;
        let numbers = stat.as_ref().map(device_numbers).unwrap_or_default();
        Ok(Self {
            edit,
            kind,
            major: edit.major.unwrap_or(numbers.0),
            minor: edit.minor.unwrap_or(numbers.1),
            mode: edit.file_mode.or(stat.as_ref().map(|found| found.st_mode & 0o7777)),
            uid: edit.uid.or(owner.uid).or(stat.as_ref().map(|found| found.st_uid)),
            gid: edit.gid.or(owner.gid).or(stat.as_ref().map(|found| found.st_gid)),
            plain_file: false,
        })
    }

    fn moved(&self) -> bool {
        self.edit.host_path.as_ref().is_some_and(|host| *host != self.edit.path)
    }

    fn device(&self) -> Result<Value, Error> {
        let members = [
            ("path", Some(json::text(&self.edit.path)?.into())),
            ("type", Some(self.kind.into())),
            ("major", Some(self.major.into())),
            ("minor", Some(self.minor.into())),
            ("fileMode", self.mode.map(Value::from)),
            ("uid", self.uid.map(Value::from)),
            ("gid", self.gid.map(Value::from)),
        ];
        Ok(json::object_of(members))
    }

    fn bind(&self) -> Mount {
        Mount {
            host_path: self.edit.host_path.clone().unwrap_or_else(|| self.edit.path.clone()),
            container_path: self.edit.path.clone(),
            options: BIND_OPTIONS.map(Into::into).to_vec().into(),
            kind: Some("bind".to_owned()),
        }
    }
}

/// The container's user where it is not root: CDI makes it the owner of nodes whose owner is not said.
#[derive(Clone, Copy, Default)]
struct Owner {
    uid: Option<u32>,
    gid: Option<u32>,
}

fn process_owner(root: &Object) -> Owner {
    let id = |key: &str| {
        let id = root.get("process")?.get("user")?.get(key)?.as_u64()?;
        u32::try_from(id).ok().filter(|id| *id > 0)
    };
    Owner {
        uid: id("uid"),
        gid: id("gid"),
    }
}

fn has_user_namespace(root: &Object) -> bool {
    let namespaces = root
        .get("linux")
        .and_then(|linux| linux.get("namespaces"))
        .and_then(Value::as_array);
    namespaces.is_some_and(|list| list.iter().any(|entry| json::string(entry, "type") == Some("user")))
}

fn file_kind(found: &Stat) -> &'static str {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::CharacterDevice => "c",
        FileType::BlockDevice => "b",
        FileType::Fifo => "p",
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        _ => "no device",
    }
}

/// The node's type letter: what the edits say, checked against what is there.
fn kind_letter(edit: &DeviceNode, found: Option<&'static str>, host: &Path) -> Result<&'static str, Error> {
    let said = match edit.kind.as_deref() {
        None | Some("") => None,
        Some("c" | "u") => Some("c"),
        Some("b") => Some("b"),
        Some("p") => Some("p"),
        Some(other) => return Err(wrong_kind(host, found.unwrap_or("absent"), other)),
    };
    match (said, found) {
        (Some(said), None) => Ok(said),
        (Some(said), Some(found)) if said == found => Ok(said),
        (None, Some(found @ ("c" | "b" | "p"))) => Ok(found),
        (said, found) => Err(wrong_kind(host, found.unwrap_or("absent"), said.unwrap_or("a device"))),
    }
}

fn wrong_kind(host: &Path, found: &'static str, expected: &str) -> Error {
    let found = match found {
        "c" => "a character device",
        "b" => "a block device",
        "p" => "a FIFO",
        other => other,
    };
    Error::NodeKind {
        path: host.to_owned(),
        found,
        expected: expected.to_owned(),
    }
}

fn device_numbers(found: &Stat) -> (i64, i64) {
    (major(found.st_rdev).into(), minor(found.st_rdev).into())
}

/// The rules of the device cgroup that let the container open its nodes. The bundle's own keep their order, so a rule
/// that denies everything stays first.
struct Rules {
    /// Whether the bundle has a device cgroup, or gets one.
    is_used: bool,
    /// Whether the bundle has no rule of its own.
    is_first: bool,
    /// What is allowed: type, numbers, access.
    allowed: HashSet<(String, i64, i64, String)>,
    new: Vec<Value>,
}

impl Rules {
    fn new(linux: &Object, rootless: bool) -> Self {
        let listed = linux
            .get("resources")
            .and_then(|resources| resources.get("devices"))
            .and_then(Value::as_array);
        let is_first = listed.is_none_or(Vec::is_empty);
        Self {
            // A rootless bundle has no device cgroup; a first rule would make runc load one, which it may not.
            is_used: !(is_first && rootless),
            is_first,
            allowed: listed.into_iter().flatten().filter_map(allowed).collect(),
            new: Vec::new(),
        }
    }

    /// Lets the container open the node.
    fn add(&mut self, node: &Resolved<'_>) {
        if !self.is_used || node.kind == "p" {
            return;
        }
        let access = node.edit.permissions.as_deref().filter(|access| !access.is_empty());
        let access = access.unwrap_or(DEFAULT_ACCESS);
        let key = (node.kind.to_owned(), node.major, node.minor, access.to_owned());
        if self.allowed.insert(key) {
            self.new.push(json::object_of([
                ("allow", Some(true.into())),
                ("type", Some(node.kind.into())),
                ("major", Some(node.major.into())),
                ("minor", Some(node.minor.into())),
                ("access", Some(access.into())),
            ]));
        }
    }

    /// Puts the new rules behind the others.
    fn put(self, linux: &mut Object) -> Result<(), Error> {
        if self.new.is_empty() {
            return Ok(());
        }
        let rules = json::array(json::object(linux, "resources")?, "devices")?;
        if self.is_first {
            // What runc does anyway for a list without rules, said aloud for runtimes that would allow everything.
            rules.push(json!({ "allow": false, "access": "rwm" }));
        }
        rules.extend(self.new);
        Ok(())
    }
}

/// What a rule allows, if it allows one device and says nothing else.
fn allowed(rule: &Value) -> Option<(String, i64, i64, String)> {
    let is_plain = rule.as_object()?.len() == 5 && rule.get("allow") == Some(&Value::Bool(true));
    let text = |key: &str| Some(rule.get(key)?.as_str()?.to_owned());
    let number = |key: &str| rule.get(key)?.as_i64();
    let found = (text("type")?, number("major")?, number("minor")?, text("access")?);
    is_plain.then_some(found)
}
