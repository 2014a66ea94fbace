use super::*;

fn gpu(index: u32, name: &str) -> Gpu {
    Gpu {
        index,
        uuid: format!("GPU-{index}0000000-0000-4000-8000-000000000000"),
        pci_bus_id: format!("0000:0{index}:00.0"),
        minor: index,
        name: name.to_owned(),
        brand: Some("nvidia".into()),
        architecture: Architecture::Ada,
        compute_capability: Some((8, 9)),
        memory_mib: 8188,
        power_limit_w: Some(140),
        numa_node: None,
        pci_device_id: 0x28e0,
        rt_core_generation: Some(3),
        tensor_core_generation: Some(4),
        mig: MigState::default(),
        health: Health::Ok,
    }
}

/// A laptop GPU, a GPU cut into one MIG device, a lost GPU.
fn host() -> Host {
    let mut gpus = vec![
        gpu(0, "NVIDIA GeForce RTX 4060 Laptop GPU"),
        gpu(1, "NVIDIA A100-SXM4-80GB"),
        gpu(2, "NVIDIA A100-SXM4-80GB"),
    ];
    gpus[1].mig = MigState {
        enabled: true,
        devices: vec![MigDevice {
            index: 0,
            uuid: "MIG-00000000-0000-4000-8000-000000000000".to_owned(),
            profile: "3g.40gb".to_owned(),
            gpu_instance: 1,
            compute_instance: 0,
            memory_mib: 40192,
        }],
    };
    gpus[2].health = Health::Lost;
    gpus[2].memory_mib = 0;
    let driver = Driver {
        kind: DriverKind::NvidiaOpen,
        version: Some("550.163.01".to_owned()),
        cuda_version: Some((12, 4)),
    };
    Host {
        driver,
        gpus,
        source: Source::Nvml,
        warnings: Vec::new(),
    }
}

#[test]
fn the_text_has_the_word_that_bolt_counts_once_per_gpu() {
    let text = text(&Roots::host(), &host(), false);
    assert_eq!(
        text,
        "\
Driver: nvidia-open 550.163.01, CUDA 12.4

ID    NAME                            MEMORY     CC   BUS ID        NUMA  STATE  UUID
gpu0  NVIDIA GeForce RTX 4060 Laptop  8188 MiB   8.9  0000:00:00.0  -     ok     GPU-00000000-0000-4000-8000-000000000000
gpu1  NVIDIA A100-SXM4-80GB           8188 MiB   8.9  0000:01:00.0  -     mig    GPU-10000000-0000-4000-8000-000000000000
1:0   MIG 3g.40gb                     40192 MiB                                  MIG-00000000-0000-4000-8000-000000000000
gpu2  NVIDIA A100-SXM4-80GB           -          8.9  0000:02:00.0  -     lost   GPU-20000000-0000-4000-8000-000000000000
"
    );
    assert_eq!(text.matches("GPU").count(), 3);
}

#[test]
fn bolts_list_has_what_can_be_handed_out() {
    let host = host();
    let list = serde_json::to_value(devices(&host)).unwrap();
    let first = serde_json::json!({
        "id": "gpu0",
        "name": "NVIDIA GeForce RTX 4060 Laptop GPU",
        "memory_mb": 8188,
        "compute_capability": "8.9",
        "driver_version": "550.163.01",
        "uuid": "GPU-00000000-0000-4000-8000-000000000000",
    });
    assert_eq!(list[0], first);
    assert_eq!(list[1]["id"], "1:0");
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    for device in devices(&host) {
        let selector: nvbind_workload::Selector = device.id.parse().unwrap();
        let found = selector.resolve(&host).unwrap();
        assert_eq!(found[0].uuid(), device.uuid, "{}", device.id);
    }
}

#[test]
fn the_driver_check_says_what_is_wrong() {
    let why = |host: &Host| driver_trouble(host).unwrap_or_default();
    assert!(why(&host()).starts_with("GPU 2 (0000:02:00.0) is lost"));
    let mut sound = host();
    sound.gpus.truncate(2);
    assert_eq!(driver_trouble(&sound), None);
    let none = Host {
        driver: Driver::NONE,
        ..sound.clone()
    };
    assert!(why(&none).starts_with("the driver is 'none'"));
    let procfs = Host {
        source: Source::Procfs,
        warnings: vec!["NVML not used: no libnvidia-ml.so.1 in '/'".to_owned()],
        ..sound
    };
    assert!(why(&procfs).ends_with("NVML not used: no libnvidia-ml.so.1 in '/'"));
}
