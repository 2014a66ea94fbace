//! Requests that cannot be met: one clear line, also where the engine reads it, and a bundle as it was.

use crate::support::{Host, stderr, write};
use serde_json::Value;
use std::process::Output;

fn refused(host: &Host, config: Option<&str>, env: &[&str]) -> Output {
    let bundle = host.bundle("true", env);
    if let Some(config) = config {
        write(&bundle.join("config.json"), config);
    }
    let before = std::fs::read(bundle.join("config.json")).unwrap();
    let mut shim = host.shim();
    shim.arg("--log")
        .arg(host.path("log.json"))
        .args(["--log-format", "json", "create", "--bundle"]);
    // A PATH with runc, but without nvbind.
    let out = shim
        .arg(&bundle)
        .arg("x")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    assert_eq!(
        std::fs::read(bundle.join("config.json")).unwrap(),
        before,
        "the bundle was changed"
    );
    assert_eq!(
        std::fs::read_dir(&bundle).unwrap().count(),
        2,
        "something was left in the bundle"
    );
    assert_eq!(stderr(&out).lines().count(), 1, "{}", stderr(&out));
    let log = std::fs::read_to_string(host.path("log.json")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    let message = last["msg"].as_str().unwrap().strip_prefix("nvbind: ").unwrap();
    assert_eq!(stderr(&out), format!("nvbind-runtime: {message}\n"));
    out
}

#[test]
fn bad_requests_are_refused() {
    let table: [(&str, i32, &str); 4] = [
        (
            "NVIDIA_VISIBLE_DEVICES=vendor.com/nic=eth9",
            4,
            "no CDI device 'vendor.com/nic=eth9'",
        ),
        ("NVIDIA_VISIBLE_DEVICES=0,vendor.com/nic=eth9", 4, "eth9"),
        (
            "NVIDIA_DRIVER_CAPABILITIES=computer",
            2,
            "unknown driver capability 'computer'",
        ),
        ("OTHER=1", 2, "not valid JSON"),
    ];
    let host = Host::new();
    for (env, code, words) in table {
        let config = (env == "OTHER=1").then_some("{\"process\":");
        let out = refused(&host, config, &["NVIDIA_VISIBLE_DEVICES=0", env]);
        assert_eq!(out.status.code(), Some(code), "{env}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{}", stderr(&out));
    }
}

#[test]
fn a_node_that_is_gone_is_named() {
    let host = Host::new();
    let spec = r#"{"cdiVersion":"0.5.0","kind":"a/b","devices":[{"name":"x","containerEdits":{"deviceNodes":[{"path":"/dev/nvbind-gone"}]}}]}"#;
    write(&host.path("cdi/other.json"), spec);
    let out = refused(&host, None, &["NVIDIA_VISIBLE_DEVICES=a/b=x"]);
    assert_eq!(out.status.code(), Some(5));
    assert!(
        stderr(&out).contains("device node /dev/nvbind-gone: No such file"),
        "{}",
        stderr(&out)
    );
}

#[test]
fn a_spec_that_others_can_write_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new();
    let spec = host.path("cdi/nvidia.json");
    let text = std::fs::read_to_string(&spec)
        .unwrap()
        .replace("nvidia.com", "vendor.com");
    write(&spec, text);
    std::fs::set_permissions(&spec, std::fs::Permissions::from_mode(0o666)).unwrap();
    let out = refused(&host, None, &["NVIDIA_VISIBLE_DEVICES=vendor.com/gpu=0"]);
    assert!(
        stderr(&out).contains("others than its owner can write it"),
        "{}",
        stderr(&out)
    );
}

#[test]
fn a_text_log_is_written_as_text() {
    let host = Host::new();
    let bundle = host.bundle("true", &["NVIDIA_VISIBLE_DEVICES=a/b=c"]);
    let own = host.path("own.log");
    let mut shim = host.shim();
    shim.arg("--log")
        .arg(host.path("log"))
        .args(["create", "--bundle"])
        .arg(&bundle)
        .arg("x")
        .env("NVBIND_RUNTIME_LOG", &own);
    shim.output().unwrap();
    for log in [host.path("log"), own] {
        let text = std::fs::read_to_string(log).unwrap();
        assert!(
            text.starts_with("time=\"20") && text.contains("Z\" level=error msg=\"nvbind: no CDI device 'a/b=c'"),
            "{text}"
        );
    }
}
