//! Words of options, as `nvidia-ctk cdi generate` takes them.

use nvbind_cdi::{Format, GenerateOptions, HookSteps, Mode, Strategy};
use std::path::Path;

#[test]
fn words_that_are_taken() {
    assert_eq!("NVML".parse::<Mode>().unwrap(), Mode::Nvml);
    assert_eq!("type-index".parse::<Strategy>().unwrap(), Strategy::TypeIndex);
    assert_eq!("JSON".parse::<Format>().unwrap(), Format::Json);
    assert_eq!(Format::of_file(Path::new("/x/nvidia.YML")), Some(Format::Yaml));
    assert_eq!(Format::of_file(Path::new("/x/nvidia")), None);
}

#[test]
fn words_that_are_refused_say_what_is_taken() {
    let mut options = GenerateOptions::new("/usr/bin/nvbind-hook".into());
    let errors = [
        "csv".parse::<Mode>().unwrap_err(),
        "name".parse::<Strategy>().unwrap_err(),
        "toml".parse::<Format>().unwrap_err(),
        options.set_feature("x").unwrap_err(),
        HookSteps::from_flags(&["x"], &[]).unwrap_err(),
        HookSteps::from_flags(&["all"], &["all"]).unwrap_err(),
    ];
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "--mode does not take 'csv': use another one: csv is for Tegra, which nvbind does not know",
            "--device-name-strategy does not take 'name': use index, uuid or type-index",
            "--format does not take 'toml': use json or yaml",
            "--feature-flag does not take 'x': use enable-explicit-driver-libraries, enable-coherent-annotations, \
             disable-ipc-discoverer, no-additional-gids-for-device-nodes, disable-nvsandboxutils or \
             disable-multiple-csv-devices",
            "--disable-hook does not take 'x': use create-symlinks, update-ldcache, enable-cuda-compat, \
             disable-device-node-modification or all",
            "--enable-hook does not take 'all': use create-symlinks, update-ldcache, enable-cuda-compat or \
             disable-device-node-modification",
        ]
    );
    assert!(errors.iter().all(|error| error.exit_code() == 2));
}

#[test]
fn bad_vendors_are_refused() {
    let machine = crate::fixture::Machine::new(1);
    let mut options = GenerateOptions::new("/usr/bin/nvbind-hook".into());
    options.vendor = "1/2".into();
    let error = nvbind_cdi::generate(&machine.roots(), &machine.host, &machine.files, &options).unwrap_err();
    assert!(
        error.to_string().starts_with("CDI spec: kind: '1' is no vendor name"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 2);
}
