//! What becomes of a deployment while it runs: one of its nodes is lost, its money is spent.

use super::account::Account;
use super::client::working;
use nvbind_testkit::wait_until;
use serde_json::Value;
use std::process::Child;
use std::time::Duration;

/// A workload that never ends by itself.
const FOREVER: &str = "echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done";
/// Pause between two looks at the budget, and time for what follows from one.
const LOOK_SECONDS: f64 = 5.0 + 3.0;

fn deploy(account: &Account, name: &str, more: &[&str]) {
    let arguments = account.deploy(name, FOREVER, more);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    account.ok(&words);
}

fn end(mut serve: Child) {
    serve.kill().expect("kill serve");
    serve.wait().expect("serve");
}

fn attempts(status: &Value) -> Vec<Value> {
    status["attempts"].as_array().cloned().unwrap_or_default()
}

#[test]
fn of_two_nodes_only_the_lost_one_is_replaced() {
    let account = Account::new("gcp");
    deploy(&account, "pair", &["--nodes", "2", "--spot", "only", "--retry"]);
    let before = attempts(&account.status("pair"));
    assert_eq!(before.len(), 2, "{before:#?}");
    let lost = before
        .iter()
        .position(|attempt| attempt["order"]["node"] == 1)
        .expect("node 1");
    let stays = &before[1 - lost];
    let serve = account.nvbind().args(["cloud", "serve"]).spawn().expect("start nvbind");
    std::thread::sleep(Duration::from_secs(2));
    let machine = |attempt: &Value| {
        let machines = account.emulator.machines();
        machines
            .into_iter()
            .find(|machine| machine["name"] == attempt["order"]["name"])
    };
    let id = machine(&before[lost]).expect("the machine of node 1")["id"].clone();
    account.emulator.kill(id.as_str().expect("id"));
    let after = account.until("pair", "two nodes again", |status| {
        attempts(status).len() > 2 && working(status) == 2
    });
    // Longer than a loss takes to be found: nothing more happens.
    std::thread::sleep(Duration::from_secs(3));
    let all = attempts(&account.status("pair"));
    assert_eq!(all.len(), 3, "{after:#}");
    assert_eq!(all[2]["order"]["node"], 1, "{after:#}");
    let same = all.iter().find(|attempt| attempt["id"] == stays["id"]).expect("node 0");
    for key in ["status", "machine_id", "started_ms", "starts", "address"] {
        assert_eq!(same[key], stays[key], "{key} of the node that was not lost: {after:#}");
    }
    assert!(machine(stays).is_some());
    account.ok(&["down", "pair"]);
    end(serve);
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}

/// What a node's workload was told: its number and the addresses of all.
fn told(account: &Account, node: &str) -> String {
    let log = account.ok(&["logs", "team", "--node", node]);
    log.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn the_other_nodes_learn_where_a_replaced_one_is() {
    let account = Account::new("gcp");
    let script = "echo $NVBIND_NODE_RANK of $NVBIND_NODES: $NVBIND_NODE_ADDRESSES; trap 'exit 1' TERM; while :; do sleep 0.1; done";
    let cloud = "gpu-type = ['T4', 'L4', 'A100', 'V100']\nnodes = 2\nspot = 'only'\nrestart-on-replacement = true";
    account.ok(&["deploy", "--retry", "-f", &account.file("team", script, cloud)]);
    let address = |attempt: &Value| attempt["private_address"].as_str().expect("an address").to_owned();
    let of_node = |status: &Value, node: u32| {
        let mut all = attempts(status).into_iter();
        all.rfind(|attempt| attempt["order"]["node"] == node)
            .expect("an attempt")
    };
    let before = account.status("team");
    let (first, second) = (of_node(&before, 0), of_node(&before, 1));
    let all = format!("{} {}", address(&first), address(&second));
    // Neither has begun before both were there.
    wait_until("the first words", || {
        told(&account, "0") == format!("0 of 2: {all}") && told(&account, "1") == format!("1 of 2: {all}")
    });

    let _serve = account.serve();
    std::thread::sleep(Duration::from_secs(2));
    let machines = account.emulator.machines();
    let lost = machines
        .iter()
        .find(|machine| machine["name"] == second["order"]["name"])
        .expect("the machine of node 1");
    account.emulator.kill(lost["id"].as_str().expect("id"));
    let after = account.until("team", "both nodes again", |status| {
        let (now, new) = (of_node(status, 0), of_node(status, 1));
        working(status) == 2 && now["rejoins"] == 1 && now["status"] == "working" && new["id"] != second["id"]
    });
    let (stays, new) = (of_node(&after, 0), of_node(&after, 1));
    assert_eq!(
        (&stays["id"], &stays["machine_id"]),
        (&first["id"], &first["machine_id"]),
        "{after:#}"
    );
    assert_ne!(address(&new), address(&second), "{after:#}");
    let all = format!("{} {}", address(&stays), address(&new));
    wait_until("the words of the second run", || {
        told(&account, "0") == format!("0 of 2: {all}") && told(&account, "1") == format!("1 of 2: {all}")
    });
    // The run that was ended for the next one has failed nobody: no restart is used up, nothing else is replaced.
    std::thread::sleep(Duration::from_secs(3));
    let later = account.status("team");
    assert_eq!(later["status"], "active", "{later:#}");
    assert_eq!(attempts(&later).len(), attempts(&after).len(), "{later:#}");
    let ms = |attempt: &Value, key: &str| attempt[key].as_i64().expect("a time");
    eprintln!(
        "gcp: both nodes work with each other's addresses {:.1} s after the order of the new machine",
        (ms(&stays, "started_ms").max(ms(&new, "started_ms")) - ms(&new, "intent_ms")) as f64 / 1000.0
    );
    account.ok(&["down", "team"]);
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}

#[test]
fn a_deployment_ends_when_its_money_is_spent() {
    let account = Account::new("azure");
    deploy(&account, "dear", &[]);
    let attempt = attempts(&account.status("dear")).remove(0);
    let usd = |key: &str| attempt[key].as_f64().expect("a price");
    let usd_s = (usd("usd_h") + usd("extras_usd_h")) / 3600.0;
    let seconds = 15.0;
    let budget = usd_s * seconds;
    let mut command = account.nvbind();
    command
        .args(["cloud", "serve"])
        .env("NVBIND_CLOUD_BUDGET_DAILY", format!("{budget:.9}"));
    let serve = command.spawn().expect("start nvbind");
    wait_until("the end", || account.status("dear")["status"] == "failed");
    end(serve);
    let status = account.status("dear");
    let message = status["message"].as_str().expect("message");
    assert!(
        message.starts_with("the daily budget of ")
            && message.contains(" is reached: ")
            && message.contains("raise cloud.budget_daily"),
        "{message}"
    );
    let ended = attempts(&status).remove(0);
    let ms = |key: &str| ended[key].as_i64().expect("a time");
    let ran = (ms("deleting_ms") - ms("accepted_ms")) as f64 / 1000.0;
    eprintln!("the budget of {seconds} s is spent: given back after {ran:.1} s");
    assert!(ran >= seconds && ran <= seconds + LOOK_SECONDS, "{status:#}");
    assert_eq!(attempts(&status).len(), 1, "no other machine: {status:#}");
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}
