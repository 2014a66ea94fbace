//! The driver's parameters in a container: its libraries are told to leave device nodes alone.

use crate::support::{HOOK, Image, stderr, stdout, write};
use std::process::{Command, Output};

const PARAMS: &str = "proc/driver/nvidia/params";
const TEXT: &str = "RmLogonRC: 1\nModifyDeviceFiles: 1\nDeviceFileMode: 438\n";

/// Runs the hook in a mount namespace of its own, then a shell command there.
fn run(image: &Image, then: &str) -> Output {
    let params = image.root(PARAMS);
    let script = format!(
        "{HOOK} create-container --no-device-node-modification || exit 9; cd / && P={} && {then}",
        params.display()
    );
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    image.run_as(Command::new("/usr/bin/unshare").args(["--mount", "/bin/sh", "-c", &format!("PATH={path}; {script}")]))
}

#[test]
fn nodes_are_left_alone_and_the_files_stay() {
    let image = Image::new();
    write(&image.root(PARAMS), TEXT);
    let out = run(
        &image,
        "cat $P; (echo x >> $P); grep -c nvidia/params /proc/self/mountinfo",
    );
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(stdout(&out), format!("{}1\n", TEXT.replace("Files: 1", "Files: 0")));
    assert!(stderr(&out).contains("Read-only file system"), "{}", stderr(&out));
    // What was mounted over is as it was, outside of that namespace.
    assert_eq!(std::fs::read_to_string(image.root(PARAMS)).unwrap(), TEXT);
}

#[test]
fn what_is_no_such_file_is_let_be() {
    let image = Image::new();
    let mounted = "grep -c nvidia/params /proc/self/mountinfo";
    let out = run(&image, mounted);
    assert_eq!((stdout(&out).as_str(), stderr(&out).as_str()), ("0\n", ""));
    for text in ["ModifyDeviceFiles: 0\n", "", "\u{fffd}ModifyDeviceFiles: 1x\n"] {
        write(&image.root(PARAMS), text);
        let out = run(&image, mounted);
        assert_eq!((stdout(&out).as_str(), stderr(&out).as_str()), ("0\n", ""), "{text}");
    }
}

#[test]
fn a_link_of_the_image_leads_nowhere_else() {
    let image = Image::new();
    let outside = image.canary("params");
    write(&outside.join("params"), TEXT);
    image.link("proc/driver/nvidia", &outside);
    let out = run(&image, &format!("cat {}", outside.join("params").display()));
    assert_eq!(stdout(&out), TEXT, "{}", stderr(&out));
}
