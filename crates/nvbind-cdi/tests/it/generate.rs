//! What is in the spec of a host.

use crate::fixture::{LIB, Machine};
use nvbind_cdi::{Edits, Error, Format, GenerateOptions, HookSteps, Spec, Strategy, edits_for, generate};
use nvbind_gpu::{Capabilities, Health, Node};
use std::path::Path;

fn options() -> GenerateOptions {
    GenerateOptions::new("/usr/bin/nvbind-hook".into())
}

fn spec_of(machine: &Machine, options: &GenerateOptions) -> Result<Spec, Error> {
    generate(&machine.roots(), &machine.host, &machine.files, options)
}

/// Compares a spec with the file of that name under `expected/`; `NVBIND_TEST_UPDATE=1` writes the file instead.
fn assert_expected(machine: &Machine, spec: &Spec, name: &str) {
    let text = spec
        .to_yaml()
        .unwrap()
        .replace(machine.root().to_str().unwrap(), "/HOST");
    // Tests run in the folder of their crate.
    let file = Path::new("tests/it/expected").join(name);
    if std::env::var_os("NVBIND_TEST_UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        text == expected,
        "{name} differs, set NVBIND_TEST_UPDATE=1 to accept:\n{text}"
    );
    assert_eq!(
        Spec::parse(&text, Format::Yaml).unwrap().required_version(),
        spec.cdi_version
    );
}

fn names(spec: &Spec) -> Vec<&str> {
    spec.devices.iter().map(|device| device.name.as_str()).collect()
}

fn nodes(edits: &Edits) -> Vec<&str> {
    edits
        .device_nodes
        .iter()
        .map(|node| node.path.to_str().unwrap())
        .collect()
}

fn device<'a>(spec: &'a Spec, name: &str) -> &'a Edits {
    &spec
        .devices
        .iter()
        .find(|device| device.name == name)
        .unwrap()
        .container_edits
}

#[test]
fn two_gpus_for_compute() {
    let machine = Machine::new(2);
    let spec = spec_of(&machine, &options()).unwrap();
    assert_expected(&machine, &spec, "two-gpus.yaml");
}

#[test]
fn drm_nodes_bring_groups_and_links() {
    let machine = Machine::new(2);
    machine.drm(0);
    machine.drm(1);
    let spec = spec_of(&machine, &options()).unwrap();
    assert_expected(&machine, &spec, "drm.yaml");
    let mut options = options();
    options.set_feature("no-additional-gids-for-device-nodes").unwrap();
    let spec = spec_of(&machine, &options).unwrap();
    assert_eq!(spec.cdi_version, "0.5.0");
    assert!(device(&spec, "all").additional_gids.is_empty());
}

#[test]
fn mig_devices_stand_for_their_gpu() {
    let mut machine = Machine::new(2);
    machine.drm(0);
    machine.mig(0, &["1g.5gb", "1g.5gb+gfx"]);
    let spec = spec_of(&machine, &options()).unwrap();
    assert_expected(&machine, &spec, "mig.yaml");
}

#[test]
fn names_follow_the_strategies() {
    let mut machine = Machine::new(2);
    machine.mig(1, &["1g.5gb"]);
    let mut options = options();
    options.device_name_strategies = vec![Strategy::TypeIndex];
    options.no_all_device = true;
    let spec = spec_of(&machine, &options).unwrap();
    assert_eq!(names(&spec), ["gpu0", "mig1:0"]);
    options.device_name_strategies = vec![Strategy::Index];
    options.vendor = "example.org".into();
    options.class = "card".into();
    let spec = spec_of(&machine, &options).unwrap();
    assert_eq!(
        (names(&spec), spec.kind.as_str()),
        (vec!["0", "1:0"], "example.org/card")
    );
}

#[test]
fn names_without_digits_need_an_older_version() {
    let machine = Machine::new(1);
    let mut options = options();
    options.device_name_strategies = vec![Strategy::TypeIndex, Strategy::Uuid];
    let mut spec = spec_of(&machine, &options).unwrap();
    assert_eq!(spec.cdi_version, "0.5.0", "nodes below a device root have a hostPath");
    let all = std::iter::once(&mut spec.container_edits).chain(spec.devices.iter_mut().map(|d| &mut d.container_edits));
    all.flat_map(|edits| &mut edits.device_nodes)
        .for_each(|node| node.host_path = None);
    assert_eq!(spec.required_version(), "0.3.0");
}

#[test]
fn device_ids_restrict() {
    let mut machine = Machine::new(3);
    machine.mig(2, &["1g.5gb", "2g.10gb"]);
    let gpu = machine.host.gpus[1].uuid.clone();
    let old_mig_name = format!("MIG-{}/2/0", machine.host.gpus[2].uuid);
    let mig = machine.host.gpus[2].mig.devices[1].uuid.clone();
    let only = |ids: &[&str]| {
        let mut options = options();
        options.device_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        options.device_name_strategies = vec![Strategy::Index];
        spec_of(&machine, &options).map(|spec| names(&spec).join(" "))
    };
    for (ids, expected) in [
        (vec!["1"], "1 all"),
        (vec![gpu.as_str()], "1 all"),
        (vec!["gpu1", "1", "0"], "0 1 all"),
        (vec!["2:0"], "2:0 all"),
        (vec![mig.as_str()], "2:1 all"),
        (vec![old_mig_name.as_str()], "2:1 all"),
        (vec!["2"], "2 all"),
        (vec!["all"], "0 1 2:0 2:1 all"),
        (vec!["none"], "none"),
    ] {
        assert_eq!(only(&ids).unwrap(), expected, "{ids:?}");
    }
    let error = only(&["7"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no GPU or MIG device '7' on this host: there are 0, 1, 2, 2:0, 2:1"
    );
    assert_eq!(error.exit_code(), 4);
}

#[test]
fn the_device_none_brings_the_driver_only() {
    let machine = Machine::new(1);
    let mut options = options();
    options.device_ids = vec!["none".into()];
    let spec = spec_of(&machine, &options).unwrap();
    assert_eq!(device(&spec, "none").env, ["NVCT_EMPTY_DEVICE="]);
    assert_eq!(spec.container_edits.mounts.len(), 8);
    assert_eq!(spec.cdi_version, "0.5.0");
}

#[test]
fn a_lost_gpu_is_left_out_unless_asked_for() {
    let mut machine = Machine::new(2);
    machine.host.gpus[0].health = Health::Lost;
    let mut options = options();
    options.device_name_strategies = vec![Strategy::Index];
    assert_eq!(names(&spec_of(&machine, &options).unwrap()), ["1", "all"]);
    options.device_ids = vec!["0".into()];
    let error = spec_of(&machine, &options).unwrap_err();
    assert!(error.to_string().contains("is lost"), "{error}");
    machine.host.gpus[1].health = Health::Lost;
    options.device_ids = vec!["all".into()];
    assert_eq!(spec_of(&machine, &options).unwrap_err().exit_code(), 4);
}

#[test]
fn a_missing_node_is_an_error() {
    let mut machine = Machine::new(2);
    machine.mig(1, &["1g.5gb"]);
    std::fs::remove_file(machine.path("/dev/nvidia-caps/nvidia-cap9")).unwrap();
    let error = spec_of(&machine, &options()).unwrap_err().to_string();
    assert!(error.contains("/dev/nvidia-caps/nvidia-cap9 of MIG-"), "{error}");
    std::fs::remove_file(machine.path("/dev/nvidia0")).unwrap();
    let error = spec_of(&machine, &options()).unwrap_err().to_string();
    assert!(
        error.contains("/dev/nvidia0 of GPU-") && error.ends_with("nvidia-modprobe to make it"),
        "{error}"
    );
}

#[test]
fn a_control_node_that_is_gone_is_left_out() {
    let machine = Machine::new(1);
    std::fs::remove_file(machine.path("/dev/nvidia-modeset")).unwrap();
    let spec = spec_of(&machine, &options()).unwrap();
    assert_eq!(nodes(&spec.container_edits), ["/dev/nvidia-uvm", "/dev/nvidiactl"]);
}

#[test]
fn a_node_in_its_own_place_has_no_host_path() {
    let mut machine = Machine::new(1);
    let null = Path::new("/dev/null");
    machine.files.nodes = vec![Node {
        host: null.into(),
        container: null.into(),
        capabilities: Capabilities::ALL,
    }];
    let spec = spec_of(&machine, &options()).unwrap();
    assert_eq!(spec.container_edits.device_nodes[0].host_path, None);
}

#[test]
fn hook_steps_can_be_left_out() {
    let machine = Machine::new(1);
    machine.drm(0);
    let hook_of = |disabled: &[&str], enabled: &[&str]| {
        let mut options = options();
        options.hooks = HookSteps::from_flags(disabled, enabled).unwrap();
        let args = spec_of(&machine, &options).unwrap().container_edits.hooks.pop()?.args;
        let count = |flag: &str| args.iter().filter(|text| text.starts_with(flag)).count();
        Some([
            count("--link="),
            count("--device-link="),
            count("--library="),
            count("--host-"),
            count("--no-device-node-modification"),
        ])
    };
    assert_eq!(hook_of(&[], &[]), Some([5, 2, 4, 2, 1]));
    assert_eq!(hook_of(&["create-symlinks"], &[]), Some([0, 0, 4, 2, 1]));
    assert_eq!(
        hook_of(&["update-ldcache", "enable-cuda-compat"], &[]),
        Some([5, 2, 0, 0, 1])
    );
    assert_eq!(
        hook_of(&["disable-device-node-modification", "chmod"], &[]),
        Some([5, 2, 4, 2, 0])
    );
    assert_eq!(hook_of(&["all"], &[]), None);
    assert_eq!(hook_of(&["all"], &["update-ldcache"]), Some([0, 0, 4, 0, 0]));
}

#[test]
fn explicit_libraries_are_followed_to_their_files() {
    let machine = Machine::new(1);
    machine.file(&format!("{LIB}/libEGL.so.1.1.0"));
    machine.link("libEGL.so.1.1.0", &format!("{LIB}/libEGL.so.1"));
    machine.link("libEGL.so.1", &format!("{LIB}/libEGL.so"));
    machine.link("libGL.so", &format!("{LIB}/libGL.so"));
    machine.link("/opt/gone.so", &format!("{LIB}/libGLX.so"));
    let mut options = options();
    options.set_feature("enable-explicit-driver-libraries").unwrap();
    let edits = spec_of(&machine, &options).unwrap().container_edits;
    let mounted = |name: &str| edits.mounts.iter().any(|mount| mount.container_path.ends_with(name));
    assert!(mounted("libEGL.so.1.1.0"));
    assert!(!mounted("libGL.so") && !mounted("libGLX.so") && !mounted("gone.so"));
    let args = &edits.hooks[0].args;
    for expected in [
        format!("--link=libEGL.so.1::{LIB}/libEGL.so"),
        format!("--link=libEGL.so.1.1.0::{LIB}/libEGL.so.1"),
        format!("--library={LIB}/libEGL.so.1"),
    ] {
        assert!(args.contains(&expected), "{expected} in {args:?}");
    }
}

#[test]
fn edits_for_a_run_are_those_of_the_spec() {
    let mut machine = Machine::new(3);
    machine.drm(1);
    machine.mig(2, &["1g.5gb"]);
    let edits = |ids: &[&str]| edits_for(&machine.roots(), &machine.host, &machine.files, ids, &options());
    let mut expected = edits(&[]).unwrap();
    assert_eq!(
        nodes(&expected),
        ["/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidiactl"]
    );
    expected.merge(device(&spec_of(&machine, &options()).unwrap(), "2:0").clone());
    assert_eq!(edits(&["2:0"]).unwrap(), expected);
    let both = edits(&["2:0", "1"]).unwrap();
    assert_eq!(
        nodes(&both)[3..],
        [
            "/dev/nvidia1",
            "/dev/nvidia2",
            "/dev/dri/card1",
            "/dev/dri/renderD129",
            "/dev/nvidia-caps/nvidia-cap10",
            "/dev/nvidia-caps/nvidia-cap9"
        ]
    );
    assert_eq!(both.hooks.len(), 1);
    let compute = both.filter("compute".parse().unwrap());
    assert!(
        nodes(&compute)
            .iter()
            .all(|path| !path.contains("/dri/") && !path.ends_with("modeset"))
    );
    assert!(
        compute.hooks[0]
            .args
            .iter()
            .all(|text| !text.contains("/dri/") && !text.contains("glcore"))
    );
    assert_eq!(compute.additional_gids, [0; 0]);
}

#[test]
fn a_spec_goes_stale_with_what_it_names() {
    let machine = Machine::new(1);
    let options = GenerateOptions::new(machine.file("/usr/bin/nvbind-hook"));
    let spec = spec_of(&machine, &options).unwrap();
    assert_eq!(spec.stale(), None);
    std::fs::remove_file(machine.path("/usr/bin/nvidia-smi")).unwrap();
    assert!(spec.stale().unwrap().ends_with("/usr/bin/nvidia-smi is gone"));
}
