//! Bad accounts and wishes that cannot be met: one line that names the next step, the right exit code, and nothing is left running.

use super::account::Account;
use crate::support::{stderr, stdout};
use nvbind_testkit::wait_until;
use serde_json::{Value, json};

/// A machine type with one GPU, and its region.
const PLACE: [&str; 6] = [
    "--instance-type",
    "Standard_NC4as_T4_v3",
    "--region",
    "eastus",
    "--spot",
    "never",
];

/// Refuses a deployment with this exit code in one line that has these words. Nothing is left of it, and what was written down is over.
fn refuses(account: &Account, variables: &[(&str, &str)], more: &[&str], code: i32, words: &[&str]) {
    let mut command = account.nvbind();
    command.arg("cloud").args(account.deploy("d", "exit 0", more));
    let output = command.envs(variables.iter().copied()).output().expect("start nvbind");
    let text = stderr(&output);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("nvbind: ")).collect();
    let [line] = lines[..] else { panic!("one line: {text}") };
    for word in words {
        assert!(line.contains(word), "no '{word}' in: {line}");
    }
    assert_eq!(text.lines().last(), Some(line));
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(account.emulator.everything(), Vec::<Value>::new(), "{text}");
    let listed = account.ok(&["list", "--format", "json"]);
    assert_eq!(listed.trim(), "[]", "it is over: {text}");
}

fn always(call: &str, status: u16, code: &str, message: &str) -> Value {
    json!({ "call": call, "do": "error", "status": status, "code": code, "message": message, "count": -1 })
}

#[test]
fn credentials_that_are_refused() {
    let account = Account::new("azure");
    let wrong = [("AZURE_CLIENT_SECRET", "wrong")];
    let words = [
        "AADSTS7000215: ",
        "Invalid client secret provided",
        "`nvbind cloud check`",
    ];
    refuses(&account, &wrong, &PLACE, 3, &words);
    assert_eq!(account.emulator.calls("PUT virtualMachines"), 0);
    // The next step that the line names says the same.
    let mut check = account.nvbind();
    let checked = check
        .args(["cloud", "check"])
        .envs(wrong)
        .output()
        .expect("start nvbind");
    assert_eq!(checked.status.code(), Some(3));
    assert!(stdout(&checked).contains("AADSTS7000215"), "{}", stdout(&checked));
    // With the right secret it lifts the block.
    account.ok(&["check"]);
    let arguments = account.deploy("d", "exit 0", &[&PLACE[..], &["--wait"]].concat());
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    account.ok(&words);
}

#[test]
fn credentials_that_have_expired() {
    let account = Account::new("azure");
    let message = "The access token expiry UTC time is earlier than current UTC time";
    let calls = [
        "GET virtualMachines",
        "PUT resourceGroups",
        "GET resourceGroups",
        "GET resourcegroups",
        "GET skus",
        "GET providers",
    ];
    for call in calls {
        let rule = always(call, 401, "ExpiredAuthenticationToken", message);
        account.emulator.rule(&rule);
    }
    let words = ["ExpiredAuthenticationToken: ", message, "`nvbind cloud check`"];
    refuses(&account, &[], &PLACE, 3, &words);
    assert_eq!(account.emulator.calls("PUT virtualMachines"), 0);
}

#[test]
fn credentials_that_expire_in_the_middle_leave_nothing_that_is_forgotten() {
    let account = Account::new("azure");
    let message = "The access token expiry UTC time is earlier than current UTC time";
    // The group is made; then nothing is let through any more, not even a look.
    for call in [
        "PUT virtualMachines",
        "GET virtualMachines",
        "GET resourceGroups",
        "DELETE resourceGroups",
    ] {
        account
            .emulator
            .rule(&always(call, 401, "ExpiredAuthenticationToken", message));
    }
    let words = account.deploy("d", "exit 0", &PLACE);
    let deploy = account.start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    wait_until("a deployment", || account.cloud(&["status", "d"]).status.success());
    account.until("d", "an order that is given up", |status| {
        let events = status["events"].as_array().cloned().unwrap_or_default();
        status["status"] == "failing" && events.iter().any(|event| event["kind"] == "clean-up")
    });
    drop(deploy);
    assert!(!account.emulator.everything().is_empty(), "the group is there");
    // The account works again: whoever goes on finds what was left.
    account.emulator.reset();
    account.ok(&["check"]);
    let resumed = account.cloud(&["resume", "d"]);
    assert_eq!(resumed.status.code(), Some(3), "{}", stderr(&resumed));
    assert!(
        stderr(&resumed).contains("ExpiredAuthenticationToken"),
        "{}",
        stderr(&resumed)
    );
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}

#[test]
fn a_provider_that_falls_silent_is_told_of_and_not_waited_for() {
    let account = Account::new("azure");
    for call in [
        "PUT virtualMachines",
        "GET virtualMachines",
        "DELETE virtualMachines",
        "DELETE resourceGroups",
    ] {
        account.emulator.rule(&always(call, 503, "ServerBusy", "come again"));
    }
    let words = account.deploy("d", "exit 0", &PLACE);
    let deployed = account.cloud(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let told = stderr(&deployed);
    assert_eq!(deployed.status.code(), Some(1), "{told}");
    for word in ["cannot be given back yet: ", "ServerBusy", "nvbind cloud down d"] {
        assert!(told.contains(word), "no '{word}' in: {told}");
    }
    // It answers again: nothing is left.
    account.emulator.reset();
    account.ok(&["down", "d"]);
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}

#[test]
fn an_account_without_permission() {
    let account = Account::new("azure");
    let message = "The client does not have authorization to perform action 'Microsoft.Compute/virtualMachines/write'";
    account
        .emulator
        .rule(&always("PUT virtualMachines", 403, "AuthorizationFailed", message));
    let words = ["AuthorizationFailed: ", message, "`nvbind cloud check`"];
    refuses(&account, &[], &PLACE, 3, &words);
}

#[test]
fn an_account_without_quota() {
    let account = Account::new("azure");
    let limit = json!({ "region": "eastus", "name": "StandardNCASv3_T4Family", "limit": 0 });
    account.emulator.post("/_x/limit", &limit);
    // Told by the quotas that were asked for, or by the refusal where those came too late.
    let words = ["quota", "StandardNCASv3_T4Family", "nvbind cloud explain"];
    refuses(&account, &[], &PLACE, 4, &words);
}

#[test]
fn no_capacity_anywhere() {
    let account = Account::new("azure");
    let rule = always("PUT virtualMachines", 409, "AllocationFailed", "no room");
    account.emulator.rule(&rule);
    let words = [
        "AllocationFailed: no room",
        "no offer will do now",
        "nvbind cloud explain",
    ];
    refuses(&account, &[], &PLACE, 4, &words);
    assert_eq!(
        account.emulator.calls("PUT virtualMachines"),
        1,
        "it is not asked again for what is not there"
    );
}

#[test]
fn a_budget_that_a_launch_would_pass() {
    let account = Account::new("azure");
    let words = [
        "the daily budget of 0.01 USD would be passed: 0.00 USD are spent",
        "raise cloud.budget_daily",
    ];
    refuses(&account, &[("NVBIND_CLOUD_BUDGET_DAILY", "0.01")], &PLACE, 4, &words);
    let own = [&PLACE[..], &["--work", "10h", "--budget", "0.5"]].concat();
    let words = ["a budget of 0.5 USD", "the cheapest that fits is"];
    refuses(&account, &[], &own, 2, &words);
    let dear = [&PLACE[..], &["--max-price", "0.1"]].concat();
    let words = ["a price of at most 0.1 USD/h", "the cheapest that fits is"];
    refuses(&account, &[], &dear, 2, &words);
    assert_eq!(account.emulator.calls("PUT resourceGroups"), 0);
}

#[test]
fn wishes_that_name_nothing_or_contradict_each_other() {
    let account = Account::new("azure");
    let words = ["unknown GPU type 'H10': did you mean H100?", "nvbind cloud offers"];
    refuses(&account, &[], &["--gpu-type", "H10"], 4, &words);
    let words = ["residency EU and region eastus contradict each other: eastus is in US"];
    refuses(&account, &[], &["--residency", "EU", "--region", "eastus"], 2, &words);
    assert_eq!(account.emulator.log(), Vec::<Value>::new(), "nobody was asked");
}
