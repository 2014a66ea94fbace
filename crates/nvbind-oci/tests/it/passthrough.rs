//! What is not `create` or `run` reaches the low-level runtime as it came, and so does the rest of those two.

use crate::support::{Host, SHIM, script, stderr, with_input, write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// A runtime that writes its arguments down, copies its input and ends with 7.
fn recorder(host: &Host, name: &str) -> std::path::PathBuf {
    let runtime = host.path(name);
    let record = host.path("record").display().to_string();
    script(
        &runtime,
        &format!("for word in \"$0\" \"$@\"; do printf '%s\\0' \"$word\"; done > {record}\n/bin/cat\nexit 7"),
    );
    runtime
}

fn recorded(host: &Host) -> Vec<String> {
    let text = std::fs::read_to_string(host.path("record")).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn every_command_line_arrives_word_for_word() {
    let host = Host::new();
    let runtime = recorder(&host, "bin/runc");
    let bundle = host.bundle("true", &["NVIDIA_VISIBLE_DEVICES=0"]);
    let bundle = bundle.to_str().unwrap();
    let lines: [&[&str]; 14] = [
        &[],
        &["--version"],
        &["--help"],
        &["state", "x"],
        &[
            "--root",
            "/r",
            "--log",
            "/dev/null",
            "--log-format",
            "json",
            "delete",
            "--force",
            "x",
        ],
        &["exec", "--process", "/p", "x", "create", "--bundle", "/nowhere"],
        &["kill", "x", "KILL"],
        &["events", "--stats", "x"],
        &["features"],
        &["--unknown-flag", "state", "x"],
        &[
            "create",
            "--bundle",
            bundle,
            "--console-socket",
            "/s",
            "--pid-file",
            "/p",
            "x",
        ],
        &[
            "--systemd-cgroup",
            "run",
            "-b",
            bundle,
            "--no-pivot",
            "--detach",
            "x y",
            "",
        ],
        &["create", "--bundle", "/nowhere", "x"],
        &["update", "--resources", "-", "x"],
    ];
    for line in lines {
        let mut shim = host.shim();
        let out = with_input(shim.args(line).env("PATH", host.path("bin")), b"input");
        assert_eq!(
            (out.status.code(), out.stdout.as_slice()),
            (Some(7), b"input".as_slice()),
            "{line:?}: {}",
            stderr(&out)
        );
        assert_eq!(stderr(&out), "", "{line:?}");
        let arrived = recorded(&host);
        assert_eq!(
            (arrived[0].as_str(), &arrived[1..]),
            (
                runtime.to_str().unwrap(),
                &line.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]
            )
        );
    }
}

#[test]
fn the_bundle_is_found_in_the_current_folder() {
    let host = Host::new();
    recorder(&host, "bin/runc");
    let bundle = host.bundle("true", &["NVIDIA_VISIBLE_DEVICES=0"]);
    host.shim()
        .args(["create", "x"])
        .current_dir(bundle)
        .env("PATH", host.path("bin:/bin"))
        .output()
        .unwrap();
    let devices = host.config()["linux"]["devices"].as_array().unwrap().len();
    assert_eq!(devices, 2);
}

#[test]
fn the_first_runtime_that_exists_is_taken_and_never_the_shim_itself() {
    let host = Host::new();
    std::fs::create_dir_all(host.path("first")).unwrap();
    symlink(SHIM, host.path("first/runc")).unwrap();
    write(&host.path("second/runc"), "not executable");
    let crun = recorder(&host, "third/crun");
    let absolute = recorder(&host, "elsewhere/my-runtime");
    let path = ["first", "second", "third"]
        .map(|dir| host.path(dir).display().to_string())
        .join(":");
    for (runtimes, taken) in [
        ("absent,runc,crun", &crun),
        (&format!("runc,{}", absolute.display()), &absolute),
    ] {
        let mut shim = host.shim();
        shim.arg("features")
            .env("PATH", &path)
            .env("NVBIND_RUNTIME_RUNTIMES", runtimes);
        let out = shim.output().unwrap();
        assert_eq!(out.status.code(), Some(7), "{runtimes}: {}", stderr(&out));
        assert_eq!(Path::new(&recorded(&host)[0]), taken);
    }
}

#[test]
fn without_a_runtime_there_is_one_clear_line() {
    let host = Host::new();
    let out = host
        .shim()
        .arg("state")
        .env("PATH", host.path("empty"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(5));
    assert_eq!(stderr(&out).lines().count(), 1);
    assert!(
        stderr(&out).contains("none of runc, crun, youki is on PATH"),
        "{}",
        stderr(&out)
    );
}

#[test]
fn a_broken_configuration_stops_containers_from_starting_but_not_from_being_stopped() {
    let host = Host::new();
    recorder(&host, "bin/runc");
    let bundle = host.bundle("true", &[]);
    write(&host.path("config.toml"), "[runtime]\nruntime = \"x\"\n");
    let path = host.path("bin").display().to_string() + ":/bin";
    let out = host
        .shim()
        .args(["create", "--bundle"])
        .arg(&bundle)
        .arg("x")
        .env("PATH", &path)
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("runtime.runtimes"), "{}", stderr(&out));
    let out = host.shim().args(["delete", "x"]).env("PATH", &path).output().unwrap();
    assert_eq!(out.status.code(), Some(7));
}

#[test]
fn the_toolkits_own_hook_does_not_inject_again() {
    let host = Host::new();
    recorder(&host, "bin/runc");
    let bundle = host.bundle("true", &["NVIDIA_VISIBLE_DEVICES=0"]);
    let mut config = host.config();
    config["hooks"] =
        serde_json::json!({ "prestart": [{ "path": "/usr/bin/nvidia-container-runtime-hook" }, { "path": "/other" }] });
    write(&bundle.join("config.json"), config.to_string());
    let mut shim: Command = host.shim();
    shim.args(["create", "-b"])
        .arg(&bundle)
        .arg("x")
        .env("PATH", host.path("bin").display().to_string() + ":/bin");
    shim.output().unwrap();
    assert_eq!(
        host.config()["hooks"]["prestart"],
        serde_json::json!([{ "path": "/other" }])
    );
}

#[test]
fn under_nvidias_names_it_is_the_same_program() {
    let host = Host::new();
    recorder(&host, "bin/runc");
    for name in [
        "nvidia-container-runtime",
        "nvidia-container-runtime.cdi",
        "nvidia-container-runtime.legacy",
    ] {
        let link = host.path(name);
        symlink(SHIM, &link).unwrap();
        let bundle = host.bundle("true", &["NVIDIA_VISIBLE_DEVICES=0"]);
        let mut command = Command::new(&link);
        // The environment that the host's shim has.
        for (key, value) in host.shim().get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        command.args(["create", "--bundle"]).arg(&bundle).arg("x");
        let out = command
            .env("PATH", host.path("bin").display().to_string() + ":/bin")
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(7), "{name}: {}", stderr(&out));
        assert_eq!(
            recorded(&host)[1..],
            ["create", "--bundle", bundle.to_str().unwrap(), "x"]
        );
        assert_eq!(host.config()["linux"]["devices"].as_array().unwrap().len(), 2, "{name}");
    }
}
