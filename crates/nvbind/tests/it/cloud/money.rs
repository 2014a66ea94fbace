//! The clouds' own bills beside the record, and how far both are apart.

use super::account::Account;
use crate::support::{stderr, stdout};
use serde_json::{Value, json};

/// Runs a dear machine to the end of a short workload, so that its seconds are worth more than a cent.
fn spend(account: &Account, gpus: &str, instance_type: &str) {
    let needs = [
        "--gpus",
        gpus,
        "--instance-type",
        instance_type,
        "--spot",
        "never",
        "--wait",
    ];
    let words = account.deploy("dear", "sleep 3", &needs);
    account.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

fn bill(account: &Account) -> Value {
    let printed = account.ok(&["costs", "--period", "day", "--bill", "--format", "json"]);
    serde_json::from_str::<Value>(&printed).expect("JSON")["bill"].clone()
}

/// What was recorded and what is billed are shown with their difference; both are of the same machine.
fn bills(provider: &'static str, instance_type: &str, call: &str) {
    let account = Account::new(provider);
    spend(&account, "8", instance_type);
    let lines = bill(&account);
    // A machine that lives over midnight has a line for each day.
    let lines = lines.as_array().expect("lines");
    assert!((1..=2).contains(&lines.len()), "{lines:#?}");
    let sum = |key: &str| lines.iter().map(|line| line[key].as_f64().expect("USD")).sum::<f64>();
    let (recorded, billed, drift) = (sum("recorded_usd"), sum("billed_usd"), sum("drift_usd"));
    eprintln!("{provider}: recorded {recorded:.4} USD, billed {billed:.4} USD, drift {drift:+.4} USD");
    for line in lines {
        assert_eq!(
            (&line["provider"], &line["deployment"]),
            (&json!(provider), &json!("dear")),
            "{line}"
        );
    }
    assert!(recorded > 0.01 && billed > 0.01, "{lines:#?}");
    assert!((billed - recorded - drift).abs() < 1e-9, "{lines:#?}");
    assert!(drift.abs() < recorded / 2.0, "two clocks and a disk apart: {lines:#?}");
    let table = account.ok(&["costs", "--period", "day", "--bill"]);
    for word in ["RECORDED USD", "BILLED USD", "DIFFERENCE"] {
        assert!(table.contains(word), "{table}");
    }

    // Without a bill the record is still told, and why there is none.
    let rule = json!({ "call": call, "do": "error", "status": 403, "code": "AccessDenied", "message": "not yours to see", "count": -1 });
    account.emulator.rule(&rule);
    let output = account.cloud(&["costs", "--period", "day", "--bill", "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let warned = format!("no bill from {provider}: AccessDenied: not yours to see");
    assert!(stderr(&output).contains(&warned), "{}", stderr(&output));
    let printed: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(printed["bill"], json!([]));
    assert!(printed["total"]["usd"].as_f64().expect("USD") > 0.01, "{printed:#}");
}

#[test]
fn the_bill_of_aws_stands_beside_the_record() {
    bills("aws", "p4d.24xlarge", "GetCostAndUsage");
}

#[test]
fn the_bill_of_azure_stands_beside_the_record() {
    bills("azure", "Standard_ND96asr_v4", "POST query");
}

#[test]
fn google_has_no_bill_to_ask_for_and_that_is_said() {
    let account = Account::new("gcp");
    let output = account.cloud(&["costs", "--bill", "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("no bill from gcp: "), "{}", stderr(&output));
}
