//! The user's own hosts over SSH: machines in namespaces with Debian's sshd.

use super::client::working;
use super::hosts::Hosts;
use crate::support::stdout;
use nvbind_testkit::wait_until;
use serde_json::Value;
use std::time::Instant;

/// Tells that it is up and which device it has, then works for ever.
const FOREVER: &str = "echo up; ls /dev/nvidia0; trap 'exit 0' TERM; while :; do sleep 0.1; done";

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

#[test]
fn a_host_that_does_not_answer_is_seen_by_check() {
    let hosts = Hosts::new();
    hosts.ok(&["check"]);
    hosts.machines.cut("h2");
    let checked = hosts.cloud(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = stdout(&checked);
    let lost = &hosts.addresses[1];
    assert!(told.contains(&format!("host '{lost}' cannot be reached")), "{told}");
}
