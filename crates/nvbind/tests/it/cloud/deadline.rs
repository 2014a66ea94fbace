//! A deployment with a deadline runs on spot while there is time, and on demand once there is none to lose.

use super::account::Account;
use serde_json::{Value, json};
use std::time::Duration;

/// Time from the start until it must be done.
const DEADLINE_S: f64 = 150.0;
/// How long the workload takes at most, as its user says.
const WORK_S: f64 = 30.0;
/// A twelfth of the deadline: how often it is decided, and what is kept in reserve.
const TICK_S: f64 = 12.5;
/// A machine with one T4.
const TYPE: &str = "n1-standard-4+1xnvidia-tesla-t4";
/// It keeps nothing when it is told to end, so it takes half of that time: a tick before the interruption counts as work that was done.
const WORK: &str = "trap 'exit 0' TERM; i=0; while [ $i -lt 150 ]; do sleep 0.1; i=$((i+1)); done; echo done";

/// Orders of a deployment: their market, how they ended, and seconds from the deployment's start until they were written down.
fn orders(status: &Value) -> Vec<(String, String, f64)> {
    let start = status["created_ms"].as_f64().expect("created_ms");
    let attempts = status["attempts"].as_array().expect("attempts");
    attempts
        .iter()
        .map(|attempt| {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let at = attempt["intent_ms"].as_f64().expect("intent_ms");
            (
                word(&attempt["order"]["market"]),
                word(&attempt["end"]),
                (at - start) / 1000.0,
            )
        })
        .collect()
}

#[test]
fn spot_capacity_that_goes_is_waited_for_until_the_deadline_asks_for_a_machine_on_demand() {
    let account = Account::new("gcp");
    // How long a start takes here is learned from what ran before.
    let words = account.deploy("before", "exit 0", &["--spot", "only", "--wait"]);
    account.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());

    // One machine type, whose spot price is below half of that on demand.
    let needs = [
        "--work",
        "30s",
        "--deadline",
        "150s",
        "--instance-type",
        TYPE,
        "--region",
        "us-central1",
    ];
    let words = account.deploy("due", WORK, &needs);
    account.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let _serve = account.serve();
    let first = account.emulator.machines().remove(0);
    assert_eq!(first["market"], "spot", "it begins on spot: {first:#}");
    let refusal = json!({ "call": "instances.insert", "match": { "market": "spot" }, "do": "error", "status": 503, "count": -1,
        "code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": "no room for spot" });
    account.emulator.rule(&refusal);
    std::thread::sleep(Duration::from_secs(2));
    account.emulator.interrupt(first["id"].as_str().expect("id"), 15.0);

    let waiting = account.until("due", "nothing that runs", |status| {
        status["message"]
            .as_str()
            .is_some_and(|message| message.contains("spot capacity is away"))
    });
    assert_eq!(orders(&waiting)[0].0, "spot");
    account.until("due", "a machine on demand", |status| {
        orders(status).last().is_some_and(|(market, ..)| market == "on-demand")
    });
    let done = account.until("due", "the end", |status| status["status"] == "done");
    let orders = orders(&done);
    let (_, end, at) = orders.last().expect("orders");
    let seconds = (done["deployment"]["ended_ms"].as_f64().expect("ended_ms")
        - done["created_ms"].as_f64().expect("created_ms"))
        / 1000.0;
    eprintln!(
        "gcp: deadline {DEADLINE_S} s, work {WORK_S} s: on demand after {at:.1} s, done after {seconds:.1} s; {orders:?}"
    );
    let on_demand: Vec<_> = orders.iter().filter(|(market, ..)| market == "on-demand").collect();
    assert_eq!(on_demand.len(), 1, "{done:#}");
    assert_eq!(end, "done", "{done:#}");
    // Once the slack is used up but for the reserve, give or take the tick that ran on spot and the one in which it is decided. What a start
    // takes here is kept free, too.
    let attempts = done["attempts"].as_array().expect("attempts");
    let start = |attempt: &Value| Some((attempt["started_ms"].as_f64()? - attempt["intent_ms"].as_f64()?) / 1000.0);
    let slowest = attempts.iter().filter_map(start).fold(0.0, f64::max);
    let latest = DEADLINE_S - WORK_S;
    assert!(
        (latest - 3.0 * TICK_S - 2.0 * slowest..=latest).contains(at),
        "{done:#}"
    );
    assert!(seconds <= DEADLINE_S, "{done:#}");
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}

#[test]
fn a_workload_that_takes_longer_than_was_said_moves_on_demand_while_there_is_time() {
    let account = Account::new("gcp");
    let forever = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let needs = ["--work", "10s", "--deadline", "120s", "--instance-type", TYPE];
    let before = account.deploy("before", "exit 0", &["--spot", "only", "--wait"]);
    account.ok(&before.iter().map(String::as_str).collect::<Vec<_>>());
    let words = account.deploy("late", forever, &needs);
    account.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let _serve = account.serve();
    let moved = account.until("late", "work on demand", |status| {
        let second = &status["attempts"][1];
        second["order"]["market"] == "on-demand"
            && second["status"] == "working"
            && !status["attempts"][0]["ended_ms"].is_null()
    });
    let ms = |number: usize, key: &str| moved["attempts"][number][key].as_i64().expect("a time");
    eprintln!(
        "gcp: on demand {:.1} s after the start of a deployment that has 120 s; {:.1} s without work",
        (ms(1, "intent_ms") - moved["created_ms"].as_i64().expect("created_ms")) as f64 / 1000.0,
        (ms(1, "started_ms") - ms(0, "deleting_ms")) as f64 / 1000.0
    );
    assert_eq!(moved["attempts"][0]["order"]["market"], "spot", "{moved:#}");
    assert_eq!(moved["attempts"][0]["end"], "not-needed", "{moved:#}");
    assert!(
        ms(1, "accepted_ms") < ms(0, "deleting_ms"),
        "the old one goes when the new one is there: {moved:#}"
    );
    assert!(
        ms(0, "deleting_ms") < ms(1, "started_ms"),
        "never both at once: {moved:#}"
    );
    account.ok(&["down", "late"]);
    assert_eq!(account.emulator.everything(), Vec::<Value>::new());
}
