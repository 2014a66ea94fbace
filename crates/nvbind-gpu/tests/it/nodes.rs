use crate::machine::Machine;
use nvbind_gpu::{Error, Gpu, Link, MigDevice, discover, gpu_nodes, mig_nodes};
use std::path::PathBuf;

fn machine() -> (Machine, Gpu) {
    let machine = Machine::new();
    machine
        .kernel_module(false, "550.163.01")
        .gpu("0000:07:00.0", 3, "GPU-a", "");
    let gpu = discover(&machine.roots()).unwrap().gpus.remove(0);
    (machine, gpu)
}

fn mig() -> MigDevice {
    let (uuid, profile) = ("MIG-x".to_owned(), "1g.10gb".to_owned());
    MigDevice {
        index: 0,
        uuid,
        profile,
        gpu_instance: 7,
        compute_instance: 1,
        memory_mib: 9856,
    }
}

#[test]
fn drm_nodes_that_exist_are_given_with_their_links() {
    let (machine, gpu) = machine();
    for name in ["card1", "renderD129", "renderD130", "controlD65"] {
        machine.file(&format!("sys/bus/pci/devices/0000:07:00.0/drm/{name}/dev"), "");
    }
    machine.file("dev/dri/card1", "").file("dev/dri/renderD129", "");
    let nodes = gpu_nodes(&machine.roots(), &gpu);
    assert_eq!(
        nodes.nodes,
        ["/dev/nvidia3", "/dev/dri/card1", "/dev/dri/renderD129"].map(PathBuf::from)
    );
    let link = |name: &str, to: &str| Link {
        link: format!("/dev/dri/by-path/pci-0000:07:00.0-{name}").into(),
        target: format!("../{to}").into(),
    };
    assert_eq!(
        nodes.by_path_links,
        [link("card", "card1"), link("render", "renderD129")]
    );
}

#[test]
fn a_gpu_without_drm_has_its_own_node() {
    let (machine, gpu) = machine();
    assert_eq!(gpu_nodes(&machine.roots(), &gpu).nodes, [PathBuf::from("/dev/nvidia3")]);
}

#[test]
fn mig_devices_have_two_capability_nodes() {
    let (machine, gpu) = machine();
    machine.file(
        "proc/driver/nvidia-caps/mig-minors",
        "config 1\nmonitor 2\ngpu0/gi7/access 12\ngpu3/gi7/access 66\ngpu3/gi7/ci1/access 68\n",
    );
    let nodes = mig_nodes(&machine.roots(), &gpu, &mig()).unwrap();
    assert_eq!(
        nodes,
        ["/dev/nvidia-caps/nvidia-cap66", "/dev/nvidia-caps/nvidia-cap68"].map(PathBuf::from)
    );
}

#[test]
fn a_mig_device_that_the_kernel_does_not_list_is_an_error() {
    let (machine, gpu) = machine();
    assert!(matches!(
        mig_nodes(&machine.roots(), &gpu, &mig()),
        Err(Error::Read { .. })
    ));
    machine.file("proc/driver/nvidia-caps/mig-minors", "gpu3/gi7/access 66\n");
    let error = mig_nodes(&machine.roots(), &gpu, &mig()).unwrap_err();
    assert!(
        error.to_string().contains("MIG-x") && error.to_string().contains("gpu3/gi7/ci1/access"),
        "{error}"
    );
}
