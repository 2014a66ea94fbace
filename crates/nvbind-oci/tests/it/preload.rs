//! An image's environment never reaches the hook (CVE-2025-23266).

use crate::support::{HOOK, Host, NEEDED, needed_hook, script, stderr, stdout, write};
use nvbind_testkit::check;
use serde_json::json;
use std::process::Command;

/// What an image can set to get its code into a program of the host, or to mislead it.
const HOSTILE: [&str; 10] = [
    "LD_PRELOAD=/proc/self/cwd/poc.so",
    "LD_AUDIT=/proc/self/cwd/poc.so",
    "LD_LIBRARY_PATH=/proc/self/cwd",
    "GCONV_PATH=/proc/self/cwd",
    "GLIBC_TUNABLES=glibc.malloc.check=3",
    "RUST_BACKTRACE=full",
    "RUST_LOG=trace",
    "XDG_CONFIG_HOME=/proc/self/cwd",
    "NVBIND_CONFIG=/proc/self/cwd/config.toml",
    "NVIDIA_VISIBLE_DEVICES=0",
];

fn build_poc(host: &Host) -> std::path::PathBuf {
    let (source, library, canary) = (host.path("poc.c"), host.path("poc.so"), host.path("owned"));
    let code = "#include <fcntl.h>\n__attribute__((constructor)) static void own(void)";
    write(
        &source,
        format!("{code} {{ open(\"{}\", O_CREAT, 0644); }}\n", canary.display()),
    );
    check(
        Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source),
    );
    library
}

#[test]
fn a_preloaded_library_of_the_image_does_not_run_in_the_hook() {
    let host = Host::with_hook(&json!([needed_hook(HOOK)]));
    let poc = build_poc(&host);
    std::fs::copy(&poc, host.rootfs().join("poc.so")).unwrap();
    let out = host.run("echo started", &HOSTILE);
    assert!(stdout(&out).contains("started"), "{}", stderr(&out));
    assert!(!host.path("owned").exists());
    // The library would have done it.
    check(Command::new("true").env("LD_PRELOAD", poc));
    assert!(host.path("owned").exists());
}

#[test]
fn every_hook_has_the_environment_of_its_spec_alone() {
    let record = nvbind_testkit::temp_dir("record");
    let (with, without) = (record.path().join("nvbind-hook"), record.path().join("other-hook"));
    for hook in [&with, &without] {
        script(hook, &format!("env > {}.env", hook.display()));
    }
    let host = Host::with_hook(&json!([
        { "hookName": "createContainer", "path": with, "args": ["nvbind-hook", "create-container", "--link=a::/b", NEEDED], "env": ["NVBIND_HOOK=create-container"] },
        { "hookName": "createContainer", "path": without }]));
    let out = host.run("true", &HOSTILE);
    assert!(out.status.success(), "{}", stderr(&out));
    let names = |hook: &std::path::Path| {
        let text = std::fs::read_to_string(format!("{}.env", hook.display())).unwrap();
        // The shell sets PWD, SHLVL and _ itself.
        let mut names: Vec<String> = text
            .lines()
            .map(|line| line.split_once('=').unwrap().0.to_owned())
            .collect();
        names.retain(|name| !matches!(name.as_str(), "PWD" | "OLDPWD" | "SHLVL" | "_"));
        names
    };
    assert_eq!(names(&with), ["NVBIND_HOOK"]);
    assert_eq!(names(&without), ["PATH"]);
}
