//! Side by side with NVIDIA's container toolkit: what its source searches for, applied to the simulated hosts, against our
//! specs. Every difference stands in docs/differences.md, and every one that stands there is to be seen here.

use crate::support::Machine;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

#[derive(Deserialize)]
struct Patterns {
    environment: BTreeMap<String, Vec<String>>,
    options: BTreeMap<String, String>,
    libraries: Libraries,
    files: Vec<Files>,
    sockets: Sockets,
    nodes: Nodes,
    wsl: Wsl,
}

#[derive(Deserialize)]
struct Libraries {
    folders: Vec<String>,
    names: Vec<String>,
}

#[derive(Deserialize)]
struct Files {
    to: String,
    folders: Vec<String>,
    names: Vec<String>,
}

#[derive(Deserialize)]
struct Sockets {
    places: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Nodes {
    common: Vec<String>,
    wsl: Vec<String>,
}

#[derive(Deserialize)]
struct Wsl {
    store: String,
    names: Vec<String>,
    others: Vec<String>,
}

/// What a spec gives, a line each: `environment A=b`, `mount PATH OPTIONS`, `node DEVICE PATH`, `device NAME`.
type Lines = BTreeSet<String>;

/// A line of docs/differences.md.
#[derive(Debug)]
struct Difference {
    is_ours: bool,
    pattern: String,
}

#[test]
fn every_difference_is_told_with_its_reason() {
    let told = differences();
    let mut seen = vec![false; told.len()];
    for (profile, is_mig) in [
        ("dgx-a100", false),
        ("hgx-h100", true),
        ("rtx4090", false),
        ("wsl2-rtx4070", false),
    ] {
        let machine = Machine::without_driver(profile);
        if is_mig {
            machine.ok(&["sim", "mig", "0", "3g.40gb", "1g.10gb"]);
        }
        let (ours, theirs) = (our_lines(&machine), their_lines(&machine));
        assert!(theirs.len() > 10, "{profile}: {theirs:?}");
        let more = ours.difference(&theirs).map(|line| (true, line));
        let less = theirs.difference(&ours).map(|line| (false, line));
        for (is_ours, line) in more.chain(less) {
            let is_told =
                |difference: &Difference| difference.is_ours == is_ours && matches(&difference.pattern, line, |_| true);
            let row = told.iter().position(is_told);
            let side = if is_ours { "only nvbind" } else { "only the toolkit" };
            let row =
                row.unwrap_or_else(|| panic!("{profile}: {side} has '{line}': docs/differences.md does not say why"));
            seen[row] = true;
        }
    }
    for (difference, seen) in told.iter().zip(seen) {
        assert!(
            seen,
            "docs/differences.md tells of what is not so any more: {difference:?}"
        );
    }
}

/// The rows of the first table: side, pattern, reason.
fn differences() -> Vec<Difference> {
    let file = nvbind_testkit::checkout().join("docs/differences.md");
    let text = std::fs::read_to_string(file).expect("docs/differences.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [side, pattern, reason] = cells[..] else {
            panic!("not three cells: {line}");
        };
        assert!(!reason.is_empty(), "no reason: {line}");
        Difference {
            is_ours: match side {
                "nvbind" => true,
                "toolkit" => false,
                _ => panic!("neither nvbind nor toolkit: {line}"),
            },
            pattern: pattern.trim_matches('`').to_owned(),
        }
    });
    let rows: Vec<Difference> = rows.collect();
    assert!(!rows.is_empty());
    rows
}

fn our_lines(machine: &Machine) -> Lines {
    let spec: Value = serde_json::from_str(&machine.ok(&["cdi", "generate", "--format", "json"])).expect("JSON");
    let common = &spec["containerEdits"];
    let mut lines = node_lines("common", common);
    lines.extend(
        texts(&common["env"])
            .into_iter()
            .map(|entry| format!("environment {entry}")),
    );
    for mount in common["mounts"].as_array().into_iter().flatten() {
        let path = mount["containerPath"].as_str().expect("path");
        lines.insert(format!("mount {path} {}", texts(&mount["options"]).join(",")));
    }
    for device in spec["devices"].as_array().expect("devices") {
        let name = device["name"].as_str().expect("name");
        lines.insert(format!("device {name}"));
        lines.extend(node_lines(name, &device["containerEdits"]));
    }
    lines
}

fn node_lines(name: &str, edits: &Value) -> Lines {
    let nodes = edits["deviceNodes"].as_array().into_iter().flatten();
    let path = |node: &Value| node["path"].as_str().expect("path").to_owned();
    nodes.map(|node| format!("node {name} {}", path(node))).collect()
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| item.as_str().expect("text").to_owned()).collect()
}

fn their_lines(machine: &Machine) -> Lines {
    let text = include_str!("../peer/patterns.toml");
    let patterns: Patterns = toml::from_str(text).expect("patterns");
    let host: Value = serde_json::from_str(&machine.ok(&["info", "--format", "json"])).expect("JSON");
    let version = host["driver"]["version"].as_str().expect("version");
    let root = Root(PathBuf::from(machine.ok(&["sim", "path"]).trim()));
    let mut lines = Lines::new();
    let mount = |path: &str, kind: &str| format!("mount {path} {}", patterns.options[kind]);
    if root.has(&patterns.nodes.wsl[0]) {
        lines.extend(
            patterns.environment["wsl"]
                .iter()
                .map(|entry| format!("environment {entry}")),
        );
        lines.insert("device all".into());
        lines.extend(patterns.nodes.wsl.iter().map(|path| format!("node all {path}")));
        for store in root.names(&patterns.wsl.store) {
            let folder = format!("{}/{store}", patterns.wsl.store);
            let names = patterns
                .wsl
                .names
                .iter()
                .flat_map(|name| root.glob(&folder, name, version));
            lines.extend(names.map(|path| mount(&path, "file")));
        }
        lines.extend(patterns.wsl.others.iter().map(|path| mount(path, "file")));
        return lines;
    }
    let mut cuda = BTreeSet::new();
    for folder in &patterns.libraries.folders {
        for name in &patterns.libraries.names {
            for path in root.glob(folder, name, version) {
                if path.contains("/libcuda.so.") {
                    cuda.insert(folder.clone());
                }
                lines.insert(mount(&path, "file"));
            }
        }
    }
    let cuda: Vec<String> = cuda.into_iter().collect();
    let environment = patterns.environment["linux"].iter();
    lines.extend(environment.map(|entry| format!("environment {}", entry.replace("{libcuda}", &cuda.join(":")))));
    for files in &patterns.files {
        for name in &files.names {
            let found = files
                .folders
                .iter()
                .map(|folder| (folder, root.glob(folder, name, version)));
            let first = found.into_iter().find(|(_, paths)| !paths.is_empty());
            let (folder, paths) = first.unwrap_or((&files.to, Vec::new()));
            lines.extend(
                paths
                    .iter()
                    .map(|path| mount(&path.replacen(folder.as_str(), &files.to, 1), "file")),
            );
        }
    }
    for places in &patterns.sockets.places {
        let first = places.iter().find(|place| root.has(place));
        lines.extend(first.map(|place| mount(place, "socket")));
    }
    let common = patterns.nodes.common.iter().filter(|path| root.has(path));
    lines.extend(common.map(|path| format!("node common {path}")));
    for gpu in host["gpus"].as_array().expect("GPUs") {
        add_gpu(&mut lines, &root, gpu);
    }
    lines.insert("device all".into());
    lines
}

/// Names by the strategies `index` and `uuid`; a GPU in MIG mode is there by its MIG devices only.
fn add_gpu(lines: &mut Lines, root: &Root, gpu: &Value) {
    let (index, minor) = (&gpu["index"], &gpu["minor"]);
    let bus = gpu["pci_bus_id"].as_str().expect("bus id");
    let mut add = |names: &[String], nodes: &[String]| {
        for name in names {
            lines.insert(format!("device {name}"));
        }
        for name in names.iter().map(String::as_str).chain(["all"]) {
            lines.extend(nodes.iter().map(|path| format!("node {name} {path}")));
        }
    };
    let own = format!("/dev/nvidia{minor}");
    let uuid = |device: &Value| device["uuid"].as_str().expect("UUID").to_owned();
    if gpu["mig"]["enabled"] == false {
        let drm = root.names(&format!("/sys/bus/pci/devices/{bus}/drm"));
        let mut nodes: Vec<String> = drm.iter().map(|name| format!("/dev/dri/{name}")).collect();
        nodes.push(own);
        add(&[index.to_string(), uuid(gpu)], &nodes);
        return;
    }
    let minors = std::fs::read_to_string(root.0.join("proc/driver/nvidia-caps/mig-minors")).expect("mig-minors");
    let capability = |entry: String| {
        let line = minors.lines().find_map(|line| line.strip_prefix(&format!("{entry} ")));
        format!("/dev/nvidia-caps/nvidia-cap{}", line.expect("minor"))
    };
    for mig in gpu["mig"]["devices"].as_array().expect("MIG devices") {
        let (gi, ci) = (&mig["gpu_instance"], &mig["compute_instance"]);
        let nodes = [
            own.clone(),
            capability(format!("gpu{minor}/gi{gi}/access")),
            capability(format!("gpu{minor}/gi{gi}/ci{ci}/access")),
        ];
        add(&[format!("{index}:{}", mig["index"]), uuid(mig)], &nodes);
    }
}

/// The simulated host's root.
struct Root(PathBuf);

impl Root {
    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// The files (no links) that a pattern means below a folder.
    fn glob(&self, folder: &str, pattern: &str, version: &str) -> Vec<String> {
        let pattern = format!("{folder}/{}", pattern.replace("{version}", version));
        let (folder, name) = pattern.rsplit_once('/').expect("a folder");
        let is_file = |path: &String| self.path(path).symlink_metadata().is_ok_and(|meta| meta.is_file());
        let names = self.names(folder).into_iter();
        let named = names.filter(|found| matches(name, found, |text| !text.contains('/')));
        named.map(|found| format!("{folder}/{found}")).filter(is_file).collect()
    }
}

/// Whether a text is of the pattern, in which `*` stands for any text that `is_any` allows.
fn matches(pattern: &str, text: &str, is_any: fn(&str) -> bool) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
            ends.into_iter()
                .any(|end| is_any(&text[..end]) && matches(rest, &text[end..], is_any))
        }),
    }
}
