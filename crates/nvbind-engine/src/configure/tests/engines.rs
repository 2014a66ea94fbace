//! The lines that each engine gets.

use super::*;

const DEBIAN_CONTAINERD: &str = r#"version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
"#;

#[test]
fn docker_gets_an_entry_and_keeps_the_rest() {
    let host = Host::new();
    let text = "{\n    \"log-driver\": \"journald\",\n\n    \"storage-opts\": [ \"a=b\" ]\n}\n";
    host.write("daemon.json", text);
    let mut request = host.request(Engine::Docker, "daemon.json");
    request.set_as_default = true;
    request.cdi = Some(true);
    let outcome = host.configure(&request);
    let wanted = r#"{
    "log-driver": "journald",

    "storage-opts": [ "a=b" ],
    "runtimes": {
        "nvbind": {
            "path": "/usr/local/bin/nvbind-runtime"
        }
    },
    "default-runtime": "nvbind",
    "features": {
        "cdi": true
    }
}
"#;
    assert_eq!(host.read("daemon.json"), wanted);
    assert_eq!(outcome.next, "systemctl restart docker");
    assert_eq!(
        host.configure(&request),
        Outcome::default(),
        "a second time changes nothing"
    );
}

#[test]
fn a_file_that_is_not_there_is_made() {
    let host = Host::new();
    host.configure(&host.request(Engine::Docker, "etc/docker/daemon.json"));
    let wanted =
        "{\n  \"runtimes\": {\n    \"nvbind\": {\n      \"path\": \"/usr/local/bin/nvbind-runtime\"\n    }\n  }\n}\n";
    assert_eq!(host.read("etc/docker/daemon.json"), wanted);
    host.undo(Engine::Docker);
    assert!(!host.path("etc").exists(), "nor the folders that were made");
}

#[test]
fn names_that_something_else_has_are_left_to_it() {
    let host = Host::new();
    host.write(
        "daemon.json",
        r#"{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}"#,
    );
    let mut request = host.request(Engine::Docker, "daemon.json");
    request.names.clear();
    let outcome = host.configure(&request);
    assert!(
        outcome.notes[0].contains("'nvidia' is nvidia-container-runtime"),
        "{:?}",
        outcome.notes
    );
    let wanted = r#"{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}, "nvbind": {"path": "/usr/local/bin/nvbind-runtime"}}}"#;
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&host.read("daemon.json")), value(wanted));

    request.names = vec!["nvidia".to_owned()];
    host.configure(&request);
    assert!(!host.read("daemon.json").contains("nvidia-container-runtime"));
    host.undo(Engine::Docker);
    assert_eq!(
        host.read("daemon.json"),
        r#"{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}"#
    );
}

#[test]
fn an_old_containerd_gets_the_lines_where_its_section_is() {
    let host = Host::new();
    host.write("config.toml", DEBIAN_CONTAINERD);
    let request = host.request(Engine::Containerd, "config.toml");
    host.configure(&request);
    let added = r#"      conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvbind]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvbind.options]
BinaryName = "/usr/local/bin/nvbind-runtime"
"#;
    let wanted = DEBIAN_CONTAINERD.replace("      conf_dir = \"/etc/cni/net.d\"\n", added);
    assert_eq!(host.read("config.toml"), wanted);
    assert!(!host.path("conf.d").exists());
    host.undo(Engine::Containerd);
    assert_eq!(host.read("config.toml"), DEBIAN_CONTAINERD);
}

#[test]
fn the_default_runtimes_options_are_ours() {
    let host = Host::new();
    host.write(
        "config.toml",
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "plain"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.plain]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["x.*"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.plain.options]
SystemdCgroup = true
BinaryName = "/usr/bin/crun"
"#,
    );
    host.configure(&host.request(Engine::Containerd, "config.toml"));
    let text = host.read("config.toml");
    let added = r#"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvbind]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["x.*"]

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvbind.options]
SystemdCgroup = true
BinaryName = "/usr/local/bin/nvbind-runtime"
"#;
    assert!(text.ends_with(added), "{text}");
    assert!(
        !text.contains("runtimes.runc"),
        "the default runtime is another: {text}"
    );
}

#[test]
fn containerd_without_a_section_gets_a_drop_in() {
    let host = Host::new();
    let text = "# ours\nversion = 2\nimports = [\"/etc/other.toml\"] # theirs\n\n[grpc]\n  gid = 7\n";
    host.write("config.toml", text);
    let mut request = host.request(Engine::Containerd, "config.toml");
    request.set_as_default = true;
    request.cdi = Some(true);
    host.configure(&request);
    let drop_in = host.path("conf.d/99-nvbind.toml");
    let wanted = format!("[\"/etc/other.toml\", \"{}\"] # theirs", drop_in.display());
    assert_eq!(
        host.read("config.toml"),
        text.replace("[\"/etc/other.toml\"] # theirs", &wanted)
    );
    let wanted = r#"# Written by nvbind; 'nvbind runtime configure --runtime containerd --undo' takes it away.

version = 2

[plugins."io.containerd.grpc.v1.cri"]
enable_cdi = true

[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "nvbind"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvbind]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvbind.options]
BinaryName = "/usr/local/bin/nvbind-runtime"
"#;
    assert_eq!(host.read("conf.d/99-nvbind.toml"), wanted);
    assert_eq!(host.configure(&request).changes, [], "a second time changes nothing");
    host.undo(Engine::Containerd);
    assert_eq!(host.read("config.toml"), text);
    assert!(!host.path("conf.d").exists());
}

#[test]
fn a_drop_in_that_is_asked_for_holds_a_copy_for_an_old_containerd() {
    let host = Host::new();
    host.write("config.toml", DEBIAN_CONTAINERD);
    let mut request = host.request(Engine::Containerd, "config.toml");
    request.drop_in = DropIn::At(host.path("extra/nvbind.toml"));
    host.configure(&request);
    let text = host.read("extra/nvbind.toml");
    assert!(text.contains("bin_dir = \"/usr/lib/cni\""), "{text}");
    assert!(host.read("config.toml").contains("extra/nvbind.toml"));
    host.undo(Engine::Containerd);
    assert_eq!(host.read("config.toml"), DEBIAN_CONTAINERD);
}

#[test]
fn each_version_of_containerds_configuration_has_its_section() {
    let sections = [
        ("", "[plugins.cri."),
        ("version = 3\n", "[plugins.\"io.containerd.cri.v1.runtime\"."),
    ];
    for (text, wanted) in sections {
        let host = Host::new();
        host.write("config.toml", text);
        host.configure(&host.request(Engine::Containerd, "config.toml"));
        let drop_in = host.read("conf.d/99-nvbind.toml");
        assert!(drop_in.contains(wanted), "{drop_in}");
    }
    let host = Host::new();
    host.write("config.toml", "version = 9\n");
    let error = configure(&host.request(Engine::Containerd, "config.toml"), &host.state(), false).unwrap_err();
    assert!(error.to_string().contains("configuration version 9"), "{error}");
}

#[test]
fn crio_copies_what_its_default_runtime_is_set_to() {
    let host = Host::new();
    host.write(
        "crio.conf.d/10-crio.conf",
        "[crio.runtime]\ndefault_runtime = \"crun\"\n[crio.runtime.runtimes.crun]\nruntime_path = \"/usr/libexec/crio/crun\"\n\
         monitor_path = \"/usr/libexec/crio/conmon\"\nallowed_annotations = [\"io.containers.trace-syscall\"]\n",
    );
    let mut request = host.request(Engine::Crio, "crio.conf");
    request.drop_in = DropIn::At(host.path("crio.conf.d/99-nvbind.conf"));
    request.set_as_default = true;
    host.configure(&request);
    let wanted = r#"# Written by nvbind; 'nvbind runtime configure --runtime crio --undo' takes it away.

[crio.runtime]
default_runtime = "nvbind"

[crio.runtime.runtimes.nvbind]
monitor_path = "/usr/libexec/crio/conmon"
allowed_annotations = ["io.containers.trace-syscall"]
runtime_path = "/usr/local/bin/nvbind-runtime"
runtime_type = "oci"
"#;
    assert_eq!(host.read("crio.conf.d/99-nvbind.conf"), wanted);
    assert!(!host.path("crio.conf").exists());
    host.undo(Engine::Crio);
    assert!(!host.path("crio.conf.d/99-nvbind.conf").exists());
    assert!(host.path("crio.conf.d").exists());
}

#[test]
fn podman_gets_a_drop_in() {
    let host = Host::new();
    let mut request = host.request(Engine::Podman, "containers.conf");
    request.drop_in = DropIn::At(host.path("containers.conf.d/99-nvbind.conf"));
    request.names = DEFAULT_NAMES.map(str::to_owned).to_vec();
    let outcome = host.configure(&request);
    let wanted = r#"# Written by nvbind; 'nvbind runtime configure --runtime podman --undo' takes it away.

[engine.runtimes]
nvbind = ["/usr/local/bin/nvbind-runtime"]
nvidia = ["/usr/local/bin/nvbind-runtime"]
"#;
    assert_eq!(host.read("containers.conf.d/99-nvbind.conf"), wanted);
    assert_eq!(outcome.next, "", "podman has no daemon");
}

#[test]
fn a_dry_run_shows_the_change_and_makes_none() {
    let host = Host::new();
    host.write("daemon.json", "{\n  \"debug\": true\n}\n");
    let outcome = configure(&host.request(Engine::Docker, "daemon.json"), &host.state(), true).unwrap();
    let path = host.path("daemon.json");
    let wanted = format!(
        "--- {0}\n+++ {0}\n@@ -1,3 +1,8 @@\n {{\n-  \"debug\": true\n+  \"debug\": true,\n+  \"runtimes\": {{\n+    \"nvbind\": {{\n\
         +      \"path\": \"/usr/local/bin/nvbind-runtime\"\n+    }}\n+  }}\n }}\n",
        path.display()
    );
    assert_eq!(outcome.changes[0].diff(), wanted);
    assert_eq!(host.read("daemon.json"), "{\n  \"debug\": true\n}\n");
    assert!(!host.state().exists());
}

#[test]
fn files_that_cannot_be_read_are_named_with_their_line_and_left_alone() {
    let table = [
        (Engine::Docker, "{\n  \"debug\": tru\n}\n", "line 2"),
        (Engine::Docker, "{\n  // a comment\n}\n", "line 2"),
        (Engine::Docker, "[]", "no object"),
        (Engine::Docker, "{\"runtimes\": 7}", "'runtimes' is not a table"),
        (
            Engine::Containerd,
            "version = 2\nimports = 3\n",
            "'imports' is not an array",
        ),
        (Engine::Containerd, "version = 2\n[plugins\n", "line 2"),
        (
            Engine::Containerd,
            "version = 2\nplugins = 1\n",
            "'plugins' is not a table",
        ),
    ];
    for (engine, text, wanted) in table {
        let host = Host::new();
        let path = host.write("config", text);
        let mut request = host.request(engine, "config");
        if wanted.contains("plugins") {
            request.drop_in = DropIn::Never;
        }
        let error = configure(&request, &host.state(), false).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(wanted) && message.contains(&path.display().to_string()),
            "{text}: {message}"
        );
        assert_eq!((error.exit_code(), message.lines().count()), (2, 1), "{message}");
        assert_eq!(host.read("config"), text);
    }
}
