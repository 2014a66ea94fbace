//! `nvbind cloud costs` and `nvbind cloud budget` on a state that is there.

use nvbind_cloud::catalog::{Market, ProviderName};
use nvbind_cloud::provider::Order;
use nvbind_cloud::state::{NewAttempt, State, now_ms};
use nvbind_cloud::{AttemptStatus, DeploymentSpec, Requirements};
use nvbind_testkit::temp_dir;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const HOUR: i64 = 3_600_000;

/// A state with a deployment of two machines: one for two hours until now minus an hour, one from then on.
fn ledger() -> TempDir {
    let folder = temp_dir("costs");
    let state = State::open(folder.path()).expect("state");
    let requirements = Requirements {
        budget_usd: Some(4.0),
        ..Requirements::default()
    };
    let mut spec = DeploymentSpec::new("train", "", requirements);
    spec.owner = "<ada>".to_owned();
    let deployment = state.add_deployment(&spec).expect("deployment");
    let now = now_ms();
    let lives = [
        (ProviderName::Aws, 3, Some(1)),
        (ProviderName::Gcp, 1, None),
        (ProviderName::Azure, 0, None),
    ];
    for (provider, from, to) in lives {
        let mut attempt = state.add_attempt(&new(deployment, provider)).expect("attempt");
        if from > 0 {
            attempt.status = if to.is_some() {
                AttemptStatus::Ended
            } else {
                AttemptStatus::Working
            };
            attempt.accepted_ms = Some(now - from * HOUR);
            attempt.ended_ms = to.map(|to| now - to * HOUR);
        }
        state.save_attempt(&attempt).expect("attempt");
    }
    folder
}

fn new(deployment: i64, provider: ProviderName) -> NewAttempt {
    NewAttempt {
        deployment,
        provider,
        order: Order {
            owner: "0123456789abcdef".to_owned(),
            deployment: "train".to_owned(),
            node: 0,
            attempt: 0,
            token: String::new(),
            name: String::new(),
            region: "r".to_owned(),
            zone: None,
            instance_type: "m".to_owned(),
            market: Market::Spot,
            disk_gib: 100,
            image: None,
            user: "ubuntu".to_owned(),
            public_key: String::new(),
            allow_from: Vec::new(),
            max_run_seconds: Some(10 * 3600),
        },
        gpu: "A100-40GB".to_owned(),
        gpus: 8.0,
        usd_h: 1.5,
        extras_usd_h: 0.5,
        reason: String::new(),
    }
}

fn nvbind(state: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nvbind"))
        .arg("cloud")
        .args(arguments)
        .env("NVBIND_STATE_DIR", state)
        .env_remove("NVBIND_CONFIG")
        .output()
        .expect("nvbind")
}

fn json(state: &Path, arguments: &[&str]) -> Value {
    let output = nvbind(state, &[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What is wanted, give or take what the seconds of the test itself cost.
fn is_near(value: &Value, wanted: f64) {
    let found = value.as_f64().unwrap_or(f64::NAN);
    assert!((found - wanted).abs() < 0.1, "{found} is not {wanted}");
}

#[test]
fn costs_are_told_apart() {
    let folder = ledger();
    let costs = json(folder.path(), &["costs", "--period", "30d", "--by", "provider"]);
    let lines: Vec<&str> = costs["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    assert_eq!(lines, ["aws", "gcp"]);
    is_near(&costs["lines"][0]["usd"], 4.0);
    is_near(&costs["lines"][1]["machines_usd"], 1.5);
    is_near(&costs["total"]["usd"], 6.0);
    is_near(&costs["total"]["gpu_hours"], 24.0);
    is_near(&costs["forecast"]["month"]["running_usd_h"], 2.0);
    let short = json(folder.path(), &["costs", "--period", "2h", "--by", "user"]);
    assert_eq!(short["lines"][0]["name"], "<ada>");
    is_near(&short["total"]["usd"], 4.0);
}

#[test]
fn a_table_has_bars_where_they_are_asked_for() {
    let folder = ledger();
    let output = nvbind(folder.path(), &["costs", "--period", "7d", "--chart"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("DEPLOYMENT") && text.contains("train") && text.contains("FORECAST"),
        "{text}"
    );
    assert!(text.contains('█') && !text.contains('\u{1b}'), "{text}");
    assert!(
        text.lines().filter(|line| line.starts_with("20")).count() >= 7,
        "{text}"
    );
}

#[test]
fn a_report_replaces_the_one_before() {
    let folder = ledger();
    let file = folder.path().join("report.html");
    std::fs::write(&file, "old").unwrap();
    let path = file.display().to_string();
    assert!(nvbind(folder.path(), &["costs", "--html", &path]).status.success());
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"),
        "{page}"
    );
    assert!(page.contains("&lt;ada&gt;") && !page.contains("<ada>"));
    let left: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let nowhere = nvbind(folder.path(), &["costs", "--html", "/nonexistent/report.html"]);
    assert_eq!(nowhere.status.code(), Some(4));
}

#[test]
fn budgets_show_what_is_left() {
    let folder = ledger();
    let output = Command::new(env!("CARGO_BIN_EXE_nvbind"))
        .args(["cloud", "budget", "--format", "json"])
        .env("NVBIND_STATE_DIR", folder.path())
        .env_remove("NVBIND_CONFIG")
        .env("NVBIND_CLOUD_BUDGET_MONTHLY", "1000")
        .output()
        .unwrap();
    let budget: Value = serde_json::from_slice(&output.stdout).unwrap();
    is_near(&budget["limits"]["monthly_usd"], 1000.0);
    assert_eq!(budget["limits"]["daily_usd"], Value::Null);
    assert_eq!(budget["limits"]["mode"], "hard");
    is_near(&budget["deployments"][0]["spent_usd"], 6.0);
    assert_eq!(budget["findings"][0]["must_stop"], true);
    let text = nvbind(folder.path(), &["budget"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("the budget of 'train' of 4.00 USD is reached"), "{text}");
}

#[test]
fn bad_words_are_one_line() {
    let folder = temp_dir("costs");
    for (arguments, wanted) in [
        (["costs", "--period", "soon"], "bad period 'soon'"),
        (["costs", "--by", "cloud"], "use provider, deployment, user, gpu, day"),
    ] {
        let output = nvbind(folder.path(), &arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text.contains(wanted) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn a_run_takes_no_wrong_table_for_the_cloud() {
    let folder = temp_dir("costs");
    let file = folder.path().join("nvbind.toml");
    let text = |table: &str| format!("rootfs = '/nonexistent'\ncommand = ['true']\n{table}");
    for (table, wanted) in [
        (
            "[cloud]\ngpu-typ = 'A100'\n",
            "line 4: unknown key 'cloud.gpu-typ': did you mean 'gpu-type'?",
        ),
        ("[cloud]\ngpu-type = 'A100'\n", "/nonexistent"),
    ] {
        std::fs::write(&file, text(table)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_nvbind"))
            .args(["run", "-f"])
            .arg(&file)
            .env("NVBIND_STATE_DIR", folder.path())
            .env_remove("NVBIND_CONFIG")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(wanted), "{text}");
        assert_eq!(text.contains("cloud"), table.contains("typ "), "{text}");
    }
}
