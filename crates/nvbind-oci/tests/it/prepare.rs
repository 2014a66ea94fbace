//! The hook's work done by the shim before there is a container, and when it is left to the hook.

use crate::support::{HOOK, Host, LIBRARY_DIR, own_hook, stderr, stdout, write};
use serde_json::{Value, json};
use std::path::Path;

/// Lets the shim edit the bundle of a shell command, and nothing start.
fn edited(host: &Host, change: impl FnOnce(&mut Value)) -> Value {
    let bundle = host.bundle("true", &["NVIDIA_VISIBLE_DEVICES=all"]);
    let mut config = host.config();
    change(&mut config);
    write(&bundle.join("config.json"), config.to_string());
    let mut shim = host.shim();
    let out = shim
        .env("NVBIND_RUNTIME_RUNTIMES", "/bin/true")
        .args(["create", "--bundle"])
        .arg(&bundle)
        .arg("x")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    host.config()
}

fn link(host: &Host) -> Option<std::path::PathBuf> {
    std::fs::read_link(host.path("bundle/rootfs").join(&LIBRARY_DIR[1..]).join("libcuda.so.1")).ok()
}

fn add_mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn a_plain_container_needs_no_hook() {
    let host = Host::new();
    let config = edited(&host, |_| {});
    assert_eq!(config.get("hooks"), None);
    assert_eq!(link(&host).as_deref(), Some(Path::new("libcuda.so.535.1")));
}

#[test]
fn a_volume_over_what_is_written_leaves_it_to_the_hook() {
    for volume in ["/opt", "/opt/driver/lib", "/etc", "/also-opt/driver"] {
        let host = Host::new();
        std::os::unix::fs::symlink("opt", host.rootfs().join("also-opt")).unwrap();
        std::fs::create_dir_all(host.path("bundle/rootfs/opt/driver")).unwrap();
        let config = edited(&host, |config| {
            add_mount(
                config,
                json!({ "destination": volume, "type": "tmpfs", "source": "tmpfs" }),
            );
        });
        assert_eq!(config["hooks"]["createContainer"][0]["path"], HOOK, "{volume}");
        assert_eq!(link(&host), None, "{volume}");
    }
}

#[test]
fn a_volume_elsewhere_does_not() {
    let host = Host::new();
    let config = edited(&host, |config| {
        for volume in ["/opt/driver/library", "/etc/hosts", "/absent/opt"] {
            add_mount(
                config,
                json!({ "destination": volume, "type": "tmpfs", "source": "tmpfs" }),
            );
        }
    });
    assert_eq!(config.get("hooks"), None);
}

#[test]
fn users_of_another_namespace_leave_it_to_the_hook() {
    let host = Host::new();
    let config = edited(&host, |config| {
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user" }));
    });
    assert_eq!(config["hooks"]["createContainer"][0]["path"], HOOK);
    assert_eq!(link(&host), None);
}

/// A hook for a node's link beside the library's.
fn hook_with_node_link() -> Value {
    let mut hook = own_hook(HOOK);
    for (node, name) in [("nvidia0", "pci-0"), ("nvidia7", "pci-7")] {
        let link = format!("--device-link=../../{node}::/dev/dri/by-path/{name}");
        hook["args"].as_array_mut().unwrap().push(link.into());
    }
    hook
}

#[test]
fn links_beside_nodes_are_mounted() {
    let host = Host::with_hook(&json!([hook_with_node_link()]));
    let out = host.run(
        "ls /dev/dri/by-path; readlink /dev/dri/by-path/pci-0; cat /dev/dri/by-path/pci-0; : > /dev/dri/by-path/x",
        &["NVIDIA_VISIBLE_DEVICES=0"],
    );
    assert_eq!(stdout(&out), "pci-0\n../../nvidia0\n", "{}", stderr(&out));
    assert_eq!(host.config().get("hooks"), None);
    // The node is reached through the link: without a driver behind it, an open that the kernel lets through ends so.
    assert!(
        stderr(&out).contains("pci-0: No such device or address"),
        "{}",
        stderr(&out)
    );
    assert!(stderr(&out).contains("Read-only file system"), "{}", stderr(&out));
}

#[test]
fn links_beside_nodes_of_the_hosts_own_dev_are_left_to_the_hook() {
    let host = Host::with_hook(&json!([hook_with_node_link()]));
    let config = edited(&host, |config| {
        add_mount(
            config,
            json!({ "destination": "/dev/dri", "type": "bind", "source": "/dev/dri", "options": ["rbind"] }),
        );
    });
    let args = config["hooks"]["createContainer"][0]["args"].clone();
    let link = "--device-link=../../nvidia0::/dev/dri/by-path/pci-0";
    assert_eq!(args, json!(["nvbind-hook", "create-container", link]));
}
