//! The user's own hosts over SSH: machines in namespaces with Debian's sshd.

use super::account::{bake, programs};
use super::client::{Client, working};
use nvbind_testkit::{Machines, check, temp_dir, wait_until};
use serde_json::Value;
use std::ops::Deref;
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// Tells that it is up and which device it has, then works for ever.
const FOREVER: &str = "echo up; ls /dev/nvidia0; trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// Two hosts with simulated GPUs, and an nvbind that knows them.
struct Hosts {
    machines: Machines,
    addresses: [String; 2],
    client: Client,
    _dir: TempDir,
}

impl Hosts {
    fn new() -> Self {
        let dir = temp_dir("hosts");
        let image = dir.path().join("image");
        bake(&image);
        let machines = Machines::with_images(&[("NVBIND_SIM", "dgx-a100")], &[&image]);
        let addresses = ["h1", "h2"].map(|name| machines.boot(name, "root", None));
        let config = machines.ssh_config("root", &addresses.each_ref().map(String::as_str));
        let client = Client {
            programs: programs().to_owned(),
            dir: dir.path().to_owned(),
            variables: vec![
                ("NVBIND_CLOUD_PROVIDERS", "hosts".to_owned()),
                ("NVBIND_CLOUD_HOSTS", addresses.join(",")),
                ("NVBIND_CLOUD_SSH_CONFIG", config.display().to_string()),
            ],
        };
        Self {
            machines,
            addresses,
            client,
            _dir: dir,
        }
    }

    /// What a shell on a host prints.
    fn shell(&self, address: &str, script: &str) -> String {
        let config = self.machines.dir().join("ssh_config");
        check(Command::new("ssh").arg("-F").arg(config).args([address, script]))
    }

    /// Whether somebody follows what the agent on a host reports.
    fn is_followed(&self, address: &str) -> bool {
        let commands = self.shell(address, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
        commands.contains("agent follow ")
    }

    /// How many of the workload's processes a host has.
    fn sleeps(&self, address: &str) -> usize {
        let names = self.shell(address, "cat /proc/[0-9]*/comm");
        names.lines().filter(|name| *name == "sleep").count()
    }
}

impl Deref for Hosts {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

#[test]
fn a_host_that_is_cut_off_is_replaced_by_the_other_one() {
    let hosts = Hosts::new();
    let arguments = hosts.deploy("home", FOREVER, &["--retry"]);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    hosts.ok(&words);
    assert_eq!(hosts.ok(&["logs", "home"]), "up\n/dev/nvidia0\n");
    let first = hosts.status("home")["attempts"][0]["address"].clone();
    let number = hosts
        .addresses
        .iter()
        .position(|address| first == *address)
        .unwrap_or_else(|| panic!("{first} is no host of the user's"));
    let (name, other) = (["h1", "h2"][number], &hosts.addresses[1 - number]);
    assert!(hosts.sleeps(&hosts.addresses[number]) > 0 && hosts.sleeps(other) == 0);

    let mut serve = hosts.nvbind().args(["cloud", "serve"]).spawn().expect("start nvbind");
    wait_until("somebody who follows", || hosts.is_followed(&hosts.addresses[number]));
    let cut = Instant::now();
    hosts.machines.cut(name);
    let attempt = |status: &Value, number: usize| status["attempts"][number].clone();
    hosts.until("home", "another order", |status| {
        attempt(status, 1)["accepted_ms"].is_i64()
    });
    let ordered = cut.elapsed().as_secs_f64();
    let moved = hosts.until("home", "work on the other host", |status| working(status) == 1);
    let resumed = cut.elapsed().as_secs_f64();
    eprintln!("hosts: from the cut to the other host's order {ordered:.1} s, to work there {resumed:.1} s");
    assert!(ordered <= 15.0, "{moved:#}");
    assert!(resumed <= 20.0, "{moved:#}");
    assert_eq!(attempt(&moved, 1)["address"], **other, "{moved:#}");
    assert_eq!(attempt(&moved, 0)["end"], "lost", "{moved:#}");
    assert!(hosts.sleeps(other) > 0);
    assert_eq!(hosts.ok(&["logs", "home"]), "up\n/dev/nvidia0\n");

    hosts.machines.heal(name);
    hosts.ok(&["down", "home"]);
    serve.kill().expect("kill serve");
    serve.wait().expect("serve");
    assert_eq!(hosts.status("home")["status"], "stopped");
    for address in &hosts.addresses {
        assert_eq!(hosts.sleeps(address), 0, "left running on {address}");
    }
}
