use super::*;
use serde_json::{Value, json};

fn spec() -> Value {
    json!({ "cdiVersion": "1.1.0", "kind": "nvidia.com/gpu",
        "devices": [{ "name": "0", "containerEdits": { "deviceNodes": [{ "path": "/dev/nvidia0" }] } }],
        "containerEdits": {
            "env": ["A=b"],
            "mounts": [{ "hostPath": "/a", "containerPath": "/b", "options": ["ro"] }],
            "hooks": [{ "hookName": "createContainer", "path": "/bin/h", "args": ["h"], "env": ["X=1"] }],
            "netDevices": [{ "hostInterfaceName": "ib0", "name": "net0" }],
            "intelRdt": { "closID": "/" } } })
}

fn check(spec: Value) -> Result<(), String> {
    serde_json::from_value::<Spec>(spec)
        .unwrap()
        .validate()
        .map_err(|error| error.to_string())
}

/// What is said about the spec with the value at a JSON pointer replaced.
fn said_of(pointer: &str, value: Value) -> String {
    let mut spec = spec();
    *spec.pointer_mut(pointer).unwrap() = value;
    check(spec).unwrap_err()
}

#[test]
fn a_spec_with_everything_is_valid() {
    check(spec()).unwrap();
}

#[test]
fn types_and_permissions_that_are_taken() {
    for (kind, access) in [("c", "rwm"), ("b", "r"), ("u", ""), ("p", "none"), ("", "mr")] {
        let mut spec = spec();
        spec["devices"][0]["containerEdits"]["deviceNodes"][0] =
            json!({ "path": "/dev/x", "type": kind, "permissions": access, "major": 0, "minor": 0 });
        check(spec).unwrap();
    }
}

#[test]
fn every_broken_rule_names_its_place() {
    let node = "/devices/0/containerEdits/deviceNodes/0";
    let cases = [
        (
            "/cdiVersion",
            json!("0.9.0"),
            "cdiVersion: '0.9.0' is no version of the CDI specification",
        ),
        (
            "/cdiVersion",
            json!("0.7.0"),
            "cdiVersion: 0.7.0 is too low: the content needs 1.1.0",
        ),
        ("/kind", json!("gpu"), "kind: 'gpu' is not of the form vendor/class"),
        (
            "/kind",
            json!("1a/gpu"),
            "kind: '1a' is no vendor name: use letters, digits and - _ . from a letter to a letter or digit",
        ),
        (
            "/kind",
            json!("a/b/c"),
            "kind: 'b/c' is no class name: use letters, digits and - _ . from a letter to a letter or digit",
        ),
        (
            "/kind",
            json!("a/"),
            "kind: '' is no class name: use letters, digits and - _ . from a letter to a letter or digit",
        ),
        ("/devices", json!([]), "devices: is empty: a spec needs a device"),
        (
            "/devices/0/name",
            json!(""),
            "devices[0].name: '' is no device name: use letters, digits and - _ . : between letters or digits",
        ),
        (
            "/devices/0/name",
            json!("a=b"),
            "devices[0].name: 'a=b' is no device name: use letters, digits and - _ . : between letters or digits",
        ),
        (
            "/devices/0/containerEdits",
            json!({}),
            "devices[0].containerEdits: device '0' has no edits",
        ),
        (
            node,
            json!({ "path": "" }),
            "devices[0].containerEdits.deviceNodes[0].path: is empty",
        ),
        (
            node,
            json!({ "path": "dev/x" }),
            "devices[0].containerEdits.deviceNodes[0].path: 'dev/x' is not an absolute path",
        ),
        (
            node,
            json!({ "path": "/dev/x", "type": "d" }),
            "devices[0].containerEdits.deviceNodes[0].type: 'd' is none of b, c, u, p",
        ),
        (
            node,
            json!({ "path": "/dev/x", "minor": -1 }),
            "devices[0].containerEdits.deviceNodes[0].minor: is negative",
        ),
        (
            node,
            json!({ "path": "/dev/x", "permissions": "rx" }),
            "devices[0].containerEdits.deviceNodes[0].permissions: 'rx' is not some of r, w, m, or none",
        ),
        (
            "/containerEdits/env/0",
            json!("A"),
            "containerEdits.env[0]: 'A' is not NAME=value",
        ),
        (
            "/containerEdits/env/0",
            json!("=b"),
            "containerEdits.env[0]: '=b' is not NAME=value",
        ),
        (
            "/containerEdits/mounts/0/hostPath",
            json!(""),
            "containerEdits.mounts[0].hostPath: is empty",
        ),
        (
            "/containerEdits/mounts/0/containerPath",
            json!("b"),
            "containerEdits.mounts[0].containerPath: 'b' is not an absolute path",
        ),
        (
            "/containerEdits/hooks/0/hookName",
            json!("start"),
            "containerEdits.hooks[0].hookName: 'start' is none of prestart, createRuntime, createContainer, startContainer, poststart, poststop",
        ),
        (
            "/containerEdits/hooks/0/path",
            json!("h"),
            "containerEdits.hooks[0].path: 'h' is not an absolute path",
        ),
        (
            "/containerEdits/hooks/0/env",
            json!(["X"]),
            "containerEdits.hooks[0].env[0]: 'X' is not NAME=value",
        ),
        (
            "/containerEdits/netDevices/0/name",
            json!(""),
            "containerEdits.netDevices[0].name: is empty",
        ),
        (
            "/containerEdits/intelRdt/closID",
            json!("a/b"),
            "containerEdits.intelRdt.closID: 'a/b' is no file name",
        ),
        (
            "/containerEdits/intelRdt",
            json!({ "enableCMT": true }),
            "containerEdits.intelRdt: enableCMT and enableMBM ended with CDI 1.0.0",
        ),
    ];
    for (pointer, value, expected) in cases {
        assert_eq!(said_of(pointer, value.clone()), expected, "{pointer} = {value}");
    }
}

#[test]
fn names_are_used_once() {
    let device = spec()["devices"][0].clone();
    assert_eq!(
        said_of("/devices", json!([device, device])),
        "devices[1].name: '0' is defined twice"
    );
    let net = spec()["containerEdits"]["netDevices"][0].clone();
    assert_eq!(
        said_of("/containerEdits/netDevices", json!([net, net])),
        "containerEdits.netDevices[1].hostInterfaceName: 'ib0' is used twice"
    );
}

#[test]
fn annotations_have_keys_of_kubernetes_form() {
    let annotated = |key: &str, value: &str| {
        let mut spec = spec();
        spec["annotations"] = json!({ key: value });
        check(spec)
    };
    for key in ["a", "gpu.nvidia.com/coherent", "A_b.c-d"] {
        annotated(key, "true").unwrap();
    }
    for key in ["", "a/b/c", "/a", "Nvidia.com/a", "a b", "-a"] {
        assert!(
            annotated(key, "true").unwrap_err().starts_with("annotations: '"),
            "{key}"
        );
    }
    assert_eq!(
        annotated("a", &"x".repeat(256 << 10)).unwrap_err(),
        "annotations: are larger than 256 KiB together"
    );
}
