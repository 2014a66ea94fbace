//! Containers started by the shim and runc.

use crate::support::{Host, LIBRARY_DIR, stderr, stdout, with_input};
use nvbind_testkit::check;
use std::process::Command;

#[test]
fn a_container_gets_its_gpu_and_cannot_open_another() {
    let host = Host::new();
    let out = host.run(
        "echo /dev/nvidia*; cat /dev/nvidia0; mknod /dev/other c 195 1 && cat /dev/other; mknod /dev/ctl c 195 255 && cat /dev/ctl",
        &["NVIDIA_VISIBLE_DEVICES=0"],
    );
    assert_eq!(stdout(&out), "/dev/nvidia0 /dev/nvidiactl\n", "{}", stderr(&out));
    let errors = stderr(&out);
    // Without a driver behind it, an open that the kernel lets through ends so.
    assert!(errors.contains("/dev/nvidia0: No such device or address"), "{errors}");
    assert!(errors.contains("/dev/ctl: No such device or address"), "{errors}");
    assert!(errors.contains("/dev/other: Operation not permitted"), "{errors}");
}

#[test]
fn the_loader_finds_the_driver() {
    let host = Host::new();
    let out = host.run(
        "ldconfig -p | grep libcuda; readlink /opt/driver/lib/libcuda.so /opt/driver/lib/libcuda.so.1; \
         LD_PRELOAD=libcuda.so.1 /bin/true; ldconfig -p | grep -c libc.so.6; echo $NVIDIA_VISIBLE_DEVICES",
        &["NVIDIA_VISIBLE_DEVICES=all"],
    );
    let cached = format!("\tlibcuda.so.1 (libc6,x86-64) => {LIBRARY_DIR}/libcuda.so.1\n");
    assert_eq!(
        stdout(&out),
        format!("{cached}libcuda.so.1\nlibcuda.so.535.1\n1\nvoid\n")
    );
    assert_eq!(stderr(&out), "");
}

#[test]
fn a_second_start_on_the_same_root_changes_nothing() {
    let host = Host::new();
    host.run("true", &["NVIDIA_VISIBLE_DEVICES=all"]);
    let cache = host.path("bundle/rootfs/etc/ld.so.cache");
    let (bytes, time) = (
        std::fs::read(&cache).unwrap(),
        std::fs::metadata(&cache).unwrap().modified().unwrap(),
    );
    assert!(host.run("true", &["NVIDIA_VISIBLE_DEVICES=all"]).status.success());
    assert_eq!(
        (
            std::fs::read(&cache).unwrap(),
            std::fs::metadata(&cache).unwrap().modified().unwrap()
        ),
        (bytes, time)
    );
}

#[test]
fn capabilities_leave_out_what_was_not_asked_for() {
    let host = Host::new();
    let out = host.run(
        "ls /opt/driver/lib 2>&1; ldconfig -p | grep -c libcuda",
        &["NVIDIA_VISIBLE_DEVICES=1", "NVIDIA_DRIVER_CAPABILITIES=utility"],
    );
    assert!(
        stdout(&out).ends_with("No such file or directory\n0\n"),
        "{}{}",
        stdout(&out),
        stderr(&out)
    );
}

#[test]
fn none_gives_the_driver_without_nodes() {
    let host = Host::new();
    let out = host.run(
        "echo /dev/nvidia*; ls /opt/driver/lib",
        &["NVIDIA_VISIBLE_DEVICES=none"],
    );
    assert_eq!(
        stdout(&out),
        "/dev/nvidia*\nlibcuda.so\nlibcuda.so.1\nlibcuda.so.535.1\n",
        "{}",
        stderr(&out)
    );
}

#[test]
fn a_container_that_asks_for_nothing_is_left_alone() {
    let host = Host::new();
    for env in [&[][..], &["NVIDIA_VISIBLE_DEVICES=void"]] {
        let bundle = host.bundle("echo /dev/nvidia*", env);
        let before = std::fs::metadata(bundle.join("config.json")).unwrap();
        let out = host.run_command(&bundle).output().unwrap();
        assert_eq!(stdout(&out), "/dev/nvidia*\n", "{}", stderr(&out));
        let after = std::fs::metadata(bundle.join("config.json")).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    }
}

#[test]
fn annotations_choose_the_devices() {
    let host = Host::new();
    let bundle = host.bundle("echo /dev/nvidia*", &["NVIDIA_VISIBLE_DEVICES=0"]);
    let mut config = host.config();
    config["annotations"] = serde_json::json!({ "cdi.k8s.io/plugin": "nvidia.com/gpu=GPU-1" });
    std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let out = host.run_command(&bundle).output().unwrap();
    assert_eq!(stdout(&out), "/dev/nvidia1 /dev/nvidiactl\n", "{}", stderr(&out));
}

#[test]
fn exit_codes_signals_and_input_pass_through() {
    let host = Host::new();
    let gpu = ["NVIDIA_VISIBLE_DEVICES=0"];
    assert_eq!(host.run("exit 42", &gpu).status.code(), Some(42));
    // runc reports a container that a signal ended as a shell does.
    assert_eq!(
        host.run("/bin/sh -c 'kill -USR1 $$'", &gpu).status.code(),
        Some(128 + 10)
    );
    let bundle = host.bundle("cat", &gpu);
    assert_eq!(
        with_input(&mut host.run_command(&bundle), b"through\n").stdout,
        b"through\n"
    );
}

#[test]
fn create_start_and_delete_are_runcs_own() {
    let host = Host::new();
    let bundle = host.bundle("exit 0", &["NVIDIA_VISIBLE_DEVICES=0"]);
    let id = host.dir.path().file_name().unwrap().to_owned();
    let command = |words: &[&str]| {
        let mut shim = host.shim();
        shim.arg("--root").arg(host.path("state")).args(words);
        shim
    };
    let bundle = bundle.to_str().unwrap();
    // The container keeps the standard output open: it is not waited for.
    let mut create = command(&["create", "--bundle", bundle]);
    assert!(
        create
            .arg(&id)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let state = check(command(&["state"]).arg(&id));
    assert!(state.contains("\"status\": \"created\""), "{state}");
    check(command(&["start"]).arg(&id));
    check(command(&["delete", "--force"]).arg(&id));
}

#[test]
fn a_read_only_root_starts() {
    let host = Host::new();
    let bundle = host.bundle(
        "ls /opt/driver/lib; ldconfig -p | grep -c libcuda",
        &["NVIDIA_VISIBLE_DEVICES=0"],
    );
    let target = bundle.join("rootfs/opt/driver/lib/libcuda.so.535.1");
    crate::support::write(&target, "");
    let run = host.run_command(&bundle);
    let mut inside = Command::new("unshare");
    inside.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind $0 $0 && mount -o remount,bind,ro $0 && exec \"$@\"",
    ]);
    inside
        .arg(bundle.join("rootfs"))
        .arg(run.get_program())
        .args(run.get_args());
    inside.env("NVBIND_CONFIG", host.path("config.toml"));
    let out = inside.output().unwrap();
    assert_eq!(stdout(&out), "libcuda.so.535.1\n0\n", "{}", stderr(&out));
}
