//! `kill -9` at every step: whatever nvbind was about to do, the next command finds and removes all that it left.

use super::{Home, NATIVE, cgroups};
use nvbind_testkit::{small_image, wait_until};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// System calls that change something outside of the process, or wait for such a change.
const EFFECTS: &str = "mkdir,mkdirat,write,pwrite64,writev,rename,unlink,unlinkat,rmdir,symlink,symlinkat,mknodat,clone3,clone,\
                       fork,vfork,mount,unshare,setns,chdir,bind,connect,sendto,sendmsg,recvmsg,flock,fcntl,ftruncate,\
                       waitid,wait4,ppoll,poll,kill,pidfd_open,close_range,exit_group";

/// More steps than any run has: an end that is never reached is a mistake of the test.
const TOO_MANY: usize = 2000;

/// strace's arguments for "SIGKILL at the n-th of these calls" of one process, without its children.
fn killer(step: usize) -> Vec<String> {
    let inject = format!("inject={EFFECTS}:signal=SIGKILL:when={step}");
    vec!["-qq".into(), "-o".into(), "/dev/null".into(), "-e".into(), inject]
}

/// Runs to the end of the program itself: what it leaves behind may hold its output open.
fn code_of(command: &mut Command) -> Option<i32> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .code()
}

/// Kills at step after step until a run gets through; returns how many steps there were. `name` is this test's own: cgroups
/// are the machine's, and the tests of this process run side by side.
fn kill_at_every_step(home: &Home, name: &str, start: impl Fn(usize, &str) -> Command) -> usize {
    for step in 1..TOO_MANY {
        let id = format!("{name}-{}-{step}", std::process::id());
        let code = code_of(&mut start(step, &id));
        let recovered = home.ended(&["recover"]);
        assert_eq!(recovered.code, Some(0), "step {step}: {}", recovered.stderr);
        assert_eq!(cgroups(&id), Vec::<PathBuf>::new(), "step {step}");
        if code == Some(0) {
            return step - 1;
        }
        home.assert_nothing_is_left(&format!("step {step}"));
    }
    panic!("no end after {TOO_MANY} steps");
}

#[test]
fn a_run_in_the_foreground() {
    let home = Home::new();
    let rootfs = home.rootfs();
    let steps = kill_at_every_step(&home, "rootfs", |step, id| {
        let mut strace = Command::new("strace");
        strace.args(killer(step)).arg(&*NATIVE).arg(home.state());
        strace
            .args(["run", "--network", "none", "--id", id, "--rootfs"])
            .arg(&rootfs)
            .args(["--", "true"]);
        strace
    });
    assert!(steps > 30, "only {steps} steps were seen");
}

#[test]
fn a_run_of_an_image() {
    let home = Home::new();
    let image = small_image(home.dir.path());
    let run = |id: &str| {
        let mut command = home.native(&["run", "--id", id, "--image"]);
        command.arg(&image).args(["--", "sh", "-c", "echo x > /x"]);
        command
    };
    assert_eq!(code_of(&mut run("first")), Some(0));
    let steps = kill_at_every_step(&home, "image", |step, id| {
        let mut strace = Command::new("strace");
        strace
            .args(killer(step))
            .arg(run(id).get_program())
            .args(run(id).get_args());
        strace
    });
    assert!(steps > 30, "only {steps} steps were seen");
}

#[test]
fn a_supervisor_in_the_background() {
    let home = Home::new();
    let rootfs = home.rootfs();
    let mut steps = 0;
    for step in 1..TOO_MANY {
        steps = step;
        let id = format!("background-{}-{step}", std::process::id());
        let supervisor = format!("strace {} /proc/self/exe", killer(step).join(" "));
        // /proc/self/exe would be strace itself.
        let supervisor = supervisor.replace("/proc/self/exe", &NATIVE.to_string_lossy());
        let mut run = home.native(&["run", "-d", "--id", &id, "--supervisor", &supervisor, "--rootfs"]);
        code_of(run.arg(&rootfs).args(["--", "true"]));
        wait_until("the supervisor's end", || {
            super::processes_naming(&home.state()).is_empty()
        });
        assert_eq!(home.ended(&["recover"]).code, Some(0), "step {step}");
        assert_eq!(cgroups(&id), Vec::<PathBuf>::new(), "step {step}");
        let listed = home.ended(&["ps"]).stdout;
        if !listed.is_empty() {
            assert!(listed.contains("exited"), "step {step}: {listed}");
            assert_eq!(home.ended(&["rm", &id]).code, Some(0), "step {step}");
        }
        home.assert_nothing_is_left(&format!("step {step}"));
        if listed.ends_with("Some(0)\n") {
            break;
        }
    }
    assert!((30..TOO_MANY - 1).contains(&steps), "{steps} steps");
}
