//! Who asks: credentials from the files of docker and podman.

use super::{heavy, refused};
use crate::support::{Machine, stderr, stdout};
use nvbind_testkit::{Registry, check};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Writes a file that only its owner can read.
fn secret_file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

#[test]
fn credentials_come_from_the_files_of_docker_and_podman() {
    let machine = Machine::new("t4");
    let registry = Registry::start_for("ada", "s3cret word");
    let layout = heavy(&machine, "private", &[(1000, 1)]);
    registry.push(&layout.dir, "test-amd64", "team/x:1");
    let (host, home) = (registry.host(), machine.dir().join("home"));
    let image = format!("{host}/team/x:1");
    let pull = |variables: &[(&str, &Path)]| {
        let mut command = machine.nvbind();
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command.env("HOME", &home).envs(variables.iter().copied());
        let output = command.args(["image", "pull", &image]).output().expect("nvbind");
        assert!(!stderr(&output).contains("s3cret") && !stdout(&output).contains("s3cret"));
        let _ = machine.output(&["image", "rm", &image]);
        output
    };
    refused(&pull(&[]), 3, &["wants a login", &format!("docker login {host}")]);

    // Made by the tools themselves.
    let podman_file = machine.dir().join("run/containers/auth.json");
    fs::create_dir_all(podman_file.parent().expect("a folder")).expect("folder");
    let mut login = Command::new("skopeo");
    login.args(["login", "--tls-verify=false", "-u", "ada", "-p", "s3cret word", &host]);
    check(login.arg("--authfile").arg(&podman_file));
    let ok = |output: Output| assert!(output.status.success(), "{}", stderr(&output));
    ok(pull(&[("XDG_RUNTIME_DIR", &machine.dir().join("run"))]));
    ok(pull(&[("REGISTRY_AUTH_FILE", &podman_file)]));

    let auths = fs::read_to_string(&podman_file).expect("auth.json");
    secret_file(&home.join(".docker/config.json"), &auths);
    ok(pull(&[]));
    fs::remove_file(home.join(".docker/config.json")).expect("remove");
    secret_file(&home.join("elsewhere/config.json"), &auths);
    ok(pull(&[("DOCKER_CONFIG", &home.join("elsewhere"))]));

    let wrong = auths.replace(auths.split('"').nth(7).expect("auth"), "YWRhOndyb25n");
    secret_file(&home.join("wrong.json"), &wrong);
    let output = pull(&[("REGISTRY_AUTH_FILE", &home.join("wrong.json"))]);
    refused(&output, 3, &["refuses", "user 'ada'", "wrong.json"]);
    refused(
        &pull(&[("REGISTRY_AUTH_FILE", Path::new("/no/such/file"))]),
        2,
        &["/no/such/file"],
    );
    secret_file(&home.join("broken.json"), "{\"auths\":");
    refused(
        &pull(&[("REGISTRY_AUTH_FILE", &home.join("broken.json"))]),
        2,
        &["broken.json"],
    );

    // A keeper that is asked for them.
    let bin = machine.dir().join("bin");
    let helper = bin.join("docker-credential-test");
    secret_file(
        &helper,
        "#!/bin/sh\nread server\n[ \"$1\" = get ] && [ -n \"$server\" ] || exit 1\n\
        echo \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"ada\\\",\\\"Secret\\\":\\\"s3cret word\\\"}\"\n",
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).expect("chmod");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    for (name, text) in [
        ("store.json", r#"{"credsStore":"test"}"#.to_owned()),
        ("helper.json", format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#)),
    ] {
        secret_file(&home.join(name), &text);
        ok(pull(&[
            ("REGISTRY_AUTH_FILE", &home.join(name)),
            ("PATH", Path::new(&path)),
        ]));
        let output = pull(&[("REGISTRY_AUTH_FILE", &home.join(name))]);
        refused(&output, 1, &["docker-credential-test", name]);
    }
}
