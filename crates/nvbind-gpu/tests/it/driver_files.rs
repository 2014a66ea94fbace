use crate::machine::{Machine, has};
use nvbind_gpu::ldcache::LdCache;
use nvbind_gpu::{Capabilities, Capability, DriverFiles, ElfClass, Error, FileKind, SearchOptions, driver_files};
use std::path::PathBuf;

const VERSION: &str = "550.163.01";

fn find(machine: &Machine) -> DriverFiles {
    driver_files(&machine.roots(), None, &SearchOptions::default()).unwrap()
}

fn libraries(files: &DriverFiles) -> Vec<PathBuf> {
    files
        .libraries
        .iter()
        .map(|library| library.container.clone())
        .collect()
}

fn links(files: &DriverFiles) -> Vec<String> {
    let all = files.libraries.iter().flat_map(|library| &library.links);
    all.map(|link| format!("{} -> {}", link.link.display(), link.target.display()))
        .collect()
}

/// Libraries as Red Hat's and NVIDIA's own packages lay them out.
fn lib64() -> Machine {
    let machine = Machine::new();
    machine.link("lib64", "usr/lib64").link("lib", "usr/lib");
    for name in [
        "libcuda",
        "libnvidia-ml",
        "libGLX_nvidia",
        "libnvidia-allocator",
        "libnvidia-glcore",
        "libnvidia-sim",
    ] {
        machine.library(&format!("usr/lib64/{name}.so.{VERSION}"));
    }
    machine.link("usr/lib64/libcuda.so.1", &format!("libcuda.so.{VERSION}"));
    machine.link("usr/lib64/libnvidia-ml.so.1", &format!("libnvidia-ml.so.{VERSION}"));
    machine.link("usr/lib64/libnvidia-ml.so", "libnvidia-ml.so.1");
    machine.link("usr/lib64/libGLX_nvidia.so.0", &format!("libGLX_nvidia.so.{VERSION}"));
    machine
        .library("usr/lib64/libz.so.1.2.13")
        .link("usr/lib64/libz.so.1", "libz.so.1.2.13");
    machine
}

#[test]
fn a_lib64_layout_is_found_once() {
    let machine = lib64();
    machine.library("usr/lib64/libcuda.so.470.1");
    machine.library(&format!("usr/lib64/vdpau/libvdpau_nvidia.so.{VERSION}"));
    machine.library("usr/lib64/libnvidia-egl-wayland.so.1.1.13");
    machine.link(
        "usr/lib64/libnvidia-egl-wayland.so.1",
        "libnvidia-egl-wayland.so.1.1.13",
    );
    let files = find(&machine);
    assert_eq!(files.version, VERSION);
    let found = libraries(&files);
    assert_eq!(found.len(), 8, "{found:?}");
    assert!(has(&found, &format!("/usr/lib64/vdpau/libvdpau_nvidia.so.{VERSION}")));
    assert_eq!(
        links(&files),
        [
            format!("/usr/lib64/libGLX_indirect.so.0 -> libGLX_nvidia.so.{VERSION}"),
            format!("/usr/lib64/libGLX_nvidia.so.0 -> libGLX_nvidia.so.{VERSION}"),
            "/usr/lib64/libcuda.so -> libcuda.so.1".to_owned(),
            format!("/usr/lib64/libcuda.so.1 -> libcuda.so.{VERSION}"),
            "/usr/lib64/gbm/nvidia-drm_gbm.so -> ../libnvidia-allocator.so.1".to_owned(),
            "/usr/lib64/libnvidia-egl-wayland.so.1 -> libnvidia-egl-wayland.so.1.1.13".to_owned(),
            "/usr/lib64/libnvidia-ml.so -> libnvidia-ml.so.1".to_owned(),
            format!("/usr/lib64/libnvidia-ml.so.1 -> libnvidia-ml.so.{VERSION}"),
        ]
    );
    let ml = files
        .libraries
        .iter()
        .find(|library| library.stem() == Some("libnvidia-ml"))
        .unwrap();
    assert_eq!(ml.capabilities, Capabilities::of(Capability::Utility));
    assert_eq!(ml.host, machine.path(&format!("usr/lib64/libnvidia-ml.so.{VERSION}")));
    assert_eq!(
        ml.loader_paths(),
        [std::path::Path::new("/usr/lib64/libnvidia-ml.so.1")]
    );
    let core = files
        .libraries
        .iter()
        .find(|library| library.stem() == Some("libnvidia-glcore"))
        .unwrap();
    assert_eq!(core.loader_paths(), [core.container.as_path()]);
}

#[test]
fn debians_alternatives_are_followed_inside_the_root() {
    let machine = Machine::new();
    let current = "usr/lib/x86_64-linux-gnu/nvidia/current";
    for name in ["libcuda", "libnvoptix", "libGLX_nvidia"] {
        machine.library(&format!("{current}/{name}.so.{VERSION}"));
    }
    machine.link(&format!("{current}/libcuda.so.1"), &format!("libcuda.so.{VERSION}"));
    machine.link(
        "usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/etc/alternatives/glx--libcuda.so.1-x86_64-linux-gnu",
    );
    machine.link(
        "etc/alternatives/glx--libcuda.so.1-x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.1",
    );
    machine.library(&format!("usr/lib/x86_64-linux-gnu/libnvidia-rtcore.so.{VERSION}"));
    machine
        .file("usr/lib/nvidia/current/nvidia-smi", "")
        .link("usr/bin/nvidia-smi", "/etc/alternatives/nvidia-smi");
    machine.link("etc/alternatives/nvidia-smi", "/usr/lib/nvidia/current/nvidia-smi");
    machine.file(&format!("{current}/nvoptix.bin"), "");
    machine
        .file(&format!("{current}/nvidia/wine/nvngx.dll"), "")
        .file(&format!("{current}/nvidia/wine/notes.txt"), "");
    let files = find(&machine);
    let found = links(&files);
    let libcuda = format!("/usr/lib/x86_64-linux-gnu/libcuda.so.1 -> nvidia/current/libcuda.so.{VERSION}");
    assert!(found.contains(&libcuda), "{found:?}");
    assert_eq!(files.libraries.len(), 4);
    let named: Vec<(PathBuf, PathBuf)> = files
        .files
        .iter()
        .map(|f| (f.host.clone(), f.container.clone()))
        .collect();
    assert_eq!(
        named,
        [
            (
                machine.path("usr/lib/nvidia/current/nvidia-smi"),
                "/usr/bin/nvidia-smi".into()
            ),
            (
                machine.path(&format!("{current}/nvidia/wine/nvngx.dll")),
                format!("/{current}/nvidia/wine/nvngx.dll").into()
            ),
            (
                machine.path(&format!("{current}/nvoptix.bin")),
                format!("/{current}/nvoptix.bin").into()
            ),
        ]
    );
}

#[test]
fn a_folder_that_only_links_lead_to_is_found() {
    let machine = Machine::new();
    let store = "nix/store/abc-nvidia-x11/lib";
    machine
        .library(&format!("{store}/libcuda.so.{VERSION}"))
        .library(&format!("{store}/libnvidia-ml.so.{VERSION}"));
    machine.link(&format!("{store}/libcuda.so.1"), &format!("libcuda.so.{VERSION}"));
    machine.link("run/opengl-driver/lib", "/nix/store/abc-nvidia-x11/lib");
    let files = find(&machine);
    assert!(has(&libraries(&files), &format!("/{store}/libnvidia-ml.so.{VERSION}")));
}

#[test]
fn a_folder_that_only_the_cache_names_is_found() {
    let machine = Machine::new();
    machine.library(&format!("opt/nvidia/lib/libcuda.so.{VERSION}"));
    machine.link("opt/nvidia/lib/libcuda.so.1", &format!("libcuda.so.{VERSION}"));
    let mut cache = LdCache::default();
    cache.add(b"libcuda.so.1", b"/opt/nvidia/lib/libcuda.so.1", 0x303);
    cache.add(b"libcuda.so.1", b"not/absolute", 0x3);
    machine.file("etc/ld.so.cache", cache.to_bytes());
    assert_eq!(
        libraries(&find(&machine)),
        [PathBuf::from(format!("/opt/nvidia/lib/libcuda.so.{VERSION}"))]
    );
}

#[test]
fn a_hostile_cache_is_as_good_as_none() {
    let machine = lib64();
    machine.file(
        "etc/ld.so.cache",
        [b"glibc-ld.so.cache1.1".as_slice(), &[0xff; 500]].concat(),
    );
    assert_eq!(find(&machine).libraries.len(), 6);
}

#[test]
fn extra_folders_are_searched_too() {
    let machine = Machine::new();
    machine
        .library(&format!("opt/driver/libcuda.so.{VERSION}"))
        .file("opt/share/nvidia/nvoptix.bin", "");
    let options = SearchOptions {
        library_paths: vec!["/opt/driver".into()],
        config_paths: vec!["/opt/share".into()],
        ..SearchOptions::default()
    };
    let files = driver_files(&machine.roots(), Some(VERSION), &options).unwrap();
    assert_eq!(
        libraries(&files),
        [PathBuf::from(format!("/opt/driver/libcuda.so.{VERSION}"))]
    );
    assert_eq!(files.files[0].container, PathBuf::from("/usr/share/nvidia/nvoptix.bin"));
}

#[test]
fn libraries_of_32_bits_are_for_compat32() {
    let machine = lib64();
    machine.library32(&format!("usr/lib/i386-linux-gnu/libcuda.so.{VERSION}"));
    let files = find(&machine);
    let old = files
        .libraries
        .iter()
        .find(|library| library.class == ElfClass::Elf32)
        .unwrap();
    assert_eq!(old.capabilities, Capabilities::of(Capability::Compat32));
    assert_eq!(
        files
            .libraries
            .iter()
            .filter(|library| library.class == ElfClass::Elf32)
            .count(),
        1
    );
}

#[test]
fn configs_firmware_sockets_and_control_nodes_go_to_their_places() {
    let machine = lib64();
    machine.link("var/run", "/run").link("var/run-is-a-link", "run");
    machine
        .file("usr/share/vulkan/icd.d/nvidia_icd.json", "{}")
        .file("etc/vulkan/icd.d/nvidia_icd.json", "{}");
    machine.file("usr/share/glvnd/egl_vendor.d/10_nvidia.json", "{}");
    machine.file(
        &format!("usr/share/nvidia/nvidia-application-profiles-{VERSION}-rc"),
        "",
    );
    machine.file(&format!("usr/lib/firmware/nvidia/{VERSION}/gsp_ga10x.bin"), "");
    machine.file(&format!("usr/lib/firmware/nvidia/{VERSION}/other.txt"), "");
    machine
        .file("run/nvidia-persistenced/socket", "")
        .file("tmp/nvidia-mps/control", "");
    machine.file("dev/nvidiactl", "").file("dev/nvidia-modeset", "");
    let files = find(&machine);
    let named: Vec<(FileKind, String)> = files
        .files
        .iter()
        .map(|file| (file.kind, file.container.display().to_string()))
        .collect();
    assert_eq!(
        named,
        [
            (
                FileKind::Config,
                "/usr/share/glvnd/egl_vendor.d/10_nvidia.json".to_owned()
            ),
            (
                FileKind::Config,
                format!("/usr/share/nvidia/nvidia-application-profiles-{VERSION}-rc")
            ),
            (FileKind::Config, "/etc/vulkan/icd.d/nvidia_icd.json".to_owned()),
            (
                FileKind::Firmware,
                format!("/lib/firmware/nvidia/{VERSION}/gsp_ga10x.bin")
            ),
            (FileKind::Socket, "/run/nvidia-persistenced/socket".to_owned()),
            (FileKind::Socket, "/tmp/nvidia-mps".to_owned()),
        ]
    );
    let nodes: Vec<(PathBuf, Capabilities)> = files
        .nodes
        .iter()
        .map(|n| (n.container.clone(), n.capabilities))
        .collect();
    let graphics = Capabilities::of(Capability::Graphics).union(Capabilities::of(Capability::Display));
    assert_eq!(
        nodes,
        [
            ("/dev/nvidia-modeset".into(), graphics),
            ("/dev/nvidiactl".into(), Capabilities::ALL)
        ]
    );
}

#[test]
fn no_driver_and_another_drivers_files_are_told_apart() {
    let error = driver_files(&Machine::new().roots(), None, &SearchOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NoDriver(_)) && error.exit_code() == 5);
    let error = driver_files(&lib64().roots(), Some("570.1.2"), &SearchOptions::default()).unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(
        error.to_string().contains("570.1.2") && error.to_string().contains(VERSION),
        "{error}"
    );
}
