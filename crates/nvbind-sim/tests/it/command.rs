//! Changing a machine that is there.

use nvbind_sim::command::{
    change_instances, lose, mig_layout, mig_mode, process_add, process_remove, restore, set, xid,
};
use nvbind_sim::mig::gpu_instance;
use nvbind_sim::state::{self, Process, ProcessKind};

use crate::machine::Base;

fn caps(root: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("dev/nvidia-caps")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_setting_is_seen_at_once_and_a_refused_one_changes_nothing() {
    let base = Base::new();
    let root = base.ensure("t4");
    set(root.path(), "all", "temperature", "70").unwrap();
    set(root.path(), "2", "temperature", "80").unwrap();
    let temperatures = || {
        state::read(root.path())
            .unwrap()
            .gpus
            .iter()
            .map(|gpu| gpu.temperature)
            .collect::<Vec<_>>()
    };
    assert_eq!(temperatures(), [70, 70, 80, 70]);
    assert_eq!(
        set(root.path(), "all", "temperature", "hot").unwrap_err().exit_code(),
        2
    );
    assert_eq!(set(root.path(), "7", "temperature", "1").unwrap_err().exit_code(), 4);
    assert_eq!(temperatures(), [70, 70, 80, 70]);
}

#[test]
fn a_gpu_is_named_by_index_uuid_or_bus_id() {
    let base = Base::new();
    let root = base.ensure("dgx-a100");
    let gpu = state::read(root.path()).unwrap().gpus[5].clone();
    for selector in ["5", gpu.uuid.as_str(), &gpu.uuid.to_uppercase(), gpu.bus.as_str()] {
        set(root.path(), "all", "utilization", "0").unwrap();
        set(root.path(), selector, "utilization", "9").unwrap();
        assert_eq!(state::read(root.path()).unwrap().gpus[5].utilization, 9, "{selector}");
    }
}

#[test]
fn the_kernels_view_follows_the_mig_layout() {
    let base = Base::new();
    let root = base.ensure("hgx-h100");
    assert_eq!(caps(root.path()), ["nvidia-cap1", "nvidia-cap2"]);
    mig_layout(root.path(), "0", &["4g.40gb", "2g.20gb"]).unwrap();
    let (gi1, gi5) = (3 + 9, 3 + 5 * 9);
    let mut expected = vec!["nvidia-cap1".to_owned(), "nvidia-cap2".to_owned()];
    expected.extend([gi1, gi1 + 1, gi5, gi5 + 1].map(|minor| format!("nvidia-cap{minor}")));
    expected.sort();
    assert_eq!(caps(root.path()), expected);
    let access = root.path().join("proc/driver/nvidia/capabilities/gpu0/mig/gi5/access");
    assert_eq!(
        std::fs::read_to_string(&access).unwrap(),
        "DeviceFileMinor: 48\nDeviceFileMode: 292\nDeviceFileModify: 1\n"
    );
    mig_mode(root.path(), "0", false).unwrap();
    assert_eq!(caps(root.path()), ["nvidia-cap1", "nvidia-cap2"]);
    assert!(!access.exists());
    assert!(mig_layout(root.path(), "0", &["7g.80gb", "1g.10gb"]).is_err());
    assert!(
        !state::read(root.path()).unwrap().gpus[0].mig_enabled,
        "a layout that does not fit changes nothing"
    );
}

#[test]
fn processes_use_memory_while_they_run() {
    let base = Base::new();
    let root = base.ensure("t4");
    let process = |memory_mib| Process {
        pid: 7,
        name: "train".into(),
        memory_mib,
        kind: ProcessKind::Compute,
        gpu_instance: None,
        compute_instance: None,
    };
    process_add(root.path(), "0", &process(1000)).unwrap();
    process_add(root.path(), "0", &process(3000)).unwrap();
    assert_eq!(
        state::read(root.path()).unwrap().gpus[0].memory_used(),
        3000,
        "the same pid again replaces the first"
    );
    assert!(
        process_add(root.path(), "0", &process(99_999))
            .unwrap_err()
            .to_string()
            .contains("MiB free")
    );
    let astray = Process {
        gpu_instance: Some(1),
        ..process(1)
    };
    assert!(
        process_add(root.path(), "0", &astray)
            .unwrap_err()
            .to_string()
            .contains("no such MIG instance")
    );
    process_remove(root.path(), "0", 7).unwrap();
    assert_eq!(process_remove(root.path(), "0", 7).unwrap_err().exit_code(), 4);
}

/// Whoever comes first gets the slice; nobody gets one twice.
#[test]
fn instances_made_at_once_do_not_overlap() {
    let base = Base::new();
    let root = base.ensure("hgx-h100");
    mig_mode(root.path(), "3", true).unwrap();
    let make = || {
        change_instances(root.path(), 3, |state, gpu| {
            gpu_instance::create(state, gpu, "1g.10gb", None)
        })
    };
    let mut made: Vec<u32> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..9).map(|_| scope.spawn(make)).collect();
        let results = makers.into_iter().map(|maker| maker.join().unwrap());
        results.filter_map(Result::ok).collect()
    });
    made.sort_unstable();
    assert_eq!(made, [7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(caps(root.path()).len(), 2 + 7, "a node each, and config and monitor");
}

/// Ampere keeps MIG mode in the InfoROM, Hopper forgets it; instances last on neither.
#[test]
fn mig_mode_lasts_over_a_reboot_where_the_hardware_keeps_it() {
    let after = |profile: &str, instance: &str| {
        let base = Base::new();
        let root = base.ensure(profile);
        mig_layout(root.path(), "0", &[instance]).unwrap();
        restore(root.path(), "0").unwrap();
        let gpu = state::read(root.path()).unwrap().gpus[0].clone();
        assert!(gpu.mig.is_empty());
        assert_eq!(caps(root.path()), ["nvidia-cap1", "nvidia-cap2"]);
        gpu.mig_enabled
    };
    assert!(after("dgx-a100", "3g.40gb"));
    assert!(!after("hgx-h100", "3g.40gb"));
}

#[test]
fn a_lost_gpu_comes_back_as_after_boot() {
    let base = Base::new();
    let root = base.ensure("t4");
    set(root.path(), "1", "utilization", "50").unwrap();
    xid(root.path(), "1", 31).unwrap();
    lose(root.path(), "1").unwrap();
    let gpu = state::read(root.path()).unwrap().gpus[1].clone();
    assert!(gpu.lost);
    assert_eq!(gpu.xids.iter().map(|xid| xid.code).collect::<Vec<_>>(), [31, 79]);
    // The kernel's log tells both, without the PCI function.
    let log = std::fs::read_to_string(root.path().join("dev/kmsg")).unwrap();
    let slot = gpu.bus.trim_end_matches(".0");
    assert!(
        log.lines().count() == 2 && log.contains(&format!("NVRM: Xid (PCI:{slot}): 79, ")),
        "{log}"
    );
    restore(root.path(), "1").unwrap();
    let gpu = state::read(root.path()).unwrap().gpus[1].clone();
    assert!(!gpu.lost && gpu.utilization == 0);
}
