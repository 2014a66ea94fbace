//! Images that try to make the hook, which is the host's root, write outside of them (CVE-2024-0132 to -0137,
//! CVE-2025-23267, CVE-2025-23359, CVE-2026-24260).

use crate::support::{HOOK, Image, stderr, write};
use nvbind_testkit::check;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// What an image can put in the hook's way.
const NAMES: [&str; 13] = [
    "usr",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "usr/lib/x86_64-linux-gnu/libcuda.so",
    "usr/lib/x86_64-linux-gnu/gbm",
    "usr/lib/x86_64-linux-gnu/gbm/nvidia-drm_gbm.so",
    "etc",
    "etc/ld.so.cache",
    "etc/ld-musl-x86_64.path",
    "etc/ld.so.conf.d",
    "etc/alpine-release",
    "lib",
];

/// The links that lead to a path of the host, or would.
fn links_to(target: &Path) -> [PathBuf; 5] {
    let name = target.strip_prefix("/").unwrap();
    [
        target.to_owned(),
        Path::new("../../../../../../../../..").join(name),
        Path::new("/proc/self/root").join(name),
        Path::new("/proc/1/root").join(name),
        Path::new("hop").join(name),
    ]
}

#[test]
fn no_link_leads_out() {
    for name in NAMES {
        for target in ["", "file", "absent"] {
            for link in 0..5 {
                let image = Image::new();
                write(&image.root("lib/ld-musl-x86_64.so.1"), "");
                image.link(name, &links_to(&image.canary(target))[link]);
                // The last class goes through a link beside it.
                let beside = Path::new(name).parent().unwrap().join("hop");
                if !image.root(name).parent().unwrap().is_symlink() {
                    image.link(beside.to_str().unwrap(), "/");
                }
                for out in [image.run_shim(), image.run(&Image::arguments())] {
                    assert!(out.status.success(), "{name} {target} {link}: {}", stderr(&out));
                    image.assert_unharmed(&format!("{name} to {target}, class {link}"));
                }
            }
        }
    }
}

#[test]
fn a_real_proc_in_the_root_leads_nowhere() {
    let image = Image::new();
    std::fs::create_dir_all(image.root("proc")).unwrap();
    image.link(
        "etc",
        Path::new("/proc/self/root").join(image.canary("").strip_prefix("/").unwrap()),
    );
    image.link(
        "usr/lib/x86_64-linux-gnu/gbm",
        Path::new("/proc/self/cwd").join(image.canary("").strip_prefix("/").unwrap()),
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "/bin/sh", "-c", "mount -t proc proc $0 && exec \"$@\""])
        .arg(image.root("proc"));
    let out = image.run_as(command.arg(HOOK).args(Image::arguments()).env("PATH", "/bin:/sbin"));
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stderr(&out).contains("ld.so.cache not written"), "{}", stderr(&out));
    image.assert_unharmed("proc");
}

#[test]
fn links_inside_the_root_are_followed() {
    let image = Image::new();
    std::fs::rename(image.root("usr/lib/x86_64-linux-gnu"), image.root("real")).unwrap();
    image.link("usr/lib/x86_64-linux-gnu", "/real");
    std::fs::rename(image.root("etc"), image.root("settings")).unwrap();
    image.link("etc", "../../settings");
    let out = image.run(&Image::arguments());
    assert_eq!(stderr(&out), "");
    assert_eq!(
        std::fs::read_link(image.root("real/libcuda.so.1")).unwrap(),
        Path::new("libcuda.so.535.1")
    );
    assert!(image.root("settings/ld.so.cache").is_file());
}

#[test]
fn a_link_in_the_caches_place_is_replaced() {
    let image = Image::new();
    image.link("etc/ld.so.cache", image.canary("file"));
    write(&image.root("etc/alpine-release"), "");
    image.link("etc/ld-musl-x86_64.path", image.canary("file"));
    image.run(&Image::arguments());
    for name in ["etc/ld.so.cache", "etc/ld-musl-x86_64.path"] {
        assert!(std::fs::symlink_metadata(image.root(name)).unwrap().is_file(), "{name}");
    }
    image.assert_unharmed("replaced");
}

#[test]
fn pipes_and_folders_do_not_hold_the_hook_up() {
    for name in [
        "etc/ld.so.cache",
        "etc/ld-musl-x86_64.path",
        "usr/lib/x86_64-linux-gnu/libcuda.so.535.1",
    ] {
        for pipe in [true, false] {
            let image = Image::new();
            write(&image.root("etc/alpine-release"), "");
            let path = image.root(name);
            let _ = std::fs::remove_file(&path);
            if pipe {
                mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
            } else {
                std::fs::create_dir(&path).unwrap();
            }
            for out in [image.run_shim(), image.run(&Image::arguments())] {
                assert!(out.status.success(), "{name}: {}", stderr(&out));
                image.assert_unharmed(name);
            }
        }
    }
}

#[test]
fn nothing_of_the_image_is_executed() {
    let image = Image::new();
    for program in ["sbin/ldconfig", "usr/sbin/ldconfig", "bin/sh", "sbin/ldconfig.real"] {
        crate::support::script(
            &image.root(program),
            &format!("touch {}", image.canary("ran").display()),
        );
    }
    write(&image.root("etc/ld.so.preload"), "/poc.so\n");
    image.run_shim();
    image.run(&Image::arguments());
    image.assert_unharmed("executed");
}

/// Starts in each race; `make attacks` sets `NVBIND_TEST_RACE_STARTS` to 1000.
fn rounds() -> usize {
    let set = std::env::var("NVBIND_TEST_RACE_STARTS");
    set.map_or(200, |text| text.parse().unwrap())
}

/// Another process with the same volume swaps a folder for a link while the hook runs.
fn race(name: &str) {
    let rounds = rounds();
    let image = Image::new();
    write(&image.root("etc/alpine-release"), "");
    let (folder, evil) = (image.root(name), image.root("evil"));
    std::os::unix::fs::symlink(image.canary(""), &evil).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &folder, CWD, &evil, RenameFlags::EXCHANGE).unwrap();
                // Long enough for others to come in between, short enough to hit between two of their calls.
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        });
        for _ in 0..rounds {
            assert!(image.run(&Image::arguments()).status.success());
            assert!(image.run_shim().status.success());
        }
        stop.store(true, Ordering::Relaxed);
    });
    image.assert_unharmed(name);
    check(Command::new("rm").arg("-rf").arg(image.root("")));
}

#[test]
fn swapping_the_library_folder_wins_nothing() {
    race("usr/lib/x86_64-linux-gnu");
}

#[test]
fn swapping_etc_wins_nothing() {
    race("etc");
}
