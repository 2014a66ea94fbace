//! Machines, the programs that are copied there, and plans.

use nvbind_cloud::agent::{AgentState, MetadataSource, Phase, Plan, Report, StopOrder};
use nvbind_cloud::host::{Follow, Kit, Node, Target};
use nvbind_testkit::{Machines, check, small_rootfs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Enough for what takes a second.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);
pub(crate) const STOP: StopOrder = StopOrder {
    grace_seconds: 2,
    checkpoint: false,
};

/// The programs as they are installed, without what debuggers want: they are copied often.
pub(crate) fn kit_folder() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let programs = [
            nvbind_testkit::program("nvbind"),
            nvbind_testkit::program("nvbind-runtime"),
            nvbind_testkit::program("nvbind-hook"),
            nvbind_testkit::library("nvbind-sim-nvml"),
        ];
        let dir = programs[0].with_file_name("kit");
        std::fs::create_dir_all(&dir).unwrap();
        let work = tempfile::tempdir_in(&dir).unwrap();
        for program in programs {
            let name = program.file_name().unwrap();
            let stripped = work.path().join(name);
            check(
                Command::new("strip")
                    .arg("--strip-debug")
                    .arg("-o")
                    .arg(&stripped)
                    .arg(&program),
            );
            std::fs::rename(&stripped, dir.join(name)).unwrap();
        }
        dir
    })
}

pub(crate) fn kit() -> Kit {
    static KIT: OnceLock<Kit> = OnceLock::new();
    KIT.get_or_init(|| Kit::beside(&kit_folder().join("nvbind")).unwrap())
        .clone()
}

/// A machine that has just been made, as a cloud's.
pub(crate) fn fresh(machines: &Machines, address: &str, name: &str) -> Target {
    let known = machines.dir().join("fresh_hosts");
    Target::fresh("root", address, machines.key(), known, name).unwrap()
}

/// Machines of which one is up and prepared.
pub(crate) fn prepared(profile: &str, cloud: Option<&str>) -> (Machines, Node) {
    let machines = Machines::new(&[("NVBIND_SIM", profile)]);
    let address = machines.boot("m1", "root", cloud);
    let mut node = Node::connect(fresh(&machines, &address, "m1")).unwrap();
    node.prepare(&kit(), 1).unwrap();
    (machines, node)
}

/// A plan that runs a shell script in a container with one GPU.
pub(crate) fn plan(token: &str, script: &str) -> Plan {
    let rootfs = small_rootfs();
    let script = script.replace('\\', "\\\\").replace('"', "\\\"");
    Plan {
        deployment: "test".into(),
        node: 0,
        token: token.into(),
        workload: format!(
            "rootfs = \"{}\"\ngpu = \"0\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n",
            rootfs.display()
        ),
        environment: [].into(),
        setup: None,
        checkpoint: None,
        grace_seconds: 5,
        metadata: MetadataSource::None,
        metadata_url: None,
        log_mib: 1,
    }
}

/// The first report that is so.
pub(crate) fn until(follow: &mut Follow, what: &str, is_so: impl Fn(&Report) -> bool) -> Report {
    for report in follow.by_ref() {
        let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
        if is_so(&report) {
            return report;
        }
        assert_eq!(report.agent, AgentState::Alive, "{what}: {report:?}");
    }
    panic!("{what}: no more reports")
}

/// Waits until the workload runs and has printed a line that holds `word`.
pub(crate) fn wait_for_line(node: &Node, token: &str, word: &str) {
    nvbind_testkit::wait_until(word, || logs(node, token).contains(word));
}

pub(crate) fn logs(node: &Node, token: &str) -> String {
    let mut text = Vec::new();
    node.logs(token, None, false, &mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

pub(crate) fn run_to_end(node: &Node, plan: &Plan) -> Report {
    node.start(plan).unwrap();
    let mut follow = node.follow(&plan.token, SILENCE).unwrap();
    until(&mut follow, "the end", |report| report.phase == Phase::Ended)
}

/// What a command there prints.
pub(crate) fn shell(node: &mut Node, script: &str) -> String {
    let output = node.ssh().run(&["sh", "-c", script], b"", SILENCE).unwrap();
    output.text()
}
