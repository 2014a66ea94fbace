//! Whatever engines and images hand in, nothing panics and nothing is half done.

use crate::support::{Image, write};
use nvbind_cdi::Edits;
use nvbind_config::RequestConfig;
use nvbind_oci::{apply, hook, request};
use proptest::prelude::*;
use serde_json::{Value, json};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z=,/.]{0,12}".prop_map(Value::from),
        Just(json!("NVIDIA_VISIBLE_DEVICES=all")),
    ];
    let key = prop_oneof![
        Just("process"),
        Just("env"),
        Just("linux"),
        Just("devices"),
        Just("resources"),
        Just("mounts"),
        Just("hooks"),
        Just("annotations"),
        Just("user"),
        Just("additionalGids"),
        Just("createContainer"),
        Just("cdi.k8s.io/x"),
        Just("path"),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|members| Value::Object(
                members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

fn edits() -> Edits {
    let value = json!({
        "env": ["A=1"], "additionalGids": [7],
        "deviceNodes": [{ "path": "/dev/null" }], "mounts": [{ "hostPath": "/a", "containerPath": "/b/c" }],
        "hooks": [{ "hookName": "createContainer", "path": "/nvbind-hook", "args": ["nvbind-hook", "create-container"], "env": ["X=1"] }] });
    serde_json::from_value(value).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_configuration_is_read(config in any_json()) {
        let _ = request(&config, &RequestConfig::default());
    }

    #[test]
    fn edits_are_applied_once_or_refused(mut config in any_json()) {
        let edits = edits();
        if apply(&mut config, &edits).is_ok() {
            let once = config.to_string();
            apply(&mut config, &edits).unwrap();
            prop_assert_eq!(once, config.to_string());
        }
    }

    #[test]
    fn any_list_of_devices_is_read(list in "[a-z0-9,:=/ -]{0,40}") {
        let _ = request(
            &json!({ "process": { "env": [format!("NVIDIA_VISIBLE_DEVICES={list}")] } }),
            &RequestConfig::default(),
        );
    }

    #[test]
    fn any_state_is_refused(state in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(hook::run(&["create-container".to_owned()], state.as_slice()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_cache_and_arguments_leave_a_valid_cache(
        cache in prop::collection::vec(any::<u8>(), 0..400),
        real_header in any::<bool>(),
        mut args in prop::collection::vec("--(link|library|device-link)=[a-z/.:]{0,20}", 0..5),
    ) {
        let image = Image::new();
        let header = if real_header { &b"glibc-ld.so.cache1.1"[..] } else { b"" };
        write(&image.root("etc/ld.so.cache"), [header, &cache].concat());
        args.insert(0, "create-container".to_owned());
        args.push("--library=/usr/lib/x86_64-linux-gnu/libcuda.so.535.1".to_owned());
        let state = json!({ "bundle": image.dir.path() }).to_string();
        hook::run(&args, state.as_bytes()).unwrap();
        let written = nvbind_gpu::ldcache::parse(&std::fs::read(image.root("etc/ld.so.cache")).unwrap()).unwrap();
        prop_assert!(written.find(b"libcuda.so.535.1").is_some());
        image.assert_unharmed("property");
    }
}
