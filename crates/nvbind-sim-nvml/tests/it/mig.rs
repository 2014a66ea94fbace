//! MIG devices through `nvml-wrapper`.

use nvbind_sim::{command, state};
use nvml_wrapper::error::NvmlError;

use crate::machine::Machine;

#[test]
fn mig_devices_say_who_they_are() {
    let machine = Machine::new("hgx-h100");
    let nvml = machine.nvml();
    let gpu = nvml.device_by_index(0).unwrap();
    assert_eq!(gpu.mig_mode().unwrap().current, 0);
    assert_eq!(gpu.mig_device_count().unwrap(), 7);
    command::mig_layout(machine.path(), "0", &["3g.40gb", "1g.10gb"]).unwrap();
    assert_eq!(gpu.mig_mode().unwrap().current, 1);
    assert!(matches!(gpu.utilization_rates(), Err(NvmlError::NotSupported)));
    let expected = state::read(machine.path()).unwrap().gpus[0].mig.clone();
    let mig = gpu.mig_device_by_index(0).unwrap();
    assert!(mig.mig_is_mig_device_handle().unwrap());
    assert_eq!(mig.name().unwrap(), "NVIDIA H100 80GB HBM3 MIG 3g.40gb");
    assert_eq!(mig.uuid().unwrap(), expected[0].compute[0].uuid);
    assert_eq!(mig.memory_info().unwrap().total, 40448 << 20);
    let attributes = mig.attributes().unwrap();
    assert_eq!(
        (attributes.multiprocessor_count, attributes.gpu_instance_slice_count),
        (60, 3)
    );
    assert_eq!(mig.mig_parent_device().unwrap().uuid().unwrap(), gpu.uuid().unwrap());
    assert!(matches!(gpu.mig_device_by_index(2), Err(NvmlError::NotFound)));
    let found = nvml.device_by_uuid(expected[1].compute[0].uuid.as_str()).unwrap();
    assert_eq!(found.name().unwrap(), "NVIDIA H100 80GB HBM3 MIG 1g.10gb");
}

/// A container is given a MIG device by the nodes of both of its instances.
#[test]
fn mig_devices_without_their_capabilities_are_not_there() {
    let machine = Machine::new("dgx-a100");
    command::mig_layout(machine.path(), "all", &["1g.10gb", "1g.10gb"]).unwrap();
    let nvml = machine.nvml();
    let gpu = nvml.device_by_index(0).unwrap();
    let state = state::read(machine.path()).unwrap();
    let (first, second) = (&state.gpus[0].mig[0], &state.gpus[0].mig[1]);
    let minor = nvbind_sim::mig::compute_instance_minor(state.gpus[0].minor, first.id, 0);
    std::fs::remove_file(machine.path().join(format!("dev/nvidia-caps/nvidia-cap{minor}"))).unwrap();
    assert_eq!(
        gpu.mig_device_by_index(0).unwrap().uuid().unwrap(),
        second.compute[0].uuid
    );
    assert!(matches!(gpu.mig_device_by_index(1), Err(NvmlError::NotFound)));
    assert!(matches!(
        nvml.device_by_uuid(first.compute[0].uuid.as_str()),
        Err(NvmlError::NotFound)
    ));
}

#[test]
fn gpus_without_mig_say_so() {
    let machine = Machine::new("rtx4090");
    let nvml = machine.nvml();
    let gpu = nvml.device_by_index(0).unwrap();
    assert!(matches!(gpu.mig_mode(), Err(NvmlError::NotSupported)));
    assert_eq!(gpu.mig_device_count().unwrap(), 0);
}
