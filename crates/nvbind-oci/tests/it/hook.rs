//! The hook by itself, on roots of ordinary and of odd images.

use crate::support::{HOOK, I386, Image, elf, stderr, with_input, write};
use nvbind_gpu::ldcache::{LdCache, parse};
use std::path::Path;
use std::process::Command;

const DIR: &str = "usr/lib/x86_64-linux-gnu";

fn cache(image: &Image) -> LdCache {
    parse(&std::fs::read(image.root("etc/ld.so.cache")).unwrap()).unwrap()
}

fn run(image: &Image) -> String {
    let out = image.run(&Image::arguments());
    assert!(out.status.success(), "{}", stderr(&out));
    stderr(&out)
}

#[test]
fn links_and_cache_are_made() {
    let image = Image::new();
    assert_eq!(run(&image), "");
    for (link, target) in [
        ("libcuda.so.1", "libcuda.so.535.1"),
        ("libcuda.so", "libcuda.so.1"),
        ("gbm/nvidia-drm_gbm.so", "../libcuda.so.1"),
    ] {
        assert_eq!(
            std::fs::read_link(image.root(DIR).join(link)).unwrap(),
            Path::new(target)
        );
    }
    let cache = cache(&image);
    assert_eq!(cache.entries.len(), 1);
    let entry = &cache.entries[0];
    assert_eq!((entry.flags, entry.key.as_slice()), (0x303, b"libcuda.so.1".as_slice()));
    assert_eq!(entry.value, b"/usr/lib/x86_64-linux-gnu/libcuda.so.1");
    image.assert_unharmed("plain");
}

#[test]
fn the_images_entries_stay_and_those_of_another_driver_go() {
    let image = Image::new();
    let mut old = LdCache::default();
    old.add(b"libz.so.1", b"/lib/libz.so.1", 0x303);
    old.add(b"libcuda.so.1", b"/usr/local/cuda/compat/libcuda.so.1", 0x303);
    old.add(b"libcuda.so.1", b"/usr/lib/i386-linux-gnu/libcuda.so.1", 0x003);
    old.add(b"libold.so", b"/usr/lib/x86_64-linux-gnu/libcuda.so.1", 0x303);
    write(&image.root("etc/ld.so.cache"), old.to_bytes());
    run(&image);
    let values: Vec<String> = cache(&image)
        .entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
        .collect();
    assert_eq!(
        values,
        [
            "/lib/libz.so.1",
            "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
            "/usr/lib/i386-linux-gnu/libcuda.so.1"
        ]
    );
}

#[test]
fn both_word_sizes_have_their_flags_and_what_is_no_library_is_left_out() {
    let image = Image::new();
    write(&image.root("usr/lib/i386-linux-gnu/libcuda.so.1"), elf(I386.0, I386.1));
    write(&image.root("usr/lib/aarch64-linux-gnu/libcuda.so.1"), elf(2, 183));
    write(&image.root("usr/lib/text.so"), "no library");
    let out = image.run(&[
        "create-container",
        "--library=/usr/lib/i386-linux-gnu/libcuda.so.1",
        "--library=/usr/lib/aarch64-linux-gnu/libcuda.so.1",
        "--library=/usr/lib/text.so",
        "--library=/usr/lib/absent.so",
    ]);
    assert!(
        stderr(&out).contains("/usr/lib/text.so is no library"),
        "{}",
        stderr(&out)
    );
    assert!(!stderr(&out).contains("absent"), "{}", stderr(&out));
    let mut flags: Vec<i32> = cache(&image).entries.iter().map(|entry| entry.flags).collect();
    flags.sort_unstable();
    assert_eq!(flags, [0x003, 0xa03]);
}

#[test]
fn a_second_run_changes_nothing() {
    let image = Image::new();
    run(&image);
    let times = || {
        let times = ["etc/ld.so.cache", "usr/lib/x86_64-linux-gnu/libcuda.so.1", "etc"];
        times.map(|path| std::fs::symlink_metadata(image.root(path)).unwrap().modified().unwrap())
    };
    let before = times();
    run(&image);
    assert_eq!(times(), before);
}

#[test]
fn existing_names_are_replaced_but_never_a_folder() {
    let image = Image::new();
    image.link("usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.470.1");
    write(&image.root("usr/lib/x86_64-linux-gnu/libcuda.so"), "a stub");
    write(
        &image.root("usr/lib/x86_64-linux-gnu/gbm/nvidia-drm_gbm.so/inside"),
        "kept",
    );
    let warnings = run(&image);
    assert_eq!(
        std::fs::read_link(image.root(DIR).join("libcuda.so.1")).unwrap(),
        Path::new("libcuda.so.535.1")
    );
    assert_eq!(
        std::fs::read_link(image.root(DIR).join("libcuda.so")).unwrap(),
        Path::new("libcuda.so.1")
    );
    assert!(
        image
            .root("usr/lib/x86_64-linux-gnu/gbm/nvidia-drm_gbm.so/inside")
            .exists()
    );
    assert!(
        warnings.contains("nvidia-drm_gbm.so not made: Is a directory"),
        "{warnings}"
    );
    image.assert_unharmed("folder");
}

#[test]
fn device_links_are_made_for_devices_that_were_given() {
    let image = Image::new();
    write(&image.root("dev/dri/card0"), "");
    let args = ["card0", "card1"].map(|card| format!("--device-link=../{card}::/dev/dri/by-path/pci-{card}"));
    image.run(&["create-container", &args[0], &args[1]]);
    assert_eq!(
        std::fs::read_link(image.root("dev/dri/by-path/pci-card0")).unwrap(),
        Path::new("../card0")
    );
    assert!(std::fs::symlink_metadata(image.root("dev/dri/by-path/pci-card1")).is_err());
}

#[test]
fn an_image_without_etc_gets_a_cache() {
    let image = Image::new();
    std::fs::remove_dir_all(image.root("etc")).unwrap();
    run(&image);
    assert_eq!(cache(&image).entries.len(), 1);
}

#[test]
fn musl_gets_the_folders() {
    for (marker, old, new) in [
        (
            "etc/alpine-release",
            None,
            "/lib:/usr/local/lib:/usr/lib\n/usr/lib/x86_64-linux-gnu\n",
        ),
        (
            "lib/ld-musl-x86_64.so.1",
            Some("/lib\n/x\n"),
            "/lib\n/x\n/usr/lib/x86_64-linux-gnu\n",
        ),
        (
            "lib/ld-musl-x86_64.so.1",
            Some("/lib:/x"),
            "/lib:/x\n/usr/lib/x86_64-linux-gnu\n",
        ),
        (
            "etc/alpine-release",
            Some("/usr/lib/x86_64-linux-gnu:/lib"),
            "/usr/lib/x86_64-linux-gnu:/lib",
        ),
    ] {
        let image = Image::new();
        write(&image.root(marker), "3.20");
        if let Some(old) = old {
            write(&image.root("etc/ld-musl-x86_64.path"), old);
        }
        run(&image);
        run(&image);
        assert_eq!(
            std::fs::read_to_string(image.root("etc/ld-musl-x86_64.path")).unwrap(),
            new
        );
    }
}

#[test]
fn an_image_without_musl_gets_no_path_file() {
    let image = Image::new();
    run(&image);
    assert!(!image.root("etc/ld-musl-x86_64.path").exists());
}

#[test]
fn a_strange_cache_is_replaced() {
    let image = Image::new();
    for bytes in [
        &b""[..],
        b"ld.so-1.7.0",
        b"glibc-ld.so.cache1.1\xff\xff\xff\xff",
        &[0xff; 4096],
    ] {
        write(&image.root("etc/ld.so.cache"), bytes);
        assert!(run(&image).contains("/etc/ld.so.cache is replaced"));
        assert_eq!(cache(&image).entries.len(), 1);
    }
    let huge = std::fs::File::create(image.root("etc/ld.so.cache")).unwrap();
    huge.set_len(65 << 20).unwrap();
    assert!(run(&image).contains("/etc/ld.so.cache is replaced"));
    assert_eq!(cache(&image).entries.len(), 1);
}

#[test]
fn unknown_words_are_warnings() {
    let image = Image::new();
    for args in [
        &["new-command", "--x"][..],
        &["create-container", "--new-flag=1", "word"],
        &[],
    ] {
        let out = image.run(args);
        assert!(out.status.success());
        assert!(stderr(&out).starts_with("nvbind-hook: warning: "), "{}", stderr(&out));
    }
}

#[test]
fn a_state_without_a_root_is_an_error() {
    for (state, words) in [
        ("", "container state on standard input"),
        ("{\"bundle\":\"relative\"}", "not an absolute path"),
        ("{\"bundle\":\"/nonexistent\"}", "cannot read /nonexistent/config.json"),
        (
            "{\"bundle\":\"/\",\"root\":\"/nonexistent\"}",
            "cannot open the container's root /nonexistent",
        ),
    ] {
        let out = with_input(Command::new(HOOK).arg("create-container"), state.as_bytes());
        assert_eq!(out.status.code(), Some(1));
        assert!(stderr(&out).contains(words), "{}", stderr(&out));
        assert_eq!(stderr(&out).lines().count(), 1);
    }
}

/// docker before version 25 calls `nvidia-container-runtime-hook prestart` for `--gpus`, under which name the hook may lie.
#[test]
fn a_container_that_another_runtime_would_start_without_its_gpus_does_not_start() {
    let out = with_input(Command::new(HOOK).arg("prestart"), b"{}");
    assert_eq!(out.status.code(), Some(5));
    assert!(stderr(&out).contains("use --runtime nvbind"), "{}", stderr(&out));
    assert_eq!(stderr(&out).lines().count(), 1);
}
