//! Deployments that live, move and end.

use super::account::Account;
use super::client::{between, working};
use crate::support::{stderr, stdout};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A workload that never ends by itself.
const FOREVER: &str = "echo up; nvidia-smi -L 2>/dev/null; trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done";

/// The calls that create a machine, as each emulated cloud names them.
const CREATES: [&str; 4] = ["RunInstances", "CreateFleet", "instances.insert", "PUT virtualMachines"];

/// Every machine of the account, by id.
fn ids(account: &Account) -> Vec<String> {
    let machines = account.emulator.machines();
    machines
        .iter()
        .filter_map(|machine| machine["id"].as_str().map(str::to_owned))
        .collect()
}

/// A workload runs to its end, and nothing is left of its machine.
fn runs_to_its_end(provider: &'static str) {
    let account = Account::new(provider);
    let mut arguments = account.deploy("short", "echo node $NVBIND_NODE_RANK; exit 0", &["--wait"]);
    arguments.insert(0, "cloud".to_owned());
    let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let output = account.nvbind().args(&arguments).output().expect("start nvbind");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let status = account.status("short");
    assert_eq!(status["status"], "done", "{status:#}");
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
    let accepted = between(&status, "order", "accepted");
    let log = account.emulator.log();
    let create = log
        .iter()
        .find(|call| CREATES.contains(&call["call"].as_str().unwrap_or_default()));
    let created = create.and_then(|call| call["at"].as_f64()).expect("a create call") - start.as_secs_f64();
    eprintln!(
        "{provider}: from the command to the accepted create call {created:.2} s, from the order to its acceptance {accepted} ms"
    );
    assert!(account.ok(&["costs", "--period", "1d"]).contains("short"));
    assert_eq!(account.ok(&["gc", "--format", "json"]).trim(), "[]");
}

/// A machine is taken back with a notice, and another one dies without: the workload goes on elsewhere.
fn survives_interruption_and_death(provider: &'static str) {
    let account = Account::new(provider);
    let arguments = account.deploy("long", FOREVER, &["--spot", "only", "--retry"]);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    account.ok(&words);
    assert!(account.ok(&["logs", "long"]).starts_with("up\n"));
    let mut serve = account.nvbind().args(["cloud", "serve"]).spawn().expect("start nvbind");
    std::thread::sleep(Duration::from_secs(2));

    let first = ids(&account);
    assert_eq!(first.len(), 1);
    account.emulator.interrupt(&first[0], 20.0);
    let moved = account.until("long", "another machine after the notice", |status| {
        working(status) == 1 && ids(&account).iter().any(|id| !first.contains(id))
    });
    let notice = between(&moved, "notice", "accepted");
    eprintln!("{provider}: from the notice to the accepted order of the replacement {notice} ms");
    assert!(notice <= 2000, "{moved:#}");
    account.until("long", "one machine", |_| ids(&account).len() == 1);

    let second = ids(&account);
    let death = Instant::now();
    account.emulator.kill(&second[0]);
    let replaced = account.until("long", "another order after the death", |status| {
        let attempts = status["attempts"].as_array().expect("attempts");
        attempts.len() == 3 && attempts[2]["accepted_ms"].is_i64()
    });
    let seconds = death.elapsed().as_secs_f64();
    eprintln!("{provider}: from a silent death to the accepted order of the replacement {seconds:.1} s");
    assert!(seconds <= 15.0, "{replaced:#}");
    account.until("long", "work on the third machine", |status| working(status) == 1);

    account.ok(&["down", "long"]);
    serve.kill().expect("kill serve");
    serve.wait().expect("serve");
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
    assert_eq!(account.status("long")["status"], "stopped");
}

#[test]
fn aws_runs_to_its_end() {
    runs_to_its_end("aws");
}

#[test]
fn gcp_runs_to_its_end() {
    runs_to_its_end("gcp");
}

#[test]
fn azure_runs_to_its_end() {
    runs_to_its_end("azure");
}

#[test]
fn aws_survives_interruption_and_death() {
    survives_interruption_and_death("aws");
}

#[test]
fn gcp_survives_interruption_and_death() {
    survives_interruption_and_death("gcp");
}

#[test]
fn azure_survives_interruption_and_death() {
    survives_interruption_and_death("azure");
}

#[test]
fn who_may_log_in_is_said_and_narrowed() {
    let account = Account::new("gcp");
    let deploy = |name: &str, variables: &[(&str, &str)], more: &[&str]| {
        let mut command = account.nvbind();
        command.arg("cloud").args(account.deploy(name, "exit 0", more));
        let output = command.envs(variables.iter().copied()).output().expect("start nvbind");
        let allowed = match output.status.success() {
            true => account.status(name)["deployment"]["spec"]["allow_from"].clone(),
            false => Value::Null,
        };
        (stderr(&output), allowed)
    };
    let open = "port 22 of rented machines answers every address";
    let (told, allowed) = deploy("open", &[], &["--wait"]);
    assert!(told.contains(open), "{told}");
    assert_eq!(allowed, serde_json::json!(["0.0.0.0/0"]));
    let configured = [("NVBIND_CLOUD_ALLOW_FROM", "10.0.0.0/8,192.0.2.0/24")];
    let (told, allowed) = deploy("narrow", &configured, &["--wait"]);
    assert!(!told.contains(open), "{told}");
    assert_eq!(allowed, serde_json::json!(["10.0.0.0/8", "192.0.2.0/24"]));
    let (told, _) = deploy("wrong", &configured, &["--allow-from", "10.0.0.1"]);
    assert!(told.contains("--allow-from 10.0.0.1: write a network"), "{told}");
}

#[test]
fn a_workload_that_fails_is_told_and_its_machine_given_back() {
    let account = Account::new("aws");
    let arguments = account.deploy("broken", "exit 3", &["--wait", "--max-restarts", "1"]);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = account.cloud(&words);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("deployment 'broken' failed: the workload of node 0 ended with code 3"),
        "{}",
        stderr(&output)
    );
    let status = account.status("broken");
    assert_eq!(status["attempts"][0]["starts"], 1);
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}

#[test]
fn secrets_reach_the_workload_and_no_file_and_no_command_line() {
    let account = Account::new("aws");
    let arguments = account.deploy(
        "secret",
        "echo $API_KEY | md5sum; sleep 5",
        &["--secret", "API_KEY", "--wait"],
    );
    let mut command = account.nvbind();
    command.arg("cloud").args(&arguments).env("API_KEY", "s3cr3t-v4lue");
    let mut child = command.spawn().expect("start nvbind");
    let mut seen = String::new();
    while child.try_wait().expect("wait").is_none() {
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            seen.push_str(&String::from_utf8_lossy(
                &std::fs::read(entry.path().join("cmdline")).unwrap_or_default(),
            ));
        }
        assert!(!seen.contains("s3cr3t-v4lue"), "on a command line");
        seen.clear();
        std::thread::sleep(Duration::from_millis(50));
    }
    let found = std::process::Command::new("grep")
        .args(["-r", "-l", "s3cr3t-v4lue"])
        .arg(account.state())
        .output()
        .expect("grep");
    assert_eq!(stdout(&found), "");
    let calls = serde_json::to_string(&account.emulator.log()).expect("log");
    assert!(!calls.contains("s3cr3t-v4lue"));
}
