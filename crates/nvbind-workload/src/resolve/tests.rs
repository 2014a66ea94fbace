use super::*;
use nvbind_gpu::{Architecture, Driver, DriverKind, MigState, Source};
use proptest::prelude::*;

fn gpu(index: u32) -> Gpu {
    Gpu {
        index,
        uuid: format!("GPU-{index}a00beef-0000-4000-8000-00000000000{index}"),
        pci_bus_id: format!("0000:0{index}:00.0"),
        minor: index,
        name: "NVIDIA A100-SXM4-80GB".into(),
        brand: Some("nvidia".into()),
        architecture: Architecture::Ampere,
        compute_capability: Some((8, 0)),
        memory_mib: 81920,
        power_limit_w: Some(400),
        numa_node: Some(0),
        pci_device_id: 0x20b2,
        rt_core_generation: None,
        tensor_core_generation: Some(3),
        mig: MigState::default(),
        health: Health::Ok,
    }
}

fn mig(index: u32) -> MigDevice {
    MigDevice {
        index,
        uuid: format!("MIG-{index}b00beef-0000-4000-8000-000000000000"),
        profile: "3g.40gb".into(),
        gpu_instance: index + 1,
        compute_instance: 0,
        memory_mib: 40192,
    }
}

/// GPUs 0 and 1 whole, 2 cut into two MIG devices, 3 lost, 4 a T4.
fn host() -> Host {
    let mut gpus: Vec<Gpu> = (0..5).map(gpu).collect();
    gpus[2].mig = MigState {
        enabled: true,
        devices: vec![mig(0), mig(1)],
    };
    gpus[3].health = Health::Lost;
    gpus[4].name = "Tesla T4".into();
    gpus[4].memory_mib = 15360;
    let driver = Driver {
        kind: DriverKind::NvidiaOpen,
        version: None,
        cuda_version: None,
    };
    Host {
        driver,
        gpus,
        source: Source::Nvml,
        warnings: Vec::new(),
    }
}

fn names(devices: &[DeviceRef]) -> Vec<String> {
    devices
        .iter()
        .map(|device| match device {
            DeviceRef::Gpu { index, .. } => index.to_string(),
            DeviceRef::Mig { gpu_index, index, .. } => format!("{gpu_index}:{index}"),
        })
        .collect()
}

fn resolve(text: &str) -> Result<Vec<String>, ResolveError> {
    let selector: Selector = text.parse().unwrap();
    selector.resolve(&host()).map(|devices| names(&devices))
}

#[test]
fn selectors_on_a_mixed_host() {
    for (text, devices) in [
        ("none", &[] as &[&str]),
        ("all", &["0", "1", "2:0", "2:1", "4"]),
        ("1,0,gpu1", &["1", "0"]),
        ("gpu:0", &["0"]),
        ("2:1", &["2:1"]),
        ("GPU-1a", &["1"]),
        ("gpu0,GPU-0A00BEEF-0000-4000-8000-000000000000", &["0"]),
        ("MIG-1b", &["2:1"]),
        ("MIG-GPU-2a00beef-0000-4000-8000-000000000002/1/0", &["2:0"]),
        ("nvidia.com/gpu-bolt=all,0", &["0", "1", "2:0", "2:1", "4"]),
        ("count=2", &["0", "1"]),
        ("model=a100", &["0", "1"]),
        ("model=T4", &["4"]),
        ("memory>=40GiB", &["0", "1"]),
        ("memory<16GiB", &["4"]),
        ("count=1,model=A100,memory>=40GiB", &["0"]),
        ("all,memory<40GiB", &["2:0", "2:1", "4"]),
    ] {
        assert_eq!(resolve(text).unwrap(), devices, "{text}");
    }
}

#[test]
fn what_is_not_there_is_answered_with_what_is() {
    let error = resolve("0,7").unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert_eq!(
        error.to_string(),
        "no device '7' on this host: there are 0-1 (NVIDIA A100-SXM4-80GB), 4 (Tesla T4), 2:0 (3g.40gb), \
         2:1 (3g.40gb); see nvbind info"
    );
}

#[test]
fn a_gpu_in_mig_mode_is_not_given_as_a_whole() {
    for text in ["2", "GPU-2a"] {
        let error = resolve(text).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(
            error
                .to_string()
                .contains("ask for one of its MIG devices 2:0 (3g.40gb), 2:1 (3g.40gb)"),
            "{error}"
        );
    }
}

#[test]
fn other_refusals() {
    assert_eq!(
        resolve("3").unwrap_err(),
        ResolveError::Lost {
            part: "3".into(),
            index: 3
        }
    );
    assert!(
        resolve("count=4")
            .unwrap_err()
            .to_string()
            .starts_with("'count=4' needs 4 device(s), 3 of this host fit")
    );
    assert!(matches!(
        resolve("model=H100"),
        Err(ResolveError::NotEnough { found: 0, .. })
    ));
    let mut twins = host();
    twins.gpus[1].uuid = "GPU-0a00beef-1".into();
    let error = Selector::resolve(&"GPU-0a".parse().unwrap(), &twins).unwrap_err();
    assert!(matches!(error, ResolveError::Ambiguous { .. }), "{error}");
    let empty = Host {
        gpus: Vec::new(),
        ..host()
    };
    let error = Selector::all().resolve(&empty).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no device 'all' on this host: there is no usable GPU here; see nvbind info"
    );
}

#[test]
fn a_count_takes_free_devices_first() {
    let selector: Selector = "count=2".parse().unwrap();
    let first = gpu(0).uuid;
    let devices = selector.resolve_avoiding(&host(), |uuid| uuid == first).unwrap();
    assert_eq!(names(&devices), ["1", "4"]);
}

proptest! {
    #[test]
    fn no_device_twice_and_only_devices_of_the_host(
        parts in proptest::collection::vec(
            prop_oneof![
                (0u32..8).prop_map(|index| index.to_string()),
                (0u32..4, 0u32..3).prop_map(|(gpu, mig)| format!("{gpu}:{mig}")),
                (0u32..6).prop_map(|index| format!("GPU-{index}a")),
                (1u32..7).prop_map(|count| format!("count={count}")),
                (1u32..100).prop_map(|gib| format!("memory>={gib}GiB")),
                Just("all".to_owned()),
            ],
            1..5,
        )
    ) {
        let Ok(selector) = parts.join(",").parse::<Selector>() else { return Ok(()) };
        let Ok(devices) = selector.resolve(&host()) else { return Ok(()) };
        prop_assert!(!devices.is_empty());
        let everything = names(&Selector::all().resolve(&host()).unwrap());
        let mut seen = names(&devices);
        prop_assert!(seen.iter().all(|name| everything.contains(name)));
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), devices.len());
    }
}
