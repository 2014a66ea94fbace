use crate::machine::Machine;
use nvbind_config::Roots;
use nvbind_gpu::{Architecture, DriverKind, Health, Source, discover, discover_procfs, topology};

const UUID: &str = "GPU-11111111-2222-3333-4444-555555555555";

fn one_gpu() -> Machine {
    let machine = Machine::new();
    machine
        .kernel_module(true, "550.163.01")
        .gpu("0000:07:00.0", 3, UUID, "GPU Excluded:\t No\n");
    machine
}

#[test]
fn without_nvml_the_kernel_is_asked() {
    let machine = one_gpu();
    let host = discover(&machine.roots()).unwrap();
    assert_eq!(host.source, Source::Procfs);
    assert_eq!(host.driver.kind, DriverKind::NvidiaOpen);
    assert_eq!(host.driver.version.as_deref(), Some("550.163.01"));
    assert_eq!(host.warnings.len(), 1);
    assert!(
        host.warnings[0].starts_with("NVML not used: no libnvidia-ml.so.1 in "),
        "{}",
        host.warnings[0]
    );
    let gpu = &host.gpus[0];
    assert_eq!((gpu.index, gpu.minor, gpu.uuid.as_str()), (0, 3, UUID));
    assert_eq!(
        (gpu.pci_bus_id.as_str(), gpu.numa_node, gpu.pci_device_id),
        ("0000:07:00.0", Some(1), 0x2330)
    );
    assert_eq!(
        (gpu.architecture, gpu.tensor_core_generation),
        (Architecture::Hopper, Some(4))
    );
    assert_eq!(
        (gpu.health.clone(), gpu.compute_capability, gpu.memory_mib),
        (Health::Unknown, None, 0)
    );
}

#[test]
fn a_library_that_is_no_nvml_is_named_in_the_warning() {
    let machine = one_gpu();
    machine.file(
        "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.163.01",
        "this is no library",
    );
    machine.link(
        "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
        "libnvidia-ml.so.550.163.01",
    );
    let host = discover(&machine.roots()).unwrap();
    assert_eq!((host.source, host.gpus.len()), (Source::Procfs, 1));
    assert!(
        host.warnings[0].contains("libnvidia-ml.so.550.163.01"),
        "the real path: {}",
        host.warnings[0]
    );
}

#[test]
fn a_library_without_the_functions_is_no_nvml() {
    let machine = one_gpu();
    let libc = nvbind_gpu::ldcache::parse(&std::fs::read("/etc/ld.so.cache").unwrap()).unwrap();
    let zlib = String::from_utf8(libc.find(b"libm.so.6").unwrap().value.clone()).unwrap();
    machine.file("usr/lib64/libnvidia-ml.so.1", std::fs::read(zlib).unwrap());
    let host = discover(&machine.roots()).unwrap();
    assert_eq!(host.source, Source::Procfs);
    assert!(host.warnings[0].contains("nvmlInit"), "{}", host.warnings[0]);
}

#[test]
fn nothing_at_all_is_an_answer() {
    let machine = Machine::new();
    let host = discover(&machine.roots()).unwrap();
    assert_eq!((host.driver.kind, host.gpus.len()), (DriverKind::None, 0));
    assert_eq!(discover_procfs(&machine.roots()).unwrap().warnings, [""; 0]);
}

#[test]
fn nouveau_is_told_from_no_driver() {
    let machine = Machine::new();
    machine.pci("0000:01:00.0", 0x2684, Some("nouveau"), -1);
    let host = discover(&machine.roots()).unwrap();
    assert_eq!((host.driver.kind, host.gpus.len()), (DriverKind::Nouveau, 0));
    assert!(
        host.warnings[1].contains("GPU at 0000:01:00.0 is bound to 'nouveau'"),
        "{:?}",
        host.warnings
    );

    let machine = Machine::new();
    machine.pci("0000:01:00.0", 0x2684, None, -1);
    let host = discover(&machine.roots()).unwrap();
    assert_eq!(host.driver.kind, DriverKind::None);
    assert!(host.warnings[1].contains("bound to no driver"), "{:?}", host.warnings);
}

#[test]
fn gpus_come_in_bus_order_and_odd_ones_are_told_of() {
    let machine = one_gpu();
    machine.gpu("0000:c0:00.0", 0, "GPU-????????-????-????-????-????????????", "");
    machine.gpu("0000:02:00.0", 1, "GPU-b", "");
    machine.gpu("0000:03:00.0", 2, "GPU-c", "GPU Excluded:\t Yes\n");
    machine.file("proc/driver/nvidia/gpus/0000:04:00.0/information", "rubbish");
    machine.file("proc/driver/nvidia/capabilities/gpu1/mig/gi1/access", "");
    let host = discover_procfs(&machine.roots()).unwrap();
    let found: Vec<(u32, u32, &str)> = host
        .gpus
        .iter()
        .map(|gpu| (gpu.index, gpu.minor, gpu.uuid.as_str()))
        .collect();
    assert_eq!(found, [(0, 1, "GPU-b"), (1, 3, UUID), (2, 0, "")]);
    assert!(host.gpus[0].mig.enabled);
    let told = host.warnings.join("\n");
    for part in [
        "0000:04:00.0 left out: no 'Device Minor'",
        "0000:02:00.0 is in MIG mode",
        "0000:c0:00.0 has no UUID",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn without_proc_text_the_libraries_tell_the_version() {
    let machine = Machine::new();
    machine.file("proc/driver/nvidia/version", "NVRM version: something else\n");
    machine.library("usr/lib64/libcuda.so.535.309.01");
    let host = discover(&machine.roots()).unwrap();
    assert_eq!(host.driver.kind, DriverKind::NvidiaProprietary);
    assert_eq!(host.driver.version.as_deref(), Some("535.309.01"));
}

#[test]
fn a_driver_root_that_cannot_be_read_is_an_error() {
    let machine = Machine::new();
    let roots = Roots::under(&machine.path("nowhere"));
    let error = discover(&roots).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().contains("nowhere") && error.to_string().contains("No such file"),
        "{error}"
    );
    machine.file("plain", "");
    assert!(discover(&Roots::under(&machine.path("plain"))).is_err());
}

#[test]
fn topology_without_nvml_goes_by_sysfs() {
    let machine = one_gpu();
    machine.gpu("0000:08:00.0", 1, "GPU-b", "");
    machine.file("sys/bus/pci/devices/0000:07:00.0/local_cpulist", "0-15,32-47\n");
    let host = discover(&machine.roots()).unwrap();
    let topology = topology(&machine.roots(), &host);
    let words: Vec<Vec<String>> = topology
        .gpus
        .iter()
        .map(|row| row.relations.iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(words, [["X", "NODE"], ["NODE", "X"]]);
    assert_eq!(topology.gpus[0].cpu_affinity.as_deref(), Some("0-15,32-47"));
}
