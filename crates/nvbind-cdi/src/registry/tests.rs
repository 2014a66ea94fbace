use super::*;
use crate::Format;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// Two spec folders in a temporary one.
struct Folders(TempDir);

impl Folders {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a spec whose devices each have a node named after the file.
    fn spec(&self, file: &str, devices: &[&str]) -> &Self {
        let node = format!("/dev/{}", file.replace(['/', '.'], "-"));
        let device = |name: &&str| json!({ "name": name, "containerEdits": { "deviceNodes": [{ "path": node }] } });
        let spec = json!({ "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": devices.iter().map(device).collect::<Vec<_>>(),
            "containerEdits": { "env": [format!("FROM={file}")] } });
        let path = self.path(file);
        let spec: Spec = serde_json::from_value(spec).unwrap();
        spec.write(&path, Format::of_file(&path).unwrap()).unwrap();
        self
    }

    fn text(&self, file: &str, text: &str) -> &Self {
        std::fs::write(self.path(file), text).unwrap();
        std::fs::set_permissions(self.path(file), std::fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    fn load(&self) -> Registry {
        Registry::load(&[self.path("etc"), self.path("run"), self.path("absent")])
    }
}

fn node_of(registry: &Registry, name: &str) -> String {
    registry.device(name).unwrap().container_edits.device_nodes[0]
        .path
        .display()
        .to_string()
}

#[test]
fn a_later_folder_wins() {
    let folders = Folders::new();
    folders.spec("etc/a.json", &["0", "1"]).spec("run/a.yaml", &["0", "2"]);
    let registry = folders.load();
    assert_eq!(node_of(&registry, "nvidia.com/gpu=0"), "/dev/run-a-yaml");
    assert_eq!(node_of(&registry, "nvidia.com/gpu=1"), "/dev/etc-a-json");
    let names: Vec<&str> = registry.devices().map(|(name, _)| name).collect();
    assert_eq!(names, ["nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=2"]);
    assert!(registry.errors().is_empty());
    assert_eq!(
        registry.spec_of("nvidia.com/gpu=2").unwrap().path,
        folders.path("run/a.yaml")
    );
}

#[test]
fn two_files_of_one_folder_conflict() {
    let folders = Folders::new();
    folders
        .spec("etc/a.json", &["0", "1"])
        .spec("etc/b.json", &["0"])
        .spec("etc/c.json", &["0"]);
    let registry = folders.load();
    assert!(registry.device("nvidia.com/gpu=0").is_none());
    assert!(registry.device("nvidia.com/gpu=1").is_some());
    assert_eq!(registry.errors().len(), 2);
    let said = registry.edits(&["nvidia.com/gpu=0"]).unwrap_err().to_string();
    assert!(said.contains("is defined by both") && said.contains("a.json"), "{said}");
    folders.spec("run/a.json", &["0"]);
    assert_eq!(node_of(&folders.load(), "nvidia.com/gpu=0"), "/dev/run-a-json");
}

#[test]
fn broken_files_do_not_hide_the_others() {
    let folders = Folders::new();
    folders
        .spec("etc/a.json", &["0"])
        .text("etc/b.json", "{")
        .text("etc/c.yaml", "kind: [")
        .text("etc/d.txt", "{");
    folders.text("etc/e.yml", "kind: [").spec("etc/f.json", &["9"]);
    std::fs::set_permissions(folders.path("etc/f.json"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let registry = folders.load();
    assert!(registry.device("nvidia.com/gpu=0").is_some());
    assert!(registry.device("nvidia.com/gpu=9").is_none());
    assert_eq!(registry.errors().len(), 3);
}

#[test]
fn common_edits_come_once() {
    let folders = Folders::new();
    folders.spec("etc/a.json", &["0", "1"]).spec("run/b.json", &["2"]);
    let edits = folders
        .load()
        .edits(&["nvidia.com/gpu=0", "nvidia.com/gpu=2", "nvidia.com/gpu=1"])
        .unwrap();
    assert_eq!(edits.env, ["FROM=etc/a.json", "FROM=run/b.json"]);
    assert_eq!(edits.device_nodes.len(), 2);
    assert_eq!(folders.load().edits::<&str>(&[]).unwrap(), Edits::default());
}

#[test]
fn unknown_devices_say_what_there_is() {
    let folders = Folders::new();
    let said = |name: &str| {
        let error = folders.load().edits(&[name]).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        error.to_string()
    };
    let nothing = "run nvbind cdi list to see those there are, nvbind cdi generate to make them";
    assert_eq!(
        said("nvidia.com/gpu=7"),
        format!("no CDI device 'nvidia.com/gpu=7': {nothing}")
    );
    folders.text("etc/b.json", "{");
    assert!(said("nvidia.com/gpu=7").contains("b.json: EOF while parsing"));
    folders.spec("etc/a.json", &["0", "all"]);
    assert_eq!(
        said("nvidia.com/gpu=7"),
        "no CDI device 'nvidia.com/gpu=7': devices of nvidia.com/gpu are 0, all"
    );
}

#[test]
fn edits_that_are_taken_are_those_that_would_be_copied() {
    let folders = Folders::new();
    folders.spec("etc/a.json", &["0", "1"]).spec("run/b.yaml", &["2"]);
    let names = [
        "nvidia.com/gpu=2",
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=1",
    ];
    let mut registry = folders.load();
    let copied = registry.edits(&names).unwrap();
    assert!(registry.take_edits(&["nvidia.com/gpu=0", "nvidia.com/gpu=9"]).is_err());
    assert_eq!(registry.take_edits(&names).unwrap(), copied);
    assert_eq!(copied.env, ["FROM=run/b.yaml", "FROM=etc/a.json"]);
}
