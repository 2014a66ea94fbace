//! `kill -9` of `nvbind run` at every step: the next command finds what is left and cleans it up.
//!
//! strace kills the process as it enters the N-th system call that has an effect, for every N of its whole life.

use crate::support::Machine;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// System calls with an effect that outlives the process, or that another process waits for.
const EFFECTS: &str = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,link,linkat,mount,umount2,\
    move_mount,mknod,mknodat,clone,clone3,vfork,fork,kill,tgkill,pidfd_send_signal,write,pwrite64,ftruncate,sendmsg,sendto,\
    connect,unshare,setns,chmod,fchmod,fchmodat,chown,fchown,fdatasync,fsync,wait4,waitid,epoll_wait,execve";

/// Runs `nvbind` under strace; kills it at its N-th call with an effect, if one is given. Returns how many there were.
pub(crate) fn traced(machine: &Machine, arguments: &[&str], kill_at: Option<usize>) -> usize {
    let log = machine.dir().join("strace.log");
    let nvbind = machine.nvbind();
    let mut command = Command::new("strace");
    command.envs(nvbind.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg("-o").arg(&log).arg("-e").arg(format!("trace={EFFECTS}"));
    if let Some(n) = kill_at {
        command
            .arg("-e")
            .arg(format!("inject={EFFECTS}:signal=SIGKILL:when={n}"));
    }
    command
        .arg(nvbind.get_program())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = command.status().expect("strace");
    let text = fs::read_to_string(&log).expect("strace's log");
    assert!(kill_at.is_some() || status.success(), "{arguments:?}: {status}\n{text}");
    text.lines()
        .filter(|line| line.contains('(') && !line.starts_with("---") && !line.starts_with("+++"))
        .count()
}

/// Everything that a container of this machine could leave behind: mounts, cgroups, processes, folders.
fn traces(machine: &Machine, name: &str) -> Vec<String> {
    let dir = machine.dir().display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let mut found: Vec<String> = mounts
        .lines()
        .filter(|line| line.contains(&dir))
        .map(str::to_owned)
        .collect();
    for folder in ["state/run", "state/containers"] {
        let entries = fs::read_dir(machine.dir().join(folder)).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path().display().to_string()));
    }
    found.extend(processes_of(machine.dir(), name));
    found
}

/// Processes that were started with this name or that live in a root file system of this machine.
fn processes_of(dir: &Path, name: &str) -> Vec<String> {
    let of_machine = |pid: &Path| {
        let command = fs::read(pid.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let root = fs::read_link(pid.join("root")).is_ok_and(|root| root.starts_with(dir));
        (root || command.contains(name)).then(|| format!("{}: {command}", pid.display()))
    };
    let processes = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .map(|entry| entry.path());
    processes
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok())
        })
        .filter_map(|pid| of_machine(&pid))
        .collect()
}

fn cgroups() -> Vec<String> {
    let output = Command::new("find")
        .args(["/sys/fs/cgroup", "-mindepth", "2", "-type", "d", "-path", "*nvbind*"])
        .output()
        .expect("find");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The ids of the containers that are listed, so that the cgroups of other tests are not taken for ours.
fn id_of(machine: &Machine, name: &str) -> Option<String> {
    let database = machine.dir().join("state/nvbind.db");
    let query = format!("select id from binding where name = '{name}'");
    let output = Command::new("sqlite3").arg(database).arg(query).output().ok()?;
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!id.is_empty()).then_some(id)
}

fn assert_nothing_is_left(machine: &Machine, name: &str, at: usize) {
    let id = id_of(machine, name);
    assert_eq!(
        machine.ok(&["ps", "--all", "--format", "json"]).trim(),
        "[]",
        "killed at call {at}"
    );
    let left = traces(machine, name);
    assert!(left.is_empty(), "killed at call {at}: {left:#?}");
    if let Some(id) = id {
        let left: Vec<String> = cgroups().into_iter().filter(|path| path.contains(&id)).collect();
        assert!(left.is_empty(), "killed at call {at}: {left:#?}");
    }
}

#[test]
fn a_run_killed_at_any_step_leaves_nothing() {
    let machine = Machine::new("l40s");
    let rootfs = machine.rootfs();
    let name = format!("crash-{}", std::process::id());
    let arguments = [
        "run",
        "--name",
        &name,
        "--gpu",
        "1",
        "--isolation",
        "exclusive",
        "--rootfs",
        &rootfs,
        "--",
        "sleep",
        "0.01",
    ];
    machine.ok(&arguments);
    let calls = traced(&machine, &arguments, None);
    assert!(calls > 20, "only {calls} calls with an effect were seen");
    for at in 1..=calls {
        traced(&machine, &arguments, Some(at));
        assert_nothing_is_left(&machine, &name, at);
    }
    machine.ok(&arguments);
}

#[test]
fn a_supervisor_that_is_killed_is_found() {
    let machine = Machine::new("l40s");
    let rootfs = machine.rootfs();
    let name = format!("orphan-{}", std::process::id());
    let exclusive = ["run", "--isolation", "exclusive", "--gpu", "0", "--rootfs", &rootfs];
    machine.ok(&[&exclusive[..], &["--detach", "--name", &name, "--", "sleep", "1000"]].concat());
    let listed: serde_json::Value =
        serde_json::from_str(&machine.ok(&["ps", "--format", "json"])).expect("ps prints JSON");
    let container = listed[0]["pid"].as_u64().expect("pid");
    let status = fs::read_to_string(format!("/proc/{container}/status")).expect("status");
    let supervisor = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .expect("PPid")
        .trim()
        .to_owned();
    let command = fs::read(format!("/proc/{supervisor}/cmdline")).expect("cmdline");
    assert!(
        String::from_utf8_lossy(&command).contains("supervise"),
        "{supervisor} is no supervisor"
    );
    nvbind_testkit::check(Command::new("kill").args(["-KILL", &supervisor]));
    nvbind_testkit::wait_until("the end of the supervisor", || is_dead(&supervisor));
    // The next command ends the container and gives the GPU back; its log stays until it is removed.
    machine.ok(&[&exclusive[..], &["--", "true"]].concat());
    assert!(
        is_dead(&container.to_string()),
        "the container outlived the command that cleans up"
    );
    machine.ok(&["rm", &name]);
    assert_nothing_is_left(&machine, &name, 0);
}

fn is_dead(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z'))
}
