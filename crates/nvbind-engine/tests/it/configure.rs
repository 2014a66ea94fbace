//! Engines that are told of the runtime, started with what was written.

mod cri;

use crate::common::shim;
use nvbind_engine::configure::{DEFAULT_NAMES, DropIn, Engine, Request, Source, alias, configure, undo};
use nvbind_testkit::{
    Containerd, Dockerd, DockerdOptions, FakeGpus, PodmanEnv, assert_declared, check, program, small_rootfs, temp_dir,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const IMAGE: &str = "nvbind-test:small";

/// A request for the engine that is installed here.
fn request(engine: Engine, config: &Path, program: &Path) -> Request {
    Request {
        engine,
        config: Some(config.to_owned()),
        drop_in: DropIn::Auto,
        executable: None,
        source: Source::File,
        names: DEFAULT_NAMES.map(str::to_owned).to_vec(),
        program: program.to_owned(),
        set_as_default: false,
        cdi: None,
    }
}

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_lists(output: &Output, nodes: &str) {
    assert_eq!(text(&output.stdout), nodes, "{}", text(&output.stderr));
}

/// The daemon is started with the user's own lines and ours.
fn dockerd(dir: &TempDir, set_as_default: bool, gpus: &FakeGpus, env: &[(&str, String)]) -> Dockerd {
    let config = file(
        dir,
        "daemon.json",
        "{\n    \"log-driver\": \"json-file\",\n    \"shutdown-timeout\": 3\n}\n",
    );
    let mut request = request(Engine::Docker, &config, &gpus.runtime(&shim()));
    request.set_as_default = set_as_default;
    configure(&request, &dir.path().join("state"), false).unwrap();
    let options = DockerdOptions {
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        ..DockerdOptions::default()
    };
    let daemon = Dockerd::start_with(&read(&config), &options);
    daemon.import(&small_rootfs(), IMAGE);
    daemon
}

#[test]
fn docker_starts_containers_by_the_names_that_were_written() {
    let (dir, gpus) = (temp_dir("configure"), FakeGpus::new(4));
    let daemon = dockerd(&dir, false, &gpus, &[]);
    let run = |runtime: &[&str]| {
        let mut docker = daemon.client();
        docker
            .args(["run", "--rm", "--network=none", "-e", "NVIDIA_VISIBLE_DEVICES=1,3"])
            .args(runtime);
        docker
            .args([IMAGE, "sh", "-c", "ls /dev/nvidia* 2>&1"])
            .output()
            .unwrap()
    };
    for name in DEFAULT_NAMES {
        assert_lists(&run(&["--runtime", name]), "/dev/nvidia1\n/dev/nvidia3\n");
    }
    assert!(
        text(&run(&[]).stdout).contains("cannot access"),
        "the default runtime is runc"
    );
    let id = check(daemon.client().args([
        "run",
        "-d",
        "--network=none",
        "--runtime=nvbind",
        "-e",
        "NVIDIA_VISIBLE_DEVICES=2",
        IMAGE,
        "sleep",
        "1000",
    ]));
    let config: Value = serde_json::from_str(&read(&daemon.bundle(id.trim()).join("config.json"))).unwrap();
    assert_declared(&config, &["/dev/nvidia2"]);
    check(daemon.client().args(["rm", "-f", id.trim()]));
}

/// `--gpus` of a docker without CDI: it wants the name of NVIDIA's hook on `PATH`, and gives GPUs by our runtime alone.
#[test]
fn dockers_gpus_option_goes_through_the_runtime() {
    let (dir, gpus) = (temp_dir("configure"), FakeGpus::new(4));
    let hook = program("nvbind-hook");
    assert_eq!(alias::link(dir.path(), &shim(), false).unwrap().len(), 5);
    assert_eq!(
        std::fs::read_link(dir.path().join("nvidia-container-runtime-hook")).unwrap(),
        hook
    );
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let daemon = dockerd(&dir, true, &gpus, &[("PATH", path)]);
    let run = |words: &[&str]| {
        let mut docker = daemon.client();
        docker.args(["run", "--rm", "--network=none"]).args(words);
        docker.args([IMAGE, "sh", "-c", "ls /dev/nvidia*"]).output().unwrap()
    };
    assert_lists(&run(&["--gpus", "device=2"]), "/dev/nvidia2\n");
    assert_lists(&run(&["--gpus", "2"]), "/dev/nvidia0\n/dev/nvidia1\n");
    let refused = run(&["--runtime", "runc", "--gpus", "all"]);
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("use --runtime nvbind"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn containerd_reads_what_was_written_wherever_it_lies() {
    let debian = read(Path::new("/etc/containerd/config.toml"));
    assert!(
        debian.contains("io.containerd.grpc.v1.cri"),
        "Debian's own file has the section:\n{debian}"
    );
    for text in [
        &debian,
        "version = 2\n",
        "",
        "oom_score = -5\n\n[plugins.cri]\n  stream_server_port = \"0\"\n",
    ] {
        let dir = temp_dir("configure");
        let config = file(&dir, "config.toml", text);
        for set_as_default in [false, true] {
            let mut request = request(Engine::Containerd, &config, Path::new("/usr/local/bin/nvbind-runtime"));
            request.set_as_default = set_as_default;
            configure(&request, &dir.path().join("state"), false).unwrap();
            let dump = check(
                Command::new("containerd")
                    .arg("--config")
                    .arg(&config)
                    .args(["config", "dump"]),
            );
            for wanted in ["runtimes.nvbind.options]", "runtimes.nvidia.options]", "runtimes.runc]"] {
                assert!(dump.contains(wanted), "{wanted} is not in:\n{dump}");
            }
            assert_eq!(
                dump.contains("default_runtime_name = \"nvbind\""),
                set_as_default,
                "{dump}"
            );
        }
        undo(Engine::Containerd, None, &dir.path().join("state"), false).unwrap();
        assert_eq!(read(&config), *text);
    }
}

#[test]
fn containerd_is_asked_before_anything_is_written() {
    let dir = temp_dir("configure");
    let broken = "version = 2\n[grpc]\n  gid = \"seven\"\n";
    let config = file(&dir, "config.toml", broken);
    let request = request(Engine::Containerd, &config, Path::new("/usr/local/bin/nvbind-runtime"));
    let state = dir.path().join("state");
    let message = configure(&request, &state, false).unwrap_err().to_string();
    assert!(
        message.contains("containerd does not take") && message.contains("nothing was changed"),
        "{message}"
    );
    assert!(
        message.contains("(3, 3): Can't convert seven"),
        "the line is named: {message}"
    );
    assert_eq!(read(&config), broken);

    // A file of someone else's, imported after ours, with a section that takes the place of ours.
    let theirs = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"pause\"\n";
    std::fs::create_dir(dir.path().join("d")).unwrap();
    file(&dir, "d/99-z.toml", theirs);
    let pattern = format!("version = 2\nimports = [\"{}/d/*.toml\"]\n", dir.path().display());
    let config = file(&dir, "config.toml", &pattern);
    let mut hidden = request.clone();
    hidden.drop_in = DropIn::At(dir.path().join("d/50-nvbind.toml"));
    let message = configure(&hidden, &state, false).unwrap_err().to_string();
    assert!(message.contains("would not see the runtime"), "{message}");
    assert_eq!(read(&config), pattern);

    // Without a file named for it, the lines go where the section is.
    configure(&request, &state, false).unwrap();
    assert!(read(&dir.path().join("d/99-z.toml")).contains("nvbind-runtime"));
    undo(Engine::Containerd, None, &state, false).unwrap();
    assert_eq!(read(&dir.path().join("d/99-z.toml")), theirs);
}

/// What the kubelet does: a pod and a container in it, by the name of a runtime class's handler.
#[test]
fn kubernetes_interface_starts_containers_by_the_names_that_were_written() {
    let (dir, gpus) = (temp_dir("configure"), FakeGpus::new(4));
    // A machine without CAP_SYS_RESOURCE lowers no process's score for the kernel's killer.
    let own = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"docker.io/library/pause:1\"\n  \
               restrict_oom_score_adj = true\n";
    let config = file(&dir, "config.toml", own);
    let request = request(Engine::Containerd, &config, &gpus.runtime(&shim()));
    configure(&request, &dir.path().join("state"), false).unwrap();
    let daemon = Containerd::start(&read(&config), &[]);
    for (name, command) in [("pause:1", &["sleep", "600"][..]), ("nvbind-test:small", &["true"])] {
        daemon.import_into("k8s.io", &small_rootfs(), &format!("docker.io/library/{name}"), command);
    }
    let cri = cri::Client::new(&daemon.address());
    for handler in ["nvbind", "nvidia", ""] {
        let pod = cri.run_pod(handler, dir.path());
        let command = ["sh", "-c", "ls /dev/nvidia*; sleep 600"];
        let container = cri.start(
            &pod,
            "docker.io/library/nvbind-test:small",
            &command,
            "NVIDIA_VISIBLE_DEVICES=1,3",
        );
        let log = dir.path().join("container.log");
        let wanted: &[&str] = match handler {
            "" => &["cannot access"],
            _ => &["/dev/nvidia1\n", "/dev/nvidia3\n"],
        };
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        nvbind_testkit::wait_until("the container's words", || {
            wanted.iter().all(|words| said().contains(words))
        });
        assert!(!said().contains("nvidia0"), "{}", said());
        if !handler.is_empty() {
            let bundle = daemon
                .state()
                .join("io.containerd.runtime.v2.task/k8s.io")
                .join(&container);
            let config: Value = serde_json::from_str(&read(&bundle.join("config.json"))).unwrap();
            assert_declared(&config, &["/dev/nvidia1", "/dev/nvidia3"]);
        }
        cri.remove_pod(&pod);
        std::fs::remove_file(&log).unwrap();
    }
}

/// Podman reads drop-ins in `/etc/containers` alone, which is laid over by one of the test's own.
#[test]
fn podman_starts_containers_by_the_names_that_were_written() {
    let (dir, gpus, store) = (temp_dir("configure"), FakeGpus::new(4), PodmanEnv::new());
    store.import(&small_rootfs(), IMAGE);
    let etc = dir.path().join("containers");
    check(Command::new("cp").args(["-a", "/etc/containers"]).arg(&etc));
    std::fs::copy(store.path().join("containers.conf"), etc.join("containers.conf")).unwrap();
    let mut request = request(Engine::Podman, &etc.join("containers.conf"), &gpus.runtime(&shim()));
    request.drop_in = DropIn::At(etc.join("containers.conf.d/99-nvbind.conf"));
    configure(&request, &dir.path().join("state"), false).unwrap();
    let podman = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=unchanged", "sh", "-c"]);
        command.arg("mount --make-private /etc; mount --bind \"$0\" /etc/containers && exec podman \"$@\"");
        command.arg(&etc).args(words).env_remove("CONTAINERS_CONF");
        command.env("CONTAINERS_STORAGE_CONF", store.path().join("storage.conf"));
        command.output().unwrap()
    };
    for name in DEFAULT_NAMES {
        let words = [
            "--runtime",
            name,
            "run",
            "--rm",
            "-e",
            "NVIDIA_VISIBLE_DEVICES=1,3",
            IMAGE,
            "sh",
            "-c",
            "ls /dev/nvidia*",
        ];
        assert_lists(&podman(&words), "/dev/nvidia1\n/dev/nvidia3\n");
    }
}
