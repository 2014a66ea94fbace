//! The number of nodes follows the load: one more when it is high, one less when it is low, none in the cool-down.

use super::account::Account;
use super::client::working;
use super::hosts::Hosts;
use serde_json::Value;
use std::time::Instant;

/// A workload that never ends by itself.
const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
/// Cool-down of these deployments, in milliseconds.
const COOLDOWN_MS: i64 = 8_000;

/// When the number of nodes was changed, in milliseconds since 1970, and what was told.
fn changes(status: &Value) -> Vec<(i64, String)> {
    let events = status["events"].as_array().expect("events");
    let changes = events.iter().filter(|event| event["kind"] == "scale");
    changes
        .map(|event| {
            let message = event["message"].as_str().expect("message").to_owned();
            (event["at_ms"].as_i64().expect("at_ms"), message)
        })
        .collect()
}

/// Nodes that are wanted, and how many work.
fn nodes(status: &Value) -> (u64, usize) {
    (status["nodes"].as_u64().expect("nodes"), working(status))
}

/// The machine that the second node worked on; the first host refuses the order, since it is held.
fn second(status: &Value) -> Value {
    let attempts = status["attempts"].as_array().expect("attempts");
    let mut of_node = attempts.iter().filter(|attempt| attempt["order"]["node"] == 1);
    of_node
        .rfind(|attempt| !attempt["started_ms"].is_null())
        .cloned()
        .unwrap_or_default()
}

#[test]
fn nodes_follow_the_use_of_their_gpus() {
    let hosts = Hosts::new();
    let cloud = "scale = { min = 1, max = 2, gpu-utilization = 50, cooldown = '8s' }";
    hosts.ok(&["deploy", "-f", &hosts.file("web", FOREVER, cloud)]);
    assert_eq!(nodes(&hosts.status("web")), (1, 1));
    let busy = |address: &str, percent: u32| {
        hosts.shell(address, &format!("nvbind sim set all utilization={percent}"));
    };
    let first = hosts.status("web")["attempts"][0]["address"].clone();
    let first = first.as_str().expect("an address").to_owned();
    let _serve = hosts.serve();

    let start = Instant::now();
    busy(&first, 95);
    let out = hosts.until("web", "a second node", |status| nodes(status) == (2, 2));
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("hosts: from a load of 95 % where 50 % are aimed at to work on a second node {seconds:.1} s");
    assert!(
        changes(&out)[0].1.starts_with("from 1 to 2 nodes: GPUs are busy to "),
        "{out:#}"
    );

    let start = Instant::now();
    busy(&first, 0);
    let back = hosts.until("web", "one node", |status| {
        nodes(status) == (1, 1) && !second(status)["ended_ms"].is_null()
    });
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("hosts: from no load to one node less, given back {seconds:.1} s");
    let changes = changes(&back);
    assert_eq!(changes.len(), 2, "{back:#}");
    assert!(changes[1].0 - changes[0].0 >= COOLDOWN_MS, "{back:#}");
    let second = second(&back);
    let ms = |key: &str| second[key].as_i64().expect("a time");
    assert!(ms("deleting_ms") - ms("started_ms") >= COOLDOWN_MS, "{back:#}");
    assert_eq!(second["end"], "not-needed", "{back:#}");
    assert_eq!(back["attempts"][0]["address"], *first, "the first node stays: {back:#}");
    let given_back = hosts
        .addresses
        .iter()
        .find(|address| **address != first)
        .expect("two hosts");
    assert!(hosts.sleeps(&first) > 0 && hosts.sleeps(given_back) == 0);
    hosts.ok(&["down", "web"]);
}

#[test]
fn nodes_follow_a_queue_down_to_none_and_up_again() {
    let account = Account::new("gcp");
    let queue = account.dir.join("queue");
    let wait = |count: u32| std::fs::write(&queue, format!("{count}\n")).expect("write a file");
    wait(25);
    let cloud = format!(
        "gpu-type = ['T4', 'L4', 'A100', 'V100']\nspot = 'only'\n\
         scale = {{ min = 0, max = 3, queue-command = 'cat {}', queue-per-node = 10, cooldown = '8s' }}",
        queue.display()
    );
    account.ok(&["deploy", "-f", &account.file("batch", FOREVER, &cloud)]);
    let _serve = account.serve();
    account.until("batch", "three nodes", |status| nodes(status) == (3, 3));
    assert_eq!(account.emulator.machines().len(), 3);

    wait(0);
    let start = Instant::now();
    account.until("batch", "no node", |status| nodes(status) == (0, 0));
    nvbind_testkit::wait_until("no machine", || account.emulator.machines().is_empty());
    eprintln!(
        "gcp: from three nodes to none, step by step {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(account.status("batch")["status"], "active", "it waits for work");

    wait(1);
    let start = Instant::now();
    let up = account.until("batch", "a node again", |status| nodes(status) == (1, 1));
    eprintln!("gcp: from none to one {:.1} s", start.elapsed().as_secs_f64());
    let told: Vec<String> = changes(&up).into_iter().map(|(_, message)| message).collect();
    let expected = [
        "from 1 to 3 nodes: 25 wait",
        "from 3 to 1 nodes: 0 wait",
        "from 1 to 0 nodes: 0 wait",
        "from 0 to 1 nodes: 1 wait",
    ];
    assert_eq!(told, expected, "{up:#}");
    let times: Vec<i64> = changes(&up).into_iter().map(|(at, _)| at).collect();
    assert!(
        times[..3].windows(2).all(|pair| pair[1] - pair[0] >= COOLDOWN_MS),
        "{up:#}"
    );
    account.ok(&["down", "batch"]);
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}
