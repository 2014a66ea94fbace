//! CUDA compatibility libraries of the image.

use crate::support::{Image, write};
use nvbind_gpu::ldcache::parse;
use nvbind_testkit::check;
use std::process::Command;

const COMPAT: &str = "usr/local/cuda/compat";

/// A library with the note that NVIDIA's have, and the links beside it.
fn add_compat(image: &Image, version: &str, note: Option<&str>) {
    let source = image.dir.path().join("compat.s");
    let section = note.map_or_else(String::new, |note| {
        let owner = "NVIDIA Corporation";
        let text = note.replace('"', "\\\"");
        format!(
            ".section .note.cuda.fwd_compatibility,\"a\",@note\n.balign 4\n.long {}, {}, 1\n.asciz \"{owner}\"\n.balign 4\n.ascii \"{text}\"\n",
            owner.len() + 1,
            note.len()
        )
    });
    write(&source, section + ".section .note.GNU-stack,\"\",@progbits\n");
    let library = image.root(&format!("{COMPAT}/libcuda.so.{version}"));
    std::fs::create_dir_all(library.parent().unwrap()).unwrap();
    check(
        Command::new("cc")
            .args(["-shared", "-nostdlib", "-o"])
            .arg(&library)
            .arg(&source),
    );
    image.link(&format!("{COMPAT}/libcuda.so.1"), format!("libcuda.so.{version}"));
    image.link(
        &format!("{COMPAT}/libnvidia-ptxjitcompiler.so.1"),
        format!("libnvidia-ptxjitcompiler.so.{version}"),
    );
}

/// Where the loader finds a library after the hook ran for a driver 535.183.01 with CUDA 12.2.
fn found(image: &Image, name: &str) -> Vec<String> {
    let versions = ["--host-driver-version=535.183.01", "--host-cuda-version=12.2"];
    let args: Vec<&str> = Image::arguments().into_iter().chain(versions).collect();
    let out = image.run(&args);
    assert!(out.status.success());
    let cache = parse(&std::fs::read(image.root("etc/ld.so.cache")).unwrap()).unwrap();
    let entries = cache.entries.iter().filter(|entry| entry.key == name.as_bytes());
    entries
        .map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
        .collect()
}

const OWN: &str = "/usr/lib/x86_64-linux-gnu/libcuda.so.1";
const COMPATIBLE: &str = "/usr/local/cuda/compat/libcuda.so.1";

#[test]
fn libraries_that_fit_stand_in_for_the_drivers() {
    for (version, note, wanted) in [
        ("550.54.15", None, COMPATIBLE),
        ("470.1.1", None, OWN),
        (
            "590.44.01",
            Some(r#"{"Format": 1, "CUDA Version": "13.1", "Driver": [535, 550]}"#),
            COMPATIBLE,
        ),
        (
            "590.44.01",
            Some(r#"{"Format": 1, "CUDA Version": "13.1", "Driver": [550, 570]}"#),
            OWN,
        ),
        ("590.44.01", Some(r#"{"CUDA Version": "13.1"}"#), COMPATIBLE),
        ("590.44.01", Some(r#"{"CUDA Version": "12.1"}"#), OWN),
    ] {
        let image = Image::new();
        add_compat(&image, version, note);
        assert_eq!(found(&image, "libcuda.so.1"), [wanted], "{version} {note:?}");
        let others = usize::from(wanted == COMPATIBLE);
        assert_eq!(
            found(&image, "libnvidia-ptxjitcompiler.so.1").len(),
            others,
            "{version} {note:?}"
        );
    }
}

#[test]
fn two_of_them_or_a_link_out_count_for_nothing() {
    let image = Image::new();
    add_compat(&image, "550.54.15", None);
    write(&image.root(&format!("{COMPAT}/libcuda.so.560.1")), "x");
    assert_eq!(found(&image, "libcuda.so.1"), [OWN]);
    let image = Image::new();
    add_compat(&image, "550.54.15", None);
    std::fs::rename(
        image.root(&format!("{COMPAT}/libcuda.so.550.54.15")),
        image.canary("file"),
    )
    .unwrap();
    image.link(&format!("{COMPAT}/libcuda.so.550.54.15"), image.canary("file"));
    assert_eq!(found(&image, "libcuda.so.1"), [OWN]);
}

#[test]
fn without_the_hosts_version_they_are_left_alone() {
    let image = Image::new();
    add_compat(&image, "550.54.15", None);
    image.run(&Image::arguments());
    let cache = parse(&std::fs::read(image.root("etc/ld.so.cache")).unwrap()).unwrap();
    assert!(cache.entries.iter().all(|entry| entry.value != COMPATIBLE.as_bytes()));
}
