use super::apply;
use nvbind_cdi::{DeviceNode, Edits, Hook, Mount};
use serde_json::{Value, json};

fn edits(value: Value) -> Edits {
    serde_json::from_value(value).unwrap()
}

fn applied(mut config: Value, changes: Value) -> Value {
    let changes = edits(changes);
    apply(&mut config, &changes).unwrap();
    let once = config.clone();
    apply(&mut config, &changes).unwrap();
    assert_eq!(
        serde_json::to_string(&once).unwrap(),
        serde_json::to_string(&config).unwrap(),
        "applied twice"
    );
    config
}

#[test]
fn nothing_changes_nothing() {
    let text = r#"{"zebra":1,"process":null,"linux":{"seccomp":{"b":1,"a":2}},"annotations":{}}"#;
    let mut config: Value = serde_json::from_str(text).unwrap();
    apply(&mut config, &Edits::default()).unwrap();
    assert_eq!(serde_json::to_string(&config).unwrap(), text);
}

#[test]
fn a_device_has_numbers_mode_and_a_rule_behind_the_deny_rule() {
    let config = json!({ "x-unknown": [1], "linux": { "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "devices": [{ "path": "/dev/null", "type": "b", "major": 9, "minor": 9 }, { "path": "/dev/fuse" }] } });
    let out = applied(config, json!({ "deviceNodes": [{ "path": "/dev/null" }] }));
    assert_eq!(
        out,
        json!({ "x-unknown": [1], "linux": {
            "resources": { "devices": [
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw" }] },
            "devices": [
                { "path": "/dev/fuse" },
                { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 0, "gid": 0 }] } })
    );
}

#[test]
fn an_allow_all_rule_stays() {
    let config = json!({ "linux": { "resources": { "devices": [{ "allow": true, "access": "rwm" }] } } });
    let out = applied(
        config,
        json!({ "deviceNodes": [{ "path": "/dev/null", "permissions": "r" }] }),
    );
    assert_eq!(
        out["linux"]["resources"]["devices"],
        json!([{ "allow": true, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "r" }])
    );
}

#[test]
fn a_bundle_without_rules_gets_the_deny_rule_first() {
    let out = applied(json!({}), json!({ "deviceNodes": [{ "path": "/dev/null" }] }));
    assert_eq!(
        out["linux"]["resources"]["devices"][0],
        json!({ "allow": false, "access": "rwm" })
    );
}

#[test]
fn a_rootless_bundle_gets_no_rules() {
    let out = applied(
        json!({ "linux": { "namespaces": [{ "type": "user" }] } }),
        json!({ "deviceNodes": [{ "path": "/dev/null" }, { "path": "/dev/moved", "hostPath": "/dev/zero" }] }),
    );
    assert_eq!(out["linux"].get("resources"), None);
    assert_eq!(out["linux"]["devices"].as_array().unwrap().len(), 1);
    assert_eq!(out["mounts"][0]["destination"], "/dev/moved");
    assert_eq!(out["mounts"][0]["source"], "/dev/zero");
}

#[test]
fn what_the_edits_say_about_a_node_wins_and_needs_no_host_node() {
    let node = json!({ "path": "/dev/nvidia7", "hostPath": "/nowhere/nvidia7", "type": "c", "major": 195, "minor": 7,
        "fileMode": 0o600, "uid": 5, "gid": 6, "permissions": "rwm" });
    let out = applied(
        json!({ "process": { "user": { "uid": 1000, "gid": 1000 } } }),
        json!({ "deviceNodes": [node] }),
    );
    assert_eq!(
        out["linux"]["devices"],
        json!([{ "path": "/dev/nvidia7", "type": "c", "major": 195, "minor": 7, "fileMode": 0o600, "uid": 5, "gid": 6 }])
    );
}

#[test]
fn the_containers_user_owns_a_node_without_an_owner() {
    let out = applied(
        json!({ "process": { "user": { "uid": 1000, "gid": 0 } } }),
        json!({ "deviceNodes": [{ "path": "/dev/null" }] }),
    );
    assert_eq!(
        (&out["linux"]["devices"][0]["uid"], &out["linux"]["devices"][0]["gid"]),
        (&json!(1000), &json!(0))
    );
}

#[test]
fn nodes_that_are_not_what_they_should_be_are_refused() {
    for (node, words) in [
        (
            json!({ "path": "/dev/nvbind-absent" }),
            "device node /dev/nvbind-absent: No such file",
        ),
        (
            json!({ "path": "/dev/null", "type": "b" }),
            "/dev/null is a character device, not b",
        ),
        (json!({ "path": "/dev" }), "/dev is a directory, not a device"),
        (json!({ "path": "/dev/null", "type": "x" }), "not x"),
    ] {
        let changes = edits(json!({ "deviceNodes": [node] }));
        let error = apply(&mut json!({}), &changes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_plain_file_standing_for_a_node_is_bound() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let node = DeviceNode {
        path: "/dev/nvidia0".into(),
        host_path: Some(file.path().into()),
        kind: None,
        major: None,
        minor: None,
        file_mode: None,
        permissions: None,
        uid: None,
        gid: None,
    };
    let mut config = json!({});
    apply(
        &mut config,
        &Edits {
            device_nodes: vec![node],
            ..Edits::default()
        },
    )
    .unwrap();
    assert_eq!(config["mounts"][0]["destination"], "/dev/nvidia0");
    assert_eq!(config["linux"]["devices"], json!([]));
    assert_eq!(config["linux"].get("resources"), None);
}

#[test]
fn mounts_stand_behind_the_bundles_own_parents_first() {
    let config = json!({ "mounts": [
        { "destination": "/z/deep/er" }, { "destination": "/usr/bin/nvidia-smi", "source": "/old" }, { "destination": "/a" }] });
    let mount =
        |path: &str| json!({ "hostPath": format!("/host{path}"), "containerPath": path, "options": ["ro", "bind"] });
    let out = applied(
        config,
        json!({ "mounts": [mount("/b/c/d"), mount("/usr/bin/nvidia-smi"), mount("/b"), mount("/a2")] }),
    );
    let order: Vec<&str> = out["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["destination"].as_str().unwrap())
        .collect();
    assert_eq!(
        order,
        ["/z/deep/er", "/a", "/b", "/a2", "/b/c/d", "/usr/bin/nvidia-smi"]
    );
    assert_eq!(
        out["mounts"][5],
        json!({ "destination": "/usr/bin/nvidia-smi", "type": "bind", "source": "/host/usr/bin/nvidia-smi", "options": ["ro", "bind"] })
    );
}

#[test]
fn a_mount_without_options_is_a_bind_mount_and_the_later_of_two_wins() {
    let mount = |host: &str| Mount {
        host_path: host.into(),
        container_path: "/x".into(),
        options: Vec::new().into(),
        kind: None,
    };
    let mut config = json!({});
    apply(
        &mut config,
        &Edits {
            mounts: vec![mount("/one"), mount("/two")],
            ..Edits::default()
        },
    )
    .unwrap();
    assert_eq!(
        config["mounts"],
        json!([{ "destination": "/x", "type": "bind", "source": "/two", "options": ["rbind"] }])
    );
}

#[test]
fn variables_are_replaced_where_they_stand() {
    let config =
        json!({ "process": { "env": ["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=all", "A=1", "NVIDIA_VISIBLE_DEVICES=0"] } });
    let out = applied(config, json!({ "env": ["NVIDIA_VISIBLE_DEVICES=void", "NEW=1"] }));
    assert_eq!(
        out["process"]["env"],
        json!(["PATH=/bin", "NVIDIA_VISIBLE_DEVICES=void", "A=1", "NEW=1"])
    );
}

#[test]
fn groups_are_added_once_and_never_roots() {
    let out = applied(
        json!({ "process": { "user": { "additionalGids": [44] } } }),
        json!({ "additionalGids": [0, 44, 104] }),
    );
    assert_eq!(out["process"]["user"]["additionalGids"], json!([44, 104]));
}

fn own_hook(path: &str, args: &[&str]) -> Hook {
    let mut all = vec!["nvbind-hook".to_owned(), "create-container".to_owned()];
    all.extend(args.iter().map(|a| (*a).to_owned()));
    Hook {
        hook_name: "createContainer".into(),
        path: path.into(),
        args: all,
        env: vec!["NVBIND_HOOK=create-container".into()],
        timeout: None,
    }
}

#[test]
fn own_hooks_become_one_process() {
    let hooks = vec![
        own_hook("/usr/bin/nvbind-hook", &["--link=a::/b"]),
        own_hook("/usr/bin/nvbind-hook", &["--link=a::/b", "--library=/l"]),
    ];
    let mut config = json!({ "hooks": { "createContainer": [{ "path": "/bin/user" }] } });
    apply(
        &mut config,
        &Edits {
            hooks,
            ..Edits::default()
        },
    )
    .unwrap();
    assert_eq!(
        config["hooks"]["createContainer"],
        json!([{ "path": "/bin/user" }, { "path": "/usr/bin/nvbind-hook",
            "args": ["nvbind-hook", "create-container", "--link=a::/b", "--library=/l"],
            "env": ["NVBIND_HOOK=create-container"] }])
    );
}

#[test]
fn no_hook_is_without_environment() {
    let out = applied(
        json!({}),
        json!({ "hooks": [{ "hookName": "prestart", "path": "/x", "timeout": 3 }] }),
    );
    let hook = &out["hooks"]["prestart"][0];
    assert!(hook["env"][0].as_str().unwrap().starts_with("PATH="));
    assert_eq!(hook["timeout"], 3);
}

#[test]
fn an_unknown_stage_and_wrong_types_are_refused() {
    let hooks = vec![Hook {
        hook_name: "createcontainer".into(),
        ..own_hook("/x", &[])
    }];
    let error = apply(
        &mut json!({}),
        &Edits {
            hooks,
            ..Edits::default()
        },
    )
    .unwrap_err();
    assert_eq!(error.exit_code(), 2);
    for (config, changes) in [
        (json!([]), json!({})),
        (
            json!({ "linux": 1 }),
            json!({ "deviceNodes": [{ "path": "/dev/null" }] }),
        ),
        (
            json!({ "mounts": {} }),
            json!({ "mounts": [{ "hostPath": "/a", "containerPath": "/b" }] }),
        ),
        (json!({ "process": { "env": "A=1" } }), json!({ "env": ["A=1"] })),
    ] {
        let mut config = config;
        assert!(matches!(
            apply(&mut config, &edits(changes)),
            Err(crate::Error::Malformed { .. })
        ));
    }
}

#[test]
fn paths_that_json_cannot_hold_are_refused() {
    use std::os::unix::ffi::OsStringExt;
    let odd = std::path::PathBuf::from(std::ffi::OsString::from_vec(b"/odd\xff".to_vec()));
    let mount = Mount {
        host_path: odd,
        container_path: "/x".into(),
        options: Vec::new().into(),
        kind: None,
    };
    let error = apply(
        &mut json!({}),
        &Edits {
            mounts: vec![mount],
            ..Edits::default()
        },
    );
    assert_eq!(error.unwrap_err().exit_code(), 2);
}

#[test]
fn a_slash_at_the_end_is_no_other_destination() {
    let config = json!({ "mounts": [{ "destination": "/data/", "source": "/old" }] });
    let out = applied(
        config,
        json!({ "mounts": [{ "hostPath": "/new", "containerPath": "/data" }] }),
    );
    assert_eq!(out["mounts"].as_array().unwrap().len(), 1);
}

#[test]
fn network_devices_and_rdt_have_their_places() {
    let out = applied(
        json!({}),
        json!({ "netDevices": [{ "hostInterfaceName": "eth9", "name": "eth0" }], "intelRdt": { "closID": "gold" } }),
    );
    assert_eq!(out["linux"]["netDevices"], json!({ "eth9": { "name": "eth0" } }));
    assert_eq!(out["linux"]["intelRdt"], json!({ "closID": "gold" }));
}
