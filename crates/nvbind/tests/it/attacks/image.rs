//! Hostile images, and the canaries that they must not reach.

use crate::support::Machine;
use nvbind_testkit::{check, temp_dir};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What an image sets to get its code into a program of the host (CVE-2025-23266), or to mislead it.
pub(super) const HOSTILE_ENV: [&str; 5] = [
    "LD_PRELOAD=/proc/self/cwd/poc.so",
    "LD_AUDIT=/proc/self/cwd/poc.so",
    "LD_LIBRARY_PATH=/proc/self/cwd",
    "NVBIND_CONFIG=/proc/self/cwd/config.toml",
    "NVIDIA_CTK_CONFIG_FILE_PATH=/proc/self/cwd/config.toml",
];

/// What stands in a path's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A link to an absolute path of the host.
    Absolute,
    /// The same with more `..` than there are folders.
    Dots,
    /// Through another link.
    Hop,
    /// Through procfs to the root of another process.
    Proc,
    /// A link to something of the host that is not there, and must not be there after.
    Dangling,
    /// A pipe, which blocks who opens it.
    Pipe,
    /// A folder.
    Folder,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Absolute,
        Self::Dots,
        Self::Hop,
        Self::Proc,
        Self::Dangling,
        Self::Pipe,
        Self::Folder,
    ];
}

/// The root of a hostile image, and the canaries beside it.
pub(super) struct Image {
    dir: TempDir,
    /// A folder beside the canaries, so that `..` leads to them.
    rootfs: PathBuf,
}

impl Image {
    /// An image with that in the place of each path.
    pub(super) fn new(machine: &Machine, paths: &[&str], kind: Kind) -> Self {
        let dir = temp_dir("hostile");
        let image = Self {
            rootfs: dir.path().join("rootfs"),
            dir,
        };
        // Every kind of loader, and programs that must not run.
        for folder in ["bin", "lib", "proc", "sys", "dev", "sbin", "etc", "tmp", "root"] {
            std::fs::create_dir_all(image.rootfs().join(folder)).expect("folder");
        }
        std::fs::copy("/bin/busybox", image.rootfs().join("bin/busybox")).expect("busybox-static");
        std::fs::write(image.rootfs().join("lib/ld-musl-x86_64.so.1"), "").expect("musl");
        std::fs::copy(poc(machine, &image), image.rootfs().join("poc.so")).expect("poc.so");
        for program in ["sbin/ldconfig", "sbin/ldconfig.real", "bin/sh"] {
            let path = image.rootfs().join(program);
            std::fs::write(
                &path,
                format!("#!/bin/busybox sh\necho owned > {}\n", image.canary("ran").display()),
            )
            .expect("script");
            check(Command::new("chmod").arg("755").arg(&path));
        }
        std::fs::create_dir_all(image.canary("")).expect("canary");
        std::fs::write(image.canary("file"), "untouched").expect("canary");
        for path in paths {
            image.place(path, kind);
        }
        image
    }

    pub(super) fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    pub(super) fn canary(&self, name: &str) -> PathBuf {
        self.dir.path().join("canary").join(name)
    }

    fn place(&self, path: &str, kind: Kind) {
        let at = self.rootfs().join(path);
        let _ = std::fs::remove_file(&at);
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir_all(at.parent().expect("parent")).expect("parent");
        let is_folder = !path
            .rsplit('/')
            .next()
            .is_some_and(|name| name.contains('.') && !name.ends_with(".d") || name == "nvidia-smi");
        let canary = self.canary(if is_folder { "" } else { "file" });
        let relative = canary.strip_prefix("/").expect("absolute").to_owned();
        let hop = self.rootfs().join("hop");
        let target = match kind {
            Kind::Absolute => canary,
            Kind::Dots => Path::new("../../../../../../../../../..").join(relative),
            Kind::Proc => Path::new("/proc/1/root").join(relative),
            Kind::Hop => {
                let _ = symlink("/", &hop);
                Path::new("/hop").join(relative)
            }
            Kind::Dangling => self.canary("absent"),
            Kind::Pipe => {
                check(Command::new("mkfifo").arg(&at));
                return;
            }
            Kind::Folder => return std::fs::create_dir_all(&at).expect("folder"),
        };
        symlink(target, at).expect("link");
    }

    /// Nothing of the canaries changed, and no program of the image ran on the host.
    pub(super) fn assert_unharmed(&self, what: &str) {
        let names: Vec<_> = std::fs::read_dir(self.canary(""))
            .expect("canary")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["file"], "{what}");
        let file = self.canary("file");
        assert!(std::fs::symlink_metadata(&file).expect("canary").is_file(), "{what}");
        assert_eq!(std::fs::read_to_string(&file).expect("canary"), "untouched", "{what}");
    }
}

/// A library whose constructor leaves a trace beside the canaries.
fn poc(machine: &Machine, image: &Image) -> PathBuf {
    let source = machine.dir().join("poc.c");
    let library = image.dir.path().join("poc.so");
    let code = "#include <fcntl.h>\n__attribute__((constructor)) static void own(void)";
    let canary = image.canary("owned");
    std::fs::write(
        &source,
        format!("{code} {{ open(\"{}\", O_CREAT, 0644); }}\n", canary.display()),
    )
    .expect("source");
    check(
        Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source),
    );
    library
}

/// Each kind once with all paths that do not lie in one another's way, and once with each of the others.
pub(super) fn combined(paths: &[&'static str]) -> Vec<(Vec<&'static str>, Kind)> {
    let is_leaf = |path: &&str| !paths.iter().any(|other| other.starts_with(&format!("{path}/")));
    let (leaves, parents): (Vec<&str>, Vec<&str>) = paths.iter().copied().partition(is_leaf);
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        cases.push((leaves.clone(), kind));
        cases.extend(parents.iter().map(|path| (vec![*path], kind)));
    }
    cases
}
