//! Programs that no one here wrote read our specs: the CDI project's own Rust crate (YAML by libyaml, the official
//! schema, version and name rules).

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
