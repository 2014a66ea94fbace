use super::*;
use serde_json::json;

fn asked(env: &[&str]) -> Request {
    request(&json!({ "process": { "env": env } })).unwrap()
}

fn names(list: &[&str]) -> Devices {
    Devices::Named(list.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn visible_devices_table() {
    let table: [(&[&str], Devices); 27] = [
        (&[], Devices::Nothing),
        (&["PATH=/bin"], Devices::Nothing),
        (&["NVIDIA_VISIBLE_DEVICES"], Devices::Nothing),
        (&["NVIDIA_VISIBLE_DEVICES="], Devices::Nothing),
        (&["NVIDIA_VISIBLE_DEVICES= "], Devices::Nothing),
        (&["NVIDIA_VISIBLE_DEVICES=,"], Devices::Nothing),
        (&["NVIDIA_VISIBLE_DEVICES=void"], Devices::Nothing),
        (&["NVIDIA_VISIBLE_DEVICES=0,void"], Devices::Nothing),
        (&["NVIDIA_VISIBLE_DEVICES=none"], Devices::DriverOnly),
        (&["NVIDIA_VISIBLE_DEVICES=none,0"], Devices::DriverOnly),
        (&["NVIDIA_VISIBLE_DEVICES=none,all"], Devices::DriverOnly),
        (&["NVIDIA_VISIBLE_DEVICES=all"], names(&["all"])),
        (&["NVIDIA_VISIBLE_DEVICES=0,all,none"], names(&["all"])),
        (&["NVIDIA_VISIBLE_DEVICES=0"], names(&["0"])),
        (&["NVIDIA_VISIBLE_DEVICES= 1 , 0 ,1"], names(&["1", "0"])),
        (
            &["NVIDIA_VISIBLE_DEVICES=GPU-5d5ba0d6,MIG-77"],
            names(&["GPU-5d5ba0d6", "MIG-77"]),
        ),
        (&["NVIDIA_VISIBLE_DEVICES=0:1"], names(&["0:1"])),
        (
            &["NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=0"],
            names(&["nvidia.com/gpu=0"]),
        ),
        (&["NVIDIA_VISIBLE_DEVICES=All"], names(&["All"])),
        (
            &["NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=void"],
            Devices::Nothing,
        ),
        (
            &["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_VISIBLE_DEVICES=0"],
            names(&["0"]),
        ),
        (&["CUDA_VERSION=7.5"], names(&["all"])),
        (&["CUDA_VERSION=7.5", "NVIDIA_REQUIRE_CUDA="], names(&["all"])),
        (&["CUDA_VERSION=12", "NVIDIA_REQUIRE_CUDA=cuda>=12"], Devices::Nothing),
        (&["CUDA_VERSION="], Devices::Nothing),
        (&["CUDA_VERSION=7.5", "NVIDIA_VISIBLE_DEVICES="], Devices::Nothing),
        (&["CUDA_VERSION=7.5", "NVIDIA_VISIBLE_DEVICES=void"], Devices::Nothing),
    ];
    for (env, devices) in table {
        assert_eq!(asked(env).devices, devices, "{env:?}");
    }
}

#[test]
fn capabilities_table() {
    let all = "NVIDIA_VISIBLE_DEVICES=all";
    let table: [(&[&str], &str); 8] = [
        (&[all], "compute,utility"),
        (&[all, "NVIDIA_DRIVER_CAPABILITIES="], "compute,utility"),
        (&[all, "NVIDIA_DRIVER_CAPABILITIES=graphics, video"], "graphics,video"),
        (
            &[all, "NVIDIA_DRIVER_CAPABILITIES=all"],
            "compute,compat32,graphics,utility,video,display,ngx",
        ),
        (
            &["CUDA_VERSION=7"],
            "compute,compat32,graphics,utility,video,display,ngx",
        ),
        (&["CUDA_VERSION=7", "NVIDIA_DRIVER_CAPABILITIES=utility"], "utility"),
        (&["NVIDIA_VISIBLE_DEVICES=none"], "compute,utility"),
        (
            &[
                "NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=0",
                "NVIDIA_DRIVER_CAPABILITIES=utility",
            ],
            "compute,compat32,graphics,utility,video,display,ngx",
        ),
    ];
    for (env, words) in table {
        assert_eq!(asked(env).capabilities.to_string(), words, "{env:?}");
    }
}

#[test]
fn an_unknown_capability_is_an_error_only_when_devices_are_asked_for() {
    let env = ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=computer"];
    let error = request(&json!({ "process": { "env": env } })).unwrap_err();
    assert!(error.to_string().contains("'computer'"), "{error}");
    assert!(asked(&["NVIDIA_DRIVER_CAPABILITIES=computer"]).is_nothing());
}

#[test]
fn annotations_win_over_variables() {
    let config = json!({
        "annotations": { "cdi.k8s.io/a": "nvidia.com/gpu=1,v.com/nic=eth0", "cdi.k8s.io/b": "nvidia.com/gpu=1", "other": "x" },
        "process": { "env": ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=utility"] } });
    let found = request(&config).unwrap();
    assert_eq!(found.devices, names(&["nvidia.com/gpu=1", "v.com/nic=eth0"]));
    assert_eq!(found.capabilities, Capabilities::ALL);
    let empty = json!({ "annotations": { "cdi.k8s.io/a": "" }, "process": { "env": ["NVIDIA_VISIBLE_DEVICES=0"] } });
    assert_eq!(request(&empty).unwrap().devices, names(&["0"]));
}

#[test]
fn annotations_hold_qualified_names_only() {
    let error = request(&json!({ "annotations": { "cdi.k8s.io/a": "0" } })).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("cdi.k8s.io/a"), "{error}");
}

#[test]
fn what_is_no_configuration_asks_for_nothing() {
    for config in [
        json!(null),
        json!([]),
        json!({ "process": 1 }),
        json!({ "process": { "env": [1, null] } }),
    ] {
        assert!(request(&config).unwrap().is_nothing());
    }
}
