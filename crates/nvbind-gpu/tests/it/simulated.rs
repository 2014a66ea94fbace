//! Simulated machines, whose NVML is left out here: the kernel's side of them must be understood.

use nvbind_config::Roots;
use nvbind_gpu::{
    DriverKind, ElfClass, Platform, SearchOptions, Source, discover, driver_files, gpu_nodes, platform, topology,
};
use nvbind_sim::{profile, root, state};

#[test]
fn procfs_tells_what_each_simulated_machine_has() {
    let base = tempfile::tempdir().unwrap();
    let no_library = base.path().join("no-nvml");
    std::fs::write(&no_library, "no library").unwrap();
    for name in profile::all()
        .iter()
        .filter(|profile| !profile.wsl)
        .map(|profile| &profile.name)
    {
        let sim = root::ensure(&base.path().join("sim"), name, &no_library, None).unwrap();
        let machine = state::read(sim.path()).unwrap();
        let roots = Roots::under(sim.path());

        let host = discover(&roots).unwrap();
        assert_eq!(host.source, Source::Procfs, "{name}");
        assert!(host.driver.kind == DriverKind::NvidiaOpen || host.driver.kind == DriverKind::NvidiaProprietary);
        assert_eq!(
            host.driver.version.as_deref(),
            Some(machine.profile.driver_version.as_str())
        );
        assert_eq!(host.gpus.len(), machine.gpus.len());
        for (gpu, simulated) in host.gpus.iter().zip(&machine.gpus) {
            assert_eq!(
                (&gpu.uuid, gpu.minor, &gpu.pci_bus_id),
                (&simulated.uuid, simulated.minor, &simulated.bus)
            );
            assert_eq!(gpu.name, machine.profile.model.name);
            assert_eq!(gpu.numa_node, u32::try_from(simulated.numa).ok());
            assert!(
                gpu_nodes(&roots, gpu).nodes.len() >= 2,
                "{name}: {:?}",
                gpu_nodes(&roots, gpu)
            );
            let family = format!("{:?}", machine.profile.model.architecture);
            assert_eq!(
                format!("{:?}", gpu.architecture),
                family,
                "by PCI id {:#06x}",
                gpu.pci_device_id
            );
        }
        let rows = topology(&roots, &host).gpus;
        assert!(
            rows.iter()
                .all(|row| row.relations.len() == machine.gpus.len() && row.cpu_affinity.is_some())
        );

        let files = driver_files(&roots, None, &SearchOptions::default()).unwrap();
        assert_eq!(files.version, machine.profile.driver_version);
        for stem in ["libcuda", "libnvidia-ml", "libnvidia-sim", "libGLX_nvidia"] {
            let of_64_bits = |l: &&nvbind_gpu::Library| l.stem() == Some(stem) && l.class == ElfClass::Elf64;
            assert_eq!(files.libraries.iter().filter(of_64_bits).count(), 1, "{name} {stem}");
        }
        assert_eq!(files.nodes.len(), 4);
    }
}

#[test]
fn a_wsl2_machine_has_one_node_and_a_store() {
    let base = tempfile::tempdir().unwrap();
    let no_library = base.path().join("no-dxcore");
    std::fs::write(&no_library, "no library").unwrap();
    let sim = root::ensure(&base.path().join("sim"), "wsl2-rtx4070", &no_library, None).unwrap();
    let roots = Roots::under(sim.path());
    assert_eq!(platform(&roots).unwrap(), Platform::Wsl);
    // Its libdxcore cannot be loaded here: that must be said.
    let error = driver_files(&roots, None, &SearchOptions::default()).unwrap_err();
    assert!(error.to_string().contains("libdxcore.so"), "{error}");
    assert_eq!(error.exit_code(), 5);
    // A store without its node is no WSL2 machine.
    std::fs::remove_file(sim.path().join("dev/dxg")).unwrap();
    assert_eq!(platform(&roots).unwrap(), Platform::Linux);
}
