//! The stubs are real ELF files.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use object::read::elf::{ElfFile32, ElfFile64};
use object::{Architecture, Object};

use crate::machine::Base;

/// Every 64-bit library can be loaded by the name that programs use.
#[test]
fn libraries_can_be_loaded_by_their_sonames() {
    let base = Base::new();
    let folder = base.ensure("rtx4090").path().join("usr/lib/x86_64-linux-gnu");
    let names = [
        "libcuda.so.1",
        "libcuda.so",
        "libnvoptix.so.1",
        "libGLX_nvidia.so.0",
        "libnvidia-glcore.so.535.309.01",
    ];
    for name in names
        .into_iter()
        .chain(["vdpau/libvdpau_nvidia.so.1", "gbm/nvidia-drm_gbm.so"])
    {
        // SAFETY: the stubs have no code that could run.
        #[allow(unsafe_code)]
        let loaded = unsafe { libloading::Library::new(folder.join(name)) };
        loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn libraries_say_their_sonames() {
    let base = Base::new();
    let root = base.ensure("rtx4090");
    let soname = |path: &str| {
        let output = nvbind_testkit::check(Command::new("readelf").arg("-d").arg(root.path().join(path)));
        let line = output.lines().find(|line| line.contains("SONAME")).unwrap().to_owned();
        line.split(['[', ']']).nth(1).unwrap().to_owned()
    };
    assert_eq!(soname("usr/lib/x86_64-linux-gnu/libcuda.so.535.309.01"), "libcuda.so.1");
    assert_eq!(
        soname("usr/lib/x86_64-linux-gnu/libnvidia-rtcore.so.535.309.01"),
        "libnvidia-rtcore.so.535.309.01"
    );
    assert_eq!(soname("usr/lib/i386-linux-gnu/libcuda.so.535.309.01"), "libcuda.so.1");
    assert_eq!(
        soname("usr/lib/x86_64-linux-gnu/libnvidia-sim.so.535.309.01"),
        "libnvidia-sim.so.535.309.01"
    );
}

#[test]
fn each_class_is_in_its_folder() {
    let base = Base::new();
    let root = base.ensure("rtx4090");
    let read = |path: &str| std::fs::read(root.path().join(path)).unwrap();
    let wide = read("usr/lib/x86_64-linux-gnu/libcuda.so.1");
    let narrow = read("usr/lib/i386-linux-gnu/libcuda.so.1");
    assert_eq!(
        ElfFile64::<object::Endianness>::parse(&*wide).unwrap().architecture(),
        Architecture::X86_64
    );
    assert_eq!(
        ElfFile32::<object::Endianness>::parse(&*narrow).unwrap().architecture(),
        Architecture::I386
    );
}

#[test]
fn programs_run_and_say_what_they_are() {
    let base = Base::new();
    let program = base.ensure("t4").path().join("usr/bin/nvidia-persistenced");
    let output = Command::new(program).output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(1), None));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "nvidia-persistenced: part of a simulated driver, it does nothing\n"
    );
}

/// The library folder stands for what a loader would look through: nothing in it may be broken.
#[test]
fn no_link_leads_nowhere() {
    let base = Base::new();
    let root = base.ensure("hgx-b200");
    for (path, _) in crate::machine::tree(root.path()) {
        let full = root.path().join(&path);
        assert!(full.exists() || !full.is_symlink(), "{} leads nowhere", path.display());
    }
}
