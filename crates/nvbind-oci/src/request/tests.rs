use super::*;
use serde_json::json;

fn ask(config: &Value) -> Result<Request, Error> {
    request(config, &RequestConfig::default())
}

fn asked(env: &[&str]) -> Request {
    ask(&json!({ "process": { "env": env } })).unwrap()
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
    let error = ask(&json!({ "process": { "env": env } })).unwrap_err();
    assert!(error.to_string().contains("'computer'"), "{error}");
    assert!(asked(&["NVIDIA_DRIVER_CAPABILITIES=computer"]).is_nothing());
}

#[test]
fn annotations_win_over_variables() {
    let config = json!({
        "annotations": { "cdi.k8s.io/a": "nvidia.com/gpu=1,v.com/nic=eth0", "cdi.k8s.io/b": "nvidia.com/gpu=1", "other": "x" },
        "process": { "env": ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=utility"] } });
    let found = ask(&config).unwrap();
    assert_eq!(found.devices, names(&["nvidia.com/gpu=1", "v.com/nic=eth0"]));
    assert_eq!(found.capabilities, Capabilities::ALL);
    let empty = json!({ "annotations": { "cdi.k8s.io/a": "" }, "process": { "env": ["NVIDIA_VISIBLE_DEVICES=0"] } });
    assert_eq!(ask(&empty).unwrap().devices, names(&["0"]));
}

#[test]
fn annotations_hold_qualified_names_only() {
    let error = ask(&json!({ "annotations": { "cdi.k8s.io/a": "0" } })).unwrap_err();
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
        assert!(ask(&config).unwrap().is_nothing());
    }
}

fn heard(change: impl FnOnce(&mut RequestConfig)) -> RequestConfig {
    let mut heard = RequestConfig::default();
    change(&mut heard);
    heard
}

fn with_mounts(mounts: &[&str], env: &[&str]) -> Value {
    let mounts: Vec<Value> = mounts
        .iter()
        .map(
            |path| json!({ "source": "/dev/null", "destination": format!("/var/run/nvidia-container-devices/{path}") }),
        )
        .collect();
    json!({ "mounts": mounts, "process": { "env": env } })
}

#[test]
fn mounts_name_devices_where_they_are_heard() {
    let on = heard(|heard| heard.volume_mounts = true);
    let table: [(&[&str], &[&str]); 4] = [
        (&["GPU-1", "0"], &["GPU-1", "0"]),
        (
            &["cdi/nvidia.com/gpu/0", "cdi/nvidia.com/gpu=1"],
            &["nvidia.com/gpu=0", "nvidia.com/gpu=1"],
        ),
        (&["all"], &["all"]),
        (&["0", "imex/3"], &["0"]),
    ];
    for (mounts, devices) in table {
        let config = with_mounts(mounts, &["NVIDIA_VISIBLE_DEVICES=/var/run/nvidia-container-devices"]);
        assert_eq!(request(&config, &on).unwrap().devices, names(devices), "{mounts:?}");
        assert!(ask(&config).unwrap().is_nothing(), "{mounts:?}");
    }
    let mut other = with_mounts(&["0"], &[]);
    other["mounts"][0]["source"] = "/dev/zero".into();
    assert!(request(&other, &on).unwrap().is_nothing());
    let both = with_mounts(&["0"], &["NVIDIA_VISIBLE_DEVICES=all"]);
    assert_eq!(request(&both, &on).unwrap().devices, names(&["0"]));
}

#[test]
fn variables_can_be_for_the_privileged_only() {
    let strict = heard(|heard| heard.env_when_unprivileged = false);
    let mut config =
        json!({ "process": { "env": ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_GDS=enabled", "NVIDIA_IMEX_CHANNELS=1"] } });
    assert!(request(&config, &strict).unwrap().is_nothing());
    config["process"]["capabilities"] = json!({ "bounding": ["CAP_CHOWN"] });
    assert!(request(&config, &strict).unwrap().is_nothing());
    config["process"]["capabilities"] = json!({ "bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"] });
    assert_eq!(request(&config, &strict).unwrap().devices, names(&["all"]));
    let annotated = json!({ "annotations": { "cdi.k8s.io/a": "nvidia.com/gpu=0" } });
    assert_eq!(
        request(&annotated, &strict).unwrap().devices,
        names(&["nvidia.com/gpu=0"])
    );
}

#[test]
fn a_swarms_variables_come_first() {
    let swarm = heard(|heard| heard.swarm_resources = vec!["DOCKER_RESOURCE_GPU".into(), "OTHER".into()]);
    let with = |env: &[&str]| request(&json!({ "process": { "env": env } }), &swarm).unwrap().devices;
    assert_eq!(
        with(&["NVIDIA_VISIBLE_DEVICES=all", "DOCKER_RESOURCE_GPU=1"]),
        names(&["1"])
    );
    assert_eq!(with(&["OTHER=2", "DOCKER_RESOURCE_GPU=1"]), names(&["1", "2"]));
    assert_eq!(with(&["NVIDIA_VISIBLE_DEVICES=all"]), names(&["all"]));
    assert_eq!(asked(&["DOCKER_RESOURCE_GPU=1"]).devices, Devices::Nothing);
}

#[test]
fn capabilities_can_be_bounded() {
    let bounded = heard(|heard| heard.driver_capabilities = vec!["utility".into(), "graphics".into()]);
    let env = ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all"];
    let asked = request(&json!({ "process": { "env": env } }), &bounded).unwrap();
    assert_eq!(asked.capabilities.to_string(), "graphics,utility");
}

#[test]
fn extra_devices_need_no_gpu() {
    let extra = asked(&["NVIDIA_GDS=enabled", "NVIDIA_MOFED=yes", "NVIDIA_NVSWITCH=enabled"]);
    assert_eq!(extra.extra.modes, ["gds", "nvswitch"]);
    assert_eq!((extra.devices.clone(), extra.is_nothing()), (Devices::Nothing, false));
    let imex = |list: &str| asked(&[&format!("NVIDIA_IMEX_CHANNELS={list}")]).extra.imex_channels;
    assert_eq!(imex("0,channel7, 1048575,0"), [0, 7, 1_048_575]);
    assert_eq!(imex("all"), [0; 0]);
    for bad in ["1048576", "-1", "x", "channel", "0x1"] {
        let config = json!({ "process": { "env": [format!("NVIDIA_IMEX_CHANNELS={bad}")] } });
        assert_eq!(ask(&config).unwrap_err().exit_code(), 2, "{bad}");
    }
    let ignoring = heard(|heard| heard.imex_channels = false);
    let config = json!({ "process": { "env": ["NVIDIA_IMEX_CHANNELS=0"] } });
    assert!(request(&config, &ignoring).unwrap().is_nothing());
}

#[test]
fn requirements_are_read_unless_waived() {
    let count = |env: &[&str]| {
        let mut all = vec!["NVIDIA_VISIBLE_DEVICES=all"];
        all.extend(env);
        asked(&all).requirements.len()
    };
    assert_eq!(
        count(&["NVIDIA_REQUIRE_CUDA=cuda>=12", "NVIDIA_REQUIRE_DRIVER=driver>=535"]),
        2
    );
    assert_eq!(
        count(&["NVIDIA_REQUIRE_CUDA=cuda>=12", "NVIDIA_REQUIRE_CUDA=cuda>=13"]),
        1
    );
    assert_eq!(count(&["NVIDIA_REQUIRE_CUDA="]), 0);
    assert_eq!(count(&["CUDA_VERSION=11.4.2"]), 1);
    assert_eq!(
        count(&["NVIDIA_REQUIRE_CUDA=cuda>=12", "NVIDIA_DISABLE_REQUIRE=true"]),
        0
    );
    assert_eq!(count(&["NVIDIA_REQUIRE_CUDA=cuda>=12", "NVIDIA_DISABLE_REQUIRE=0"]), 1);
    assert!(asked(&["NVIDIA_REQUIRE_CUDA=nonsense"]).is_nothing());
}
