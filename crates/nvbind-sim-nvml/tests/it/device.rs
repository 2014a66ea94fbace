//! Devices through `nvml-wrapper`.

use nvbind_sim::state::{Process, ProcessKind};
use nvbind_sim::{command, profile, state};
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{Brand, TemperatureSensor, TopologyLevel};
use nvml_wrapper::error::NvmlError;

use crate::machine::Machine;

fn uuids(nvml: &Nvml) -> Vec<String> {
    let count = nvml.device_count().unwrap();
    (0..count)
        .map(|index| nvml.device_by_index(index).unwrap().uuid().unwrap())
        .collect()
}

#[test]
fn every_profile_tells_its_figures() {
    for profile in profile::all().iter().filter(|profile| !profile.wsl) {
        let machine = Machine::new(&profile.name);
        let nvml = machine.nvml();
        assert_eq!(nvml.sys_driver_version().unwrap(), profile.driver_version);
        assert_eq!(nvml.sys_cuda_driver_version().unwrap(), profile.cuda_driver_version());
        assert_eq!(nvml.device_count().unwrap() as usize, profile.slots.len());
        for (index, slot) in (0..).zip(&profile.slots) {
            let device = nvml.device_by_index(index).unwrap();
            assert_eq!(device.name().unwrap(), profile.model.name);
            assert_eq!(device.index().unwrap(), index);
            assert_eq!(device.memory_info().unwrap().total, profile.model.memory_mib << 20);
            assert_eq!(
                device.pci_info().unwrap().bus_id.to_lowercase(),
                format!("0000{}", slot.bus)
            );
            let capability = device.cuda_compute_capability().unwrap();
            let expected = profile.model.compute_capability;
            assert_eq!((capability.major as u32, capability.minor as u32), expected);
            assert_eq!(
                device.enforced_power_limit().unwrap(),
                profile.model.power.default * 1000
            );
            assert_eq!(device.architecture().unwrap().as_c(), profile.model.architecture as u32);
        }
    }
}

#[test]
fn a_handle_is_found_by_everything_that_names_it() {
    let machine = Machine::new("dgx-a100");
    let nvml = machine.nvml();
    let gpu = &state::read(machine.path()).unwrap().gpus[3];
    let index = |device: nvml_wrapper::Device| device.index().unwrap();
    assert_eq!(index(nvml.device_by_uuid(gpu.uuid.as_str()).unwrap()), 3);
    assert_eq!(index(nvml.device_by_pci_bus_id(gpu.bus.as_str()).unwrap()), 3);
    assert_eq!(
        index(
            nvml.device_by_pci_bus_id(format!("0000{}", gpu.bus.to_uppercase()))
                .unwrap()
        ),
        3
    );
    assert_eq!(
        nvml.device_by_index(3).unwrap().minor_number().unwrap(),
        1,
        "minors are not indices here"
    );
    assert_eq!(nvml.device_by_index(0).unwrap().brand().unwrap(), Brand::Nvidia);
    assert!(matches!(nvml.device_by_uuid("GPU-0"), Err(NvmlError::NotFound)));
    assert!(matches!(nvml.device_by_index(8), Err(NvmlError::InvalidArg)));
}

/// What a container sees: only the GPUs whose nodes it was given, counted from 0.
#[test]
fn gpus_without_a_node_are_not_there() {
    let machine = Machine::new("hgx-h100");
    let all = uuids(&machine.nvml());
    for minor in [0, 1, 3, 4, 6, 7] {
        std::fs::remove_file(machine.path().join(format!("dev/nvidia{minor}"))).unwrap();
    }
    let nvml = machine.nvml();
    assert_eq!(uuids(&nvml), [all[2].clone(), all[5].clone()]);
    assert_eq!(nvml.device_by_index(1).unwrap().index().unwrap(), 1);
    assert_eq!(nvml.device_by_index(1).unwrap().minor_number().unwrap(), 5);
    assert!(matches!(nvml.device_by_uuid(all[0].as_str()), Err(NvmlError::NotFound)));
}

#[test]
fn without_the_control_node_there_is_no_driver() {
    let machine = Machine::new("t4");
    std::fs::remove_file(machine.path().join("dev/nvidiactl")).unwrap();
    assert!(matches!(machine.try_nvml(), Err(NvmlError::DriverNotLoaded)));
}

#[test]
fn an_open_handle_sees_changes() {
    let machine = Machine::new("rtx4090");
    let nvml = machine.nvml();
    let device = nvml.device_by_index(0).unwrap();
    assert_eq!(device.utilization_rates().unwrap().gpu, 0);
    command::set(machine.path(), "0", "utilization", "66").unwrap();
    command::set(machine.path(), "0", "fan", "80").unwrap();
    assert_eq!(device.utilization_rates().unwrap().gpu, 66);
    assert_eq!(device.fan_speed(1).unwrap(), 80);
    assert_eq!(device.temperature(TemperatureSensor::Gpu).unwrap(), 35);
    let process = Process {
        pid: 9,
        name: "game".into(),
        memory_mib: 100,
        kind: ProcessKind::Graphics,
        gpu_instance: None,
        compute_instance: None,
    };
    command::process_add(machine.path(), "0", &process).unwrap();
    assert_eq!(device.running_graphics_processes().unwrap()[0].pid, 9);
    assert_eq!(device.running_compute_processes().unwrap().len(), 0);
    assert_eq!(device.memory_info().unwrap().used, 100 << 20);
    assert_eq!(nvml.sys_process_name(9, 64).unwrap(), "game");
}

#[test]
fn a_lost_gpu_answers_nothing_but_who_it_was() {
    let machine = Machine::new("t4");
    let nvml = machine.nvml();
    let device = nvml.device_by_index(2).unwrap();
    let uuid = device.uuid().unwrap();
    command::lose(machine.path(), "2").unwrap();
    assert!(matches!(device.utilization_rates(), Err(NvmlError::GpuLost)));
    assert!(matches!(device.memory_info(), Err(NvmlError::GpuLost)));
    assert!(matches!(nvml.device_by_index(2), Err(NvmlError::GpuLost)));
    assert_eq!(device.uuid().unwrap(), uuid);
    assert_eq!(nvml.device_count().unwrap(), 4);
    command::restore(machine.path(), "2").unwrap();
    assert_eq!(device.utilization_rates().unwrap().gpu, 0);
}

#[test]
fn topology_follows_the_board() {
    let machine = Machine::new("dgx-a100");
    let nvml = machine.nvml();
    let device = |index| nvml.device_by_index(index).unwrap();
    let level = |a, b| device(a).topology_common_ancestor(device(b)).unwrap();
    assert_eq!(level(0, 1), TopologyLevel::Multiple);
    assert_eq!(level(0, 2), TopologyLevel::System);
    assert_eq!(device(0).cpu_affinity(4).unwrap(), [0xffff << 48, 0, 0xffff << 48, 0]);
    let first = device(0);
    let link = first.link_wrapper_for(11);
    assert!(link.is_active().unwrap());
    assert_eq!(link.version().unwrap(), 3);
    assert!(matches!(
        first.link_wrapper_for(12).is_active(),
        Err(NvmlError::NotSupported)
    ));
}
