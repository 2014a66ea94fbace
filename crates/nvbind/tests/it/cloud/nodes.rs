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
