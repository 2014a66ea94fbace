//! The C ABI itself: what it exports, and calls that make no sense.

use std::ffi::{c_char, c_uint, c_void};
use std::process::Command;

use nvml_wrapper_sys::bindings::{NvmlLib, nvmlMemory_v2_t};

use crate::machine::Machine;

const SUCCESS: u32 = 0;
const UNINITIALIZED: u32 = 1;
const INVALID_ARGUMENT: u32 = 2;
const NOT_SUPPORTED: u32 = 3;
const INSUFFICIENT_SIZE: u32 = 7;
const VERSION_MISMATCH: u32 = 25;

fn load(machine: &Machine) -> NvmlLib {
    let path = machine.libraries().join("libnvidia-ml.so.1");
    // SAFETY: the library's initializers are Rust's own.
    unsafe { NvmlLib::new(path) }.unwrap()
}

/// The names that driver 535 exports: a program linked against any of them can be loaded.
#[test]
fn it_exports_what_the_real_library_exports() {
    let machine = Machine::new("t4");
    let path = machine.libraries().join("libnvidia-ml.so.1");
    let output = nvbind_testkit::check(Command::new("nm").args(["-D", "--defined-only"]).arg(path));
    let names: Vec<&str> = output
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    // Drivers from 575 on have this one, which no older program can miss.
    let is_newer = |name: &str| name == "nvmlDeviceGetAddressingMode";
    let of_535 = names.iter().filter(|name| name.starts_with("nvml") && !is_newer(name));
    assert_eq!(of_535.count(), 332);
    for name in [
        "nvmlInit_v2",
        "nvmlInternalGetExportTable",
        "nvmlVgpuTypeGetName",
        "nvmlGpmSampleGet",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
}

#[test]
fn it_has_the_real_librarys_soname() {
    let machine = Machine::new("t4");
    let path = machine.libraries().join("libnvidia-ml.so.1");
    let output = nvbind_testkit::check(Command::new("readelf").arg("-d").arg(path));
    assert!(output.contains("[libnvidia-ml.so.1]"), "{output}");
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    let machine = Machine::new("t4");
    let nvml = load(&machine);
    let null = std::ptr::null_mut();
    let mut device = null;
    let mut number: c_uint = 0;
    let mut text: [c_char; 8] = [0; 8];
    // SAFETY: every pointer is null, which the library must survive, or valid.
    unsafe {
        assert_eq!(nvml.nvmlDeviceGetCount_v2(&raw mut number), UNINITIALIZED);
        assert_eq!(nvml.nvmlShutdown(), UNINITIALIZED);
        assert_eq!(nvml.nvmlInit_v2(), SUCCESS);
        assert_eq!(nvml.nvmlDeviceGetCount_v2(std::ptr::null_mut()), INVALID_ARGUMENT);
        assert_eq!(
            nvml.nvmlDeviceGetHandleByIndex_v2(0, std::ptr::null_mut()),
            INVALID_ARGUMENT
        );
        assert_eq!(
            nvml.nvmlDeviceGetHandleByUUID(std::ptr::null(), &raw mut device),
            INVALID_ARGUMENT
        );
        assert_eq!(nvml.nvmlDeviceGetHandleByIndex_v2(0, &raw mut device), SUCCESS);
        assert_eq!(nvml.nvmlDeviceGetName(null, text.as_mut_ptr(), 8), INVALID_ARGUMENT);
        assert_eq!(
            nvml.nvmlDeviceGetName(device, std::ptr::null_mut(), 8),
            INVALID_ARGUMENT
        );
        assert_eq!(nvml.nvmlDeviceGetName(device, text.as_mut_ptr(), 8), INSUFFICIENT_SIZE);
        assert_eq!(
            nvml.nvmlDeviceGetMinorNumber(device, std::ptr::null_mut()),
            INVALID_ARGUMENT
        );
        let stray = std::ptr::without_provenance_mut(0x1234);
        assert_eq!(nvml.nvmlDeviceGetMinorNumber(stray, &raw mut number), INVALID_ARGUMENT);
        let mut memory: nvmlMemory_v2_t = std::mem::zeroed();
        assert_eq!(
            nvml.nvmlDeviceGetMemoryInfo_v2(device, &raw mut memory),
            VERSION_MISMATCH
        );
        assert_eq!(
            nvml.nvmlDeviceGetAdaptiveClockInfoStatus(device, &raw mut number),
            NOT_SUPPORTED
        );
        assert_eq!(nvml.nvmlEventSetFree(std::ptr::null_mut()), INVALID_ARGUMENT);
        assert_eq!(nvml.nvmlShutdown(), SUCCESS);
    }
}

#[test]
fn an_export_table_is_given_to_who_names_it_right() {
    type GetExportTable = unsafe extern "C" fn(*mut *const c_void, *const [u8; 16]) -> u32;
    let machine = Machine::new("t4");
    // SAFETY: as in `load`; the symbol has this type.
    unsafe {
        let library = libloading::Library::new(machine.libraries().join("libnvidia-ml.so.1")).unwrap();
        let get: libloading::Symbol<GetExportTable> = library.get(b"nvmlInternalGetExportTable").unwrap();
        let mut table = std::ptr::null();
        assert_eq!(get(&raw mut table, &[0; 16]), NOT_SUPPORTED);
        assert_eq!(get(&raw mut table, std::ptr::null()), INVALID_ARGUMENT);
        assert!(table.is_null());
    }
}

#[test]
fn a_library_that_is_no_part_of_a_machine_knows_no_driver() {
    let machine = Machine::new("t4");
    let stray = nvbind_testkit::temp_dir("stray");
    let copy = stray.path().join("libnvidia-ml.so.1");
    std::fs::copy(machine.libraries().join("libnvidia-ml.so.1"), &copy).unwrap();
    let nvml = nvml_wrapper::Nvml::builder().lib_path(copy.as_os_str()).init();
    assert!(matches!(nvml, Err(nvml_wrapper::error::NvmlError::DriverNotLoaded)));
}

/// Calls that make no sense change nothing.
#[test]
fn instances_are_not_made_for_who_does_not_take_them() {
    let machine = Machine::new("hgx-h100");
    nvbind_sim::command::mig_mode(machine.path(), "0", true).unwrap();
    let nvml = load(&machine);
    // SAFETY: every pointer is null, which the library must survive, or valid.
    unsafe {
        nvml.nvmlInit_v2();
        let mut gpu = std::ptr::null_mut();
        nvml.nvmlDeviceGetHandleByIndex_v2(0, &raw mut gpu);
        assert_eq!(
            nvml.nvmlDeviceCreateGpuInstance(gpu, 9, std::ptr::null_mut()),
            INVALID_ARGUMENT
        );
        let mut instance = std::ptr::null_mut();
        let no_place = std::ptr::null();
        let placed = nvml.nvmlDeviceCreateGpuInstanceWithPlacement(gpu, 9, no_place, &raw mut instance);
        assert_eq!(placed, INVALID_ARGUMENT);
        assert_eq!(
            nvml.nvmlDeviceSetMigMode(gpu, 2, std::ptr::null_mut()),
            INVALID_ARGUMENT
        );
        assert_eq!(nvml.nvmlDeviceCreateGpuInstance(gpu, 9, &raw mut instance), 0);
        assert_eq!(
            nvml.nvmlGpuInstanceCreateComputeInstance(instance, 2, std::ptr::null_mut()),
            INVALID_ARGUMENT
        );
        assert_eq!(nvml.nvmlGpuInstanceDestroy(instance), 0);
        assert_eq!(nvml.nvmlGpuInstanceDestroy(instance), INVALID_ARGUMENT, "it is gone");
        assert_eq!(nvml.nvmlComputeInstanceDestroy(std::ptr::null_mut()), INVALID_ARGUMENT);
        nvml.nvmlShutdown();
    }
    assert!(nvbind_sim::state::read(machine.path()).unwrap().gpus[0].mig.is_empty());
}
