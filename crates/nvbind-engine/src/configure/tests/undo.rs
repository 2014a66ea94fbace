//! The way back, also after others have changed the file.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const SIMPLE: &str = "{\n  \"debug\": true\n}\n";

#[test]
fn everything_is_as_it_was_to_the_byte() {
    let texts = [
        SIMPLE,
        "{}",
        "{ }\n",
        "",
        "{\"debug\":true}",
        "{\n\t\"debug\": true\n}",
        "{\r\n  \"debug\": true\r\n}\r\n",
        "{\n  \"runtimes\": {}\n}\n",
        "{\"default-runtime\": \"crun\", \"features\": {\"buildkit\": true}}\n",
    ];
    for text in texts {
        let host = Host::new();
        host.write("daemon.json", text);
        let mut request = host.request(Engine::Docker, "daemon.json");
        request.set_as_default = true;
        request.cdi = Some(true);
        host.configure(&request);
        assert_ne!(host.read("daemon.json"), text);
        assert_eq!(host.undo(Engine::Docker).changes.len(), 1);
        assert_eq!(host.read("daemon.json"), text);
        assert_eq!(host.undo(Engine::Docker), Outcome::default(), "nothing is left to undo");
    }
}

#[test]
fn what_others_changed_since_stays() {
    let host = Host::new();
    host.write(
        "daemon.json",
        "{\n  \"default-runtime\": \"runc\",\n  \"debug\": true\n}\n",
    );
    let mut request = host.request(Engine::Docker, "daemon.json");
    request.set_as_default = true;
    host.configure(&request);
    let now = host.read("daemon.json").replace("\"debug\": true", "\"debug\": false");
    host.write("daemon.json", &now);
    assert_eq!(host.undo(Engine::Docker).notes, Vec::<String>::new());
    assert_eq!(
        host.read("daemon.json"),
        "{\n  \"default-runtime\": \"runc\",\n  \"debug\": false\n}\n"
    );
}

#[test]
fn a_line_of_ours_that_others_changed_is_theirs() {
    let host = Host::new();
    host.write("daemon.json", SIMPLE);
    let mut request = host.request(Engine::Docker, "daemon.json");
    request.set_as_default = true;
    host.configure(&request);
    let now = host
        .read("daemon.json")
        .replace("\"default-runtime\": \"nvbind\"", "\"default-runtime\": \"crun\"");
    host.write("daemon.json", &now);
    let outcome = host.undo(Engine::Docker);
    assert!(
        outcome.notes[0].contains("'default-runtime' was changed since"),
        "{:?}",
        outcome.notes
    );
    assert_eq!(
        host.read("daemon.json"),
        "{\n  \"debug\": true,\n  \"default-runtime\": \"crun\"\n}\n"
    );
}

#[test]
fn a_runtime_that_others_added_beside_ours_keeps_the_table() {
    let host = Host::new();
    host.write("daemon.json", SIMPLE);
    host.configure(&host.request(Engine::Docker, "daemon.json"));
    let now = host
        .read("daemon.json")
        .replace("\"nvbind\": {", "\"kata\": { \"path\": \"k\" },\n    \"nvbind\": {");
    host.write("daemon.json", &now);
    host.undo(Engine::Docker);
    let value: serde_json::Value = serde_json::from_str(&host.read("daemon.json")).unwrap();
    assert_eq!(
        value,
        serde_json::json!({ "debug": true, "runtimes": { "kata": { "path": "k" } } })
    );
}

#[test]
fn several_times_are_undone_at_once() {
    let host = Host::new();
    host.write("daemon.json", SIMPLE);
    let mut request = host.request(Engine::Docker, "daemon.json");
    host.configure(&request);
    request.program = "/opt/nvbind-runtime".into();
    request.set_as_default = true;
    host.configure(&request);
    // Someone's line in between: not the text that nvbind left.
    host.write("daemon.json", &host.read("daemon.json").replace("true", "false"));
    request.names = vec!["other".to_owned()];
    host.configure(&request);
    host.undo(Engine::Docker);
    assert_eq!(host.read("daemon.json"), SIMPLE.replace("true", "false"));
}

#[test]
fn a_drop_in_keeps_what_others_put_there() {
    let host = Host::new();
    let mut request = host.request(Engine::Podman, "containers.conf");
    request.drop_in = DropIn::At(host.path("d/99-nvbind.conf"));
    host.configure(&request);
    let theirs = host.read("d/99-nvbind.conf") + "\n# theirs\n[network]\ndns = \"x\"\n";
    host.write("d/99-nvbind.conf", &theirs);
    host.undo(Engine::Podman);
    let text = host.read("d/99-nvbind.conf");
    assert!(
        text.contains("# theirs\n[network]\ndns = \"x\"\n") && !text.contains("nvbind-runtime"),
        "{text}"
    );
}

#[test]
fn comments_and_order_of_toml_stay_when_others_changed_it() {
    let host = Host::new();
    let text = "# top\nversion = 2 # two\n\n[grpc]\n  gid = 7 # seven\n# end\n";
    host.write("config.toml", text);
    let request = host.request(Engine::Containerd, "config.toml");
    host.configure(&request);
    host.write("config.toml", &host.read("config.toml").replace("gid = 7", "gid = 8"));
    host.undo(Engine::Containerd);
    assert_eq!(host.read("config.toml"), text.replace("gid = 7", "gid = 8"));
    assert!(!host.path("conf.d").exists());
}

#[test]
fn mode_owner_and_links_stay() {
    let host = Host::new();
    let real = host.write("real.json", SIMPLE);
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&real, Some(1), Some(2)).expect("this test needs root, to give a file away");
    std::os::unix::fs::symlink("real.json", host.path("daemon.json")).unwrap();
    host.configure(&host.request(Engine::Docker, "daemon.json"));
    assert!(host.path("daemon.json").is_symlink());
    let metadata = real.metadata().unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
        (0o640, 1, 2)
    );
    assert!(host.read("real.json").contains("nvbind"));
    let left: Vec<_> = std::fs::read_dir(host.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "no temporary file is left: {left:?}");
}

#[test]
fn a_crash_between_the_record_and_the_files_is_healed() {
    let host = Host::new();
    host.write("daemon.json", SIMPLE);
    let request = host.request(Engine::Docker, "daemon.json");
    host.configure(&request);
    let written = host.read("daemon.json");
    // The record was written, the file was not.
    host.write("daemon.json", SIMPLE);
    assert_eq!(host.undo(Engine::Docker).changes, []);
    assert_eq!(host.read("daemon.json"), SIMPLE);
    host.configure(&request);
    host.write("daemon.json", SIMPLE);
    host.configure(&request);
    assert_eq!(host.read("daemon.json"), written);
    host.undo(Engine::Docker);
    assert_eq!(host.read("daemon.json"), SIMPLE);
}

#[test]
fn only_the_configuration_that_is_named_is_undone() {
    let host = Host::new();
    for name in ["a.json", "b.json"] {
        host.write(name, SIMPLE);
        host.configure(&host.request(Engine::Docker, name));
    }
    undo(Engine::Docker, Some(&host.path("a.json")), &host.state(), false).unwrap();
    assert_eq!(host.read("a.json"), SIMPLE);
    assert_ne!(host.read("b.json"), SIMPLE);
    host.undo(Engine::Docker);
    assert_eq!(host.read("b.json"), SIMPLE);
}
