//! Programs that no one here wrote read our specs: the CDI project's own Rust crate (YAML by libyaml, the official
//! schema, version and name rules). And the other way round: specs as `nvidia-ctk` writes them are read.

use crate::fixture::Machine;
use container_device_interface::{schema, spec};
use nvbind_cdi::{Format, GenerateOptions, Spec, Strategy, generate};
use std::path::PathBuf;

/// Every kind of spec that the other tests look at.
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
    vec![
        of(plain, |_| ()),
        of(drm, |_| ()),
        of(mig, |options| options.device_name_strategies.push(Strategy::TypeIndex)),
        of(Machine::new(1), |options| options.device_ids = vec!["none".into()]),
        of(Machine::new(1), |options| options.class = "gpu.shared".into()),
    ]
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
    let filtered = spec.container_edits.filter("compute".parse().unwrap());
    assert!(filtered.mounts.is_empty());
    assert_eq!(filtered.hooks, spec.container_edits.hooks);
}
