//! Programs that no one here wrote read our specs: the CDI project's own Rust crate (YAML by libyaml, the official
//! schema, version and name rules). And the other way round: specs as `nvidia-ctk` writes them are read.

use crate::fixture::{LIB, Machine};
use container_device_interface::{schema, spec};
use nvbind_cdi::{Format, GenerateOptions, HookSteps, Mode, RelativeTo, Spec, Strategy, generate, make};
use nvbind_gpu::Platform;
use std::path::PathBuf;

/// Every kind of spec that can be made.
fn specs() -> Vec<(Machine, Spec)> {
    let plain = Machine::new(2);
    let drm = Machine::new(2);
    drm.drm(1);
    let mut mig = Machine::new(2);
    mig.mig(0, &["1g.5gb", "1g.5gb+gfx"]);
    let of = |machine: Machine, change: fn(&mut GenerateOptions)| {
        let mut options = GenerateOptions::new("/usr/bin/nvbind-hook".into());
        change(&mut options);
        let spec = generate(&machine.roots(), &machine.host, &machine.files, &options).unwrap();
        (machine, spec)
    };
    let mut specs = vec![
        of(plain, |_| ()),
        of(drm, |_| ()),
        of(mig, |options| options.device_name_strategies.push(Strategy::TypeIndex)),
        of(Machine::new(1), |options| options.device_ids = vec!["none".into()]),
        of(Machine::new(1), |options| options.class = "gpu.shared".into()),
        of(Machine::new(1), |options| options.hooks = HookSteps::NONE),
        of(wsl(), |_| ()),
    ];
    specs.extend(Mode::EXTRA.map(of_mode));
    for spec in [coherent(), moved()] {
        specs.push((Machine::new(1), spec));
    }
    specs
}

/// A WSL2 machine: one node, and files in a store.
fn wsl() -> Machine {
    let mut machine = Machine::new(1);
    machine.node("/dev/dxg", 10, 126, 0o666, 0);
    machine.files.platform = Platform::Wsl;
    machine.files.nodes.clear();
    machine
}

/// The spec of a mode that looks for other devices than GPUs.
fn of_mode(mode: Mode) -> (Machine, Spec) {
    let machine = Machine::new(1);
    machine.file(&format!("{LIB}/libcuda.so.550.163.01"));
    std::fs::write(
        machine.path(&format!("{LIB}/libcuda.so.550.163.01")),
        b"\x7fELF\x02\x01\x01",
    )
    .unwrap();
    for (node, group) in [
        ("/dev/nvidia-fs0", 0),
        ("/dev/infiniband/uverbs0", 44),
        ("/dev/infiniband/rdma_cm", 0),
        ("/dev/gdrdrv", 0),
        ("/dev/nvidia-nvswitchctl", 0),
        ("/dev/nvidia-nvswitch0", 0),
        ("/dev/nvidia-caps-imex-channels/channel0", 0),
        ("/dev/nvidia-caps-imex-channels/channel5", 0),
    ] {
        machine.node(node, 500, 0, if group == 0 { 0o666 } else { 0o660 }, group);
    }
    machine.file("/etc/cufile.json");
    let options = GenerateOptions {
        mode,
        vendor: mode.default_vendor().into(),
        class: mode.default_class().into(),
        ..GenerateOptions::new("/usr/bin/nvbind-hook".into())
    };
    let made = make(&machine.roots(), &options).unwrap();
    assert!(!made.spec.devices.is_empty());
    (machine, made.spec)
}

/// The part of a spec with coherent GPUs.
fn coherent() -> Spec {
    let machine = Machine::new(2);
    let options = GenerateOptions::new("/usr/bin/nvbind-hook".into());
    let mut spec = generate(&machine.roots(), &machine.host, &machine.files, &options).unwrap();
    spec.cdi_version = "0.6.0".into();
    let coherence = ("gpu.nvidia.com/coherent".to_owned(), "true".to_owned());
    spec.devices[0].annotations.extend([coherence]);
    let mut parts = spec.by_coherence();
    assert_eq!(parts.len(), 1);
    parts.remove(0).1
}

fn moved() -> Spec {
    let machine = Machine::new(1);
    let options = GenerateOptions::new("/usr/bin/nvbind-hook".into());
    let mut spec = generate(&machine.roots(), &machine.host, &machine.files, &options).unwrap();
    spec.transform_root(machine.root(), "/run/nvidia/driver".as_ref(), RelativeTo::Host);
    spec.transform_root("/usr".as_ref(), "/opt/usr".as_ref(), RelativeTo::Container);
    spec
}

#[test]
fn specs_are_read_and_valid() {
    let schema = schema::compile_builtin_schema().unwrap();
    for (machine, ours) in specs() {
        for (name, format) in [("spec.json", Format::Json), ("spec.yaml", Format::Yaml)] {
            let path: PathBuf = machine.root().join(name);
            ours.write(&path, format).unwrap();
            let text = std::fs::read(&path).unwrap();
            schema::validate_cdi(&schema, &text).unwrap();
            let mut theirs = spec::read_spec(&path, 0).unwrap();
            let devices = theirs.validate().unwrap();
            let names: Vec<&str> = ours.devices.iter().map(|device| device.name.as_str()).collect();
            assert_eq!(devices.keys().map(String::as_str).collect::<Vec<_>>(), names, "{name}");
            let raw = spec::parse_spec(&path).unwrap();
            assert_eq!(
                serde_json::to_value(raw).unwrap(),
                serde_json::to_value(&ours).unwrap(),
                "{name}"
            );
        }
    }
}

/// In the form that `nvidia-ctk cdi generate` 1.20 writes: hooks of its own, groups, bare words, a list of one.
const TOOLKIT: &str = r#"---
cdiVersion: 0.7.0
kind: nvidia.com/gpu
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
            - path: /dev/dri/card1
              gid: 44
        additionalGids:
            - 44
    - name: "1:0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia1
              hostPath: /run/nvidia/driver/dev/nvidia1
              permissions: rw
    - name: all
      annotations:
        gpu.nvidia.com/coherent: "false"
      containerEdits:
        env: [NVCT=on]
containerEdits:
    env:
        - NVIDIA_CTK_LIBCUDA_DIR=/usr/lib/x86_64-linux-gnu
        - NVIDIA_VISIBLE_DEVICES=void
    hooks:
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args:
            - nvidia-cdi-hook
            - create-symlinks
            - --link
            - libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so
          env:
            - NVIDIA_CTK_DEBUG=false
    mounts:
        - hostPath: /usr/bin/nvidia-smi
          containerPath: /usr/bin/nvidia-smi
          options: [ro, nosuid, nodev, rbind, rprivate]
"#;

#[test]
fn a_spec_of_the_container_toolkit_is_read() {
    let spec = Spec::parse(TOOLKIT, Format::Yaml).unwrap();
    spec.validate().unwrap();
    assert_eq!(spec.required_version(), "0.7.0");
    assert_eq!(
        spec.devices[1].container_edits.device_nodes[0].permissions.as_deref(),
        Some("rw")
    );
    assert_eq!(spec.devices[2].container_edits.env, ["NVCT=on"]);
    let filtered = spec.container_edits.clone().filter("compute".parse().unwrap());
    assert!(filtered.mounts.is_empty());
    assert_eq!(filtered.hooks, spec.container_edits.hooks);
}
