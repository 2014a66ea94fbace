//! Root file systems for containers, made once per machine.

use crate::{check, make_dir};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs of [`small_rootfs`], each with the libraries it needs.
const SMALL_PROGRAMS: [&str; 24] = [
    "bash", "cat", "dash", "dd", "echo", "env", "false", "grep", "head", "id", "ldconfig", "ldd", "ls", "mknod",
    "mount", "od", "readlink", "sh", "sleep", "stat", "stty", "true", "uname", "wc",
];

/// Libraries of glibc and gcc that no program of [`small_rootfs`] needs, but `nvidia-smi` and the driver do.
const SMALL_LIBRARIES: [&str; 5] = [
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
];

/// The folder that keeps what is slow to make: `NVBIND_TEST_CACHE`, else `/var/cache/nvbind-test`.
pub fn cache_dir() -> PathBuf {
    let dir = std::env::var_os("NVBIND_TEST_CACHE").map_or_else(|| "/var/cache/nvbind-test".into(), PathBuf::from);
    make_dir(&dir);
    dir
}

/// A Debian 12 root file system (`mmdebstrap --variant=minbase`). Shared by all tests: never write to it.
pub fn debian_rootfs() -> PathBuf {
    cached("bookworm-rootfs", |dir| {
        check(
            Command::new("mmdebstrap")
                .args(["--quiet", "--variant=minbase", "bookworm"])
                .arg(dir),
        );
    })
}

/// A few MiB out of [`debian_rootfs`]: a shell, the usual small programs, glibc; enough for `nvidia-smi`. Shared by all tests: never write to it.
pub fn small_rootfs() -> PathBuf {
    let debian = debian_rootfs();
    cached("bookworm-small-rootfs-2", |dir| copy_programs(&debian, dir))
}

/// A tar stream of a folder, for `docker import` and its like: the child's standard output.
pub fn tar_of(rootfs: &Path) -> std::process::Child {
    let mut tar = Command::new("tar");
    tar.args(["--one-file-system", "--numeric-owner", "-C"])
        .arg(rootfs)
        .args(["-c", "."])
        .stdout(Stdio::piped());
    tar.spawn().unwrap_or_else(|error| panic!("cannot start tar: {error}"))
}

/// Makes `<cache>/<name>` under the cache's lock, unless it is there: whole or not at all.
fn cached(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let cache = cache_dir();
    let dir = cache.join(name);
    if dir.exists() {
        return dir;
    }
    let lock =
        File::create(cache.join(".lock")).unwrap_or_else(|error| panic!("cannot lock {}: {error}", cache.display()));
    lock.lock()
        .unwrap_or_else(|error| panic!("cannot lock {}: {error}", cache.display()));
    if dir.exists() {
        return dir;
    }
    let work =
        tempfile::tempdir_in(&cache).unwrap_or_else(|error| panic!("cannot write to {}: {error}", cache.display()));
    let new = work.path().join(name);
    make(&new);
    std::fs::rename(&new, &dir).unwrap_or_else(|error| panic!("cannot rename to {}: {error}", dir.display()));
    dir
}

fn copy_programs(debian: &Path, dir: &Path) {
    for folder in [
        "dev",
        "etc",
        "home",
        "proc",
        "root",
        "run",
        "sys",
        "tmp",
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "var",
    ] {
        make_dir(&dir.join(folder));
    }
    for merged in ["bin", "sbin", "lib", "lib64"] {
        let link = dir.join(merged);
        std::os::unix::fs::symlink(format!("usr/{merged}"), &link)
            .unwrap_or_else(|error| panic!("cannot link {}: {error}", link.display()));
    }
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(dir.join("tmp"), open_to_all).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let found = |name: &&str| {
        ["usr/bin", "usr/sbin"]
            .map(|at| debian.join(at).join(name))
            .into_iter()
            .find(|path| path.exists())
    };
    let programs: Vec<PathBuf> = SMALL_PROGRAMS.iter().filter_map(found).collect();
    let mut wanted: Vec<PathBuf> = [
        "etc/passwd",
        "etc/group",
        "etc/ld.so.conf",
        "etc/ld.so.conf.d",
        "etc/ld.so.cache",
    ]
    .map(PathBuf::from)
    .to_vec();
    wanted.extend(programs.iter().map(|path| relative(path, debian)));
    wanted.extend(libraries(debian, &programs));
    let folder = Path::new("/usr/lib/x86_64-linux-gnu");
    let more = SMALL_LIBRARIES
        .iter()
        .flat_map(|name| link_and_target(debian, &folder.join(name)));
    wanted.extend(more);
    wanted.sort();
    wanted.dedup();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(debian).arg("-c").args(&wanted).stdout(Stdio::piped());
    let mut tar = tar.spawn().unwrap_or_else(|error| panic!("cannot start tar: {error}"));
    let stream = tar.stdout.take().map_or_else(Stdio::null, Stdio::from);
    check(
        Command::new("tar")
            .arg("-C")
            .arg(dir)
            .args(["--keep-directory-symlink", "-x"])
            .stdin(stream),
    );
    assert!(
        tar.wait().is_ok_and(|status| status.success()),
        "tar of {} failed",
        debian.display()
    );
}

/// The shared libraries (links and what they point to) that programs of a root file system need, as paths below it.
fn libraries(root: &Path, programs: &[PathBuf]) -> Vec<PathBuf> {
    let inside = programs.iter().map(|path| Path::new("/").join(relative(path, root)));
    // ldd prints "name => path (address)", or "path (address)" for the dynamic loader. It fails after all of that when
    // one of them is a script or static.
    let output = Command::new("chroot")
        .arg(root)
        .arg("/usr/bin/ldd")
        .args(inside)
        .output();
    let output = output.unwrap_or_else(|error| panic!("cannot run ldd in {}: {error}", root.display()));
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut paths: Vec<PathBuf> = printed
        .split_whitespace()
        .filter(|word| word.starts_with("/lib") || word.starts_with("/usr/lib"))
        .filter(|word| !word.ends_with(':'))
        .flat_map(|word| link_and_target(root, Path::new(word)))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

fn link_and_target(root: &Path, path: &Path) -> Vec<PathBuf> {
    let link = root.join(relative(path, Path::new("/")));
    let real = |path: &Path| {
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        parent
            .zip(path.file_name().map(OsStr::to_owned))
            .map(|(parent, name)| relative(&parent.join(name), root))
    };
    let target = link.canonicalize().ok().map(|target| relative(&target, root));
    real(&link).into_iter().chain(target).collect()
}

fn relative(path: &Path, base: &Path) -> PathBuf {
    path.strip_prefix(base).unwrap_or(path).to_owned()
}
