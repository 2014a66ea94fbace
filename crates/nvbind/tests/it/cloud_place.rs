//! `nvbind cloud explain`, `catalog` and `simulate jobs`, without an account.

use nvbind_testkit::temp_dir;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A state folder of its own, and `nvbind cloud` on it.
struct Cloud(TempDir);

impl Cloud {
    fn new() -> Self {
        Self(temp_dir("cloud-place"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// `nvbind` in a folder of its own, so that only the providers' programs that a test puts on `PATH` are found.
    fn run(&self, arguments: &[&str]) -> Output {
        let program = self.path().join("bin/nvbind");
        if !program.exists() {
            fs::create_dir_all(self.path().join("bin")).expect("as it should be");
            let built = env!("CARGO_BIN_EXE_nvbind");
            fs::hard_link(built, &program)
                .or_else(|_| fs::copy(built, &program).map(|_| ()))
                .expect("as it should be");
        }
        let mut command = Command::new(program);
        command
            .arg("cloud")
            .args(arguments)
            .env("NVBIND_STATE_DIR", self.path());
        command.env("PATH", self.path());
        command.output().expect("as it should be")
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("as it should be")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[arguments, &["--format", "json"]].concat())).expect("as it should be")
    }

    /// The exit code and the one line on standard error.
    fn error(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let text = String::from_utf8(output.stderr).expect("as it should be");
        assert_eq!(text.lines().count(), 1, "{text}");
        (
            output.status.code().expect("as it should be"),
            text.trim_end().to_owned(),
        )
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::write(&path, text).expect("as it should be");
        path.display().to_string()
    }

    /// Prices of one region, as `catalog refresh` would have left them.
    fn prices(&self, at: u64) {
        let quote = |zone: &str, market: &str, usd_h: f64| {
            format!(
                r#"{{"provider": "aws", "instance_type": "g5.xlarge", "region": "eu-central-1"{zone}, "market": "{market}", "usd_h": {usd_h}, "at": {at}}}"#
            )
        };
        let quotes = [
            quote("", "on-demand", 1.258),
            quote(r#", "zone": "eu-central-1a""#, "spot", 0.51),
            quote(r#", "zone": "eu-central-1b""#, "spot", 0.47),
        ];
        self.file(
            "prices.json",
            &format!(
                r#"{{"version": 1, "fetched": [{{"provider": "aws", "region": "eu-central-1", "at": {at}}}], "quotes": [{}]}}"#,
                quotes.join(", ")
            ),
        );
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("as it should be")
        .as_secs()
}

#[test]
fn explain_ranks_what_will_do_and_tells_of_the_rest() {
    let cloud = Cloud::new();
    let arguments = ["explain", "--gpu-type", "A100", "--gpus", "4", "--work", "10h"];
    let explained = cloud.json(&arguments);
    let choices = explained["choices"].as_array().expect("as it should be");
    assert!(choices.len() > 5, "{explained}");
    let weighted = |choice: &Value| choice["cost"]["weighted_usd"].as_f64().expect("as it should be");
    for pair in choices.windows(2) {
        assert!(weighted(&pair[0]) <= weighted(&pair[1]), "{pair:?}");
    }
    for choice in choices {
        assert!(choice["gpus"].as_f64().expect("as it should be") >= 4.0);
        assert!(choice["gpu"].as_str().expect("as it should be").starts_with("A100"));
    }
    let refused = explained["refused"].as_array().expect("as it should be");
    let why = |name: &str| {
        let found = refused.iter().find(|refused| refused["instance_type"] == name);
        found.map(|refused| refused["why"].as_str().expect("as it should be").to_owned())
    };
    assert_eq!(why("g5.xlarge").as_deref(), Some("GPU is A10G, not A100"));
    assert_eq!(why("a2-highgpu-1g").as_deref(), Some("has 1 of 4 GPUs"));
    let table = cloud.text(&arguments);
    assert!(
        table.contains("PROVIDER  MACHINE") && table.contains("will not do:"),
        "{table}"
    );
    assert!(
        cloud
            .text(&[&arguments[..], &["--format", "yaml"]].concat())
            .contains("choices:")
    );
}

#[test]
fn explain_uses_the_prices_that_were_fetched() {
    let cloud = Cloud::new();
    let arguments = ["explain", "--residency", "DE", "--work", "5h"];
    let (code, error) = cloud.error(&arguments);
    assert_eq!(code, 4);
    assert!(
        error.starts_with("nvbind: no offer meets residency DE: prices are known of "),
        "{error}"
    );
    cloud.prices(now());
    let explained = cloud.json(&arguments);
    let choices = explained["choices"].as_array().expect("as it should be");
    let zones: Vec<&Value> = choices.iter().map(|choice| &choice["ordered_zone"]).collect();
    assert_eq!(
        zones,
        ["eu-central-1b", "eu-central-1a", ""]
            .map(|zone| match zone {
                "" => Value::Null,
                zone => zone.into(),
            })
            .iter()
            .collect::<Vec<_>>()
    );
    let latencies = cloud.file(
        "latencies.json",
        r#"[{"provider": "aws", "region": "eu-central-1", "site": "office", "ms": 31}]"#,
    );
    let far = [
        "explain",
        "--latencies",
        &latencies,
        "--max-latency",
        "20",
        "--region",
        "eu-central-1",
    ];
    let (code, error) = cloud.error(&far);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("latency of at most 20 ms"), "{error}");
}

#[test]
fn a_retired_machine_is_explained() {
    let cloud = Cloud::new();
    let explained = cloud.json(&["explain", "--instance-type", "NC6s_v3"]);
    assert_eq!(explained["choices"], Value::Array(Vec::new()));
    let refused = &explained["refused"][0];
    assert_eq!(refused["reason"], "retired");
    assert!(
        refused["why"].as_str().expect("as it should be").contains("2025-09-30"),
        "{refused}"
    );
}

#[test]
fn contradictions_end_with_2_and_name_the_pair() {
    let cloud = Cloud::new();
    for (arguments, message) in [
        (
            &["--residency", "EU", "--region", "us-east-1"][..],
            "residency EU and region us-east-1 contradict each other: us-east-1 is in US",
        ),
        (
            &["--spot", "only", "--provider", "hosts"],
            "spot only and provider hosts contradict each other: your own hosts are not sold on spot",
        ),
        (
            &["--instance-type", "g5.xlarge", "--gpu-type", "H100"],
            "machine type g5.xlarge and GPU type H100 contradict each other",
        ),
        (
            &["--work", "10h", "--deadline", "8h"],
            "a deadline of 8 h and 10 h of work contradict each other: the work alone takes longer",
        ),
    ] {
        let (code, error) = cloud.error(&[&["explain"], arguments].concat());
        assert_eq!((code, error.as_str()), (2, format!("nvbind: {message}").as_str()));
    }
    let (code, error) = cloud.error(&["explain", "--gpu-type", "H100", "--max-price", "0.5"]);
    assert!(code == 2 && error.contains("the cheapest that fits is"), "{error}");
    let (code, error) = cloud.error(&["explain", "--gpu-type", "H100", "--work", "100h", "--budget", "5"]);
    assert!(code == 2 && error.contains("a budget of 5 USD"), "{error}");
    let (code, error) = cloud.error(&["explain", "--gpu-type", "H10"]);
    assert!(code == 4 && error.contains("did you mean H100?"), "{error}");
    let (code, error) = cloud.error(&["explain", "--residency", "Europe"]);
    assert!(code == 2 && error.contains("unknown place 'Europe'"), "{error}");
    for bad in [
        &["--gpus", "0"][..],
        &["--nodes", "0"],
        &["--max-price", "-1"],
        &["--weight", "colour=1"],
        &["--data", "500GiB"],
        &["--compute-capability", "eight"],
        &["--strategy", "best"],
        &["--arch", "mips"],
    ] {
        let output = cloud.run(&[&["explain"], bad].concat());
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn prices_are_shown_with_their_age() {
    let cloud = Cloud::new();
    assert!(cloud.text(&["catalog", "show"]).starts_with("No prices in "));
    cloud.prices(now() - 3 * 3600);
    let shown = cloud.text(&["catalog", "show"]);
    assert!(
        shown.contains("aws       eu-central-1  1          2     3 h ago\n"),
        "{shown}"
    );
    let shown = cloud.json(&["catalog", "show", "--stale-after", "2"]);
    assert_eq!(shown[0]["is_stale"], true);
    cloud.file("prices.json", "{}");
    let (code, error) = cloud.error(&["catalog", "show"]);
    assert!(code == 1 && error.contains("of another kind"), "{error}");
}

#[test]
fn without_a_providers_program_the_prices_stay_and_it_is_said_why() {
    let cloud = Cloud::new();
    cloud.prices(now());
    let before = fs::read(cloud.path().join("prices.json")).expect("as it should be");
    let output = cloud.run(&["catalog", "refresh", "--provider", "gcp"]);
    let error = String::from_utf8(output.stderr).expect("as it should be");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("no program 'nvbind-provider-gcp' beside nvbind"),
        "{error}"
    );
    assert_eq!(
        fs::read(cloud.path().join("prices.json")).expect("as it should be"),
        before
    );
}

/// A provider's program that knows one region and is throttled in the others.
const PROVIDER: &str = r#"#!/bin/sh
echo '{"protocol": 1, "provider": "aws"}'
while read -r call; do
    case "$call" in
    *eu-west-1*) echo '{"Ok": [
PRICES
    ]}' | /usr/bin/tr -d '\n'; echo ;;
    *) echo '{"Err": {"class": "throttled", "code": "RequestLimitExceeded", "message": "slow down", "request_id": null, "retry_after_seconds": null, "quota": null, "is_ambiguous": false}}' ;;
    esac
done
"#;

#[test]
fn refresh_takes_what_is_believable_and_keeps_the_rest() {
    let cloud = Cloud::new();
    let price = |name: &str, zone: &str, market: &str, usd_h: f64| {
        format!(
            r#"{{"instance_type": "{name}", "region": "eu-west-1", "zone": {zone}, "market": "{market}", "usd_h": {usd_h}, "at": {}}}"#,
            now()
        )
    };
    let prices = [
        price("g5.xlarge", "null", "on-demand", 1.123),
        price("g5.xlarge", r#""eu-west-1a""#, "spot", 0.5),
        price("g5.xlarge", r#""eu-west-1b""#, "spot", 1.123),
        price("g5.2xlarge", "null", "on-demand", 1.353),
        price("g6.xlarge", "null", "on-demand", 0.89),
        price("g6.2xlarge", "null", "on-demand", 1.1),
        price("g4dn.xlarge", "null", "on-demand", 0.587),
        price("p3.2xlarge", "null", "on-demand", 3.3),
        price("p5.4xlarge", "null", "on-demand", 700.0),
    ];
    let program = cloud.file("nvbind-provider-aws", &PROVIDER.replace("PRICES", &prices.join(",\n")));
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("as it should be");
    let refresh = [
        "catalog",
        "refresh",
        "--provider",
        "aws",
        "--region",
        "eu-west-1,us-east-1",
        "--format",
        "json",
    ];
    let output = cloud.run(&refresh);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).expect("as it should be");
    assert!(
        error.contains("aws us-east-1: RequestLimitExceeded: slow down"),
        "{error}"
    );
    let asked: Value = serde_json::from_slice(&output.stdout).expect("as it should be");
    let region = &asked[0];
    let count = |name: &str| region[name].as_u64().expect("as it should be");
    assert_eq!(
        (count("taken"), count("without_spot"), count("unsold")),
        (6, 1, 1),
        "{region}"
    );
    assert_eq!(region["doubts"][0]["instance_type"], "p5.4xlarge");
    let file = cloud.path().join("prices.json");
    assert_eq!(
        fs::metadata(&file).expect("as it should be").permissions().mode() & 0o777,
        0o600
    );
    let explained = cloud.json(&["explain", "--region", "eu-west-1", "--gpu-type", "A10G", "--work", "5h"]);
    assert_eq!(explained["choices"][0]["ordered_zone"], "eu-west-1a");
    assert_eq!(explained["choices"].as_array().expect("as it should be").len(), 3);
}

#[test]
fn workloads_are_simulated_with_each_strategy() {
    let cloud = Cloud::new();
    let json = cloud.file(
        "jobs.json",
        r#"[{"name": "a", "work_hours": 4, "gpu_type": "L4"}, {"name": "b", "arrival_hours": 1, "work_hours": 4, "gpu_type": "L4"},
            {"name": "c", "arrival_hours": 1, "work_hours": 2, "gpus": 99}]"#,
    );
    let csv = cloud.file(
        "jobs.csv",
        "name,arrival_hours,work_hours,gpus,gpu_type\na,0,4,1,L4\nb,1,4,1,L4\nc,1,2,99,\n",
    );
    let arguments = ["simulate", "jobs", "--jobs", &json];
    let outcomes = cloud.json(&arguments);
    assert_eq!(outcomes, cloud.json(&["simulate", "jobs", "--jobs", &csv]));
    let strategies: Vec<&str> = outcomes
        .as_array()
        .expect("as it should be")
        .iter()
        .map(|outcome| outcome["strategy"].as_str().expect("as it should be"))
        .collect();
    assert_eq!(
        strategies,
        ["cost-aware", "round-robin", "gpu-utilization", "hybrid-balanced"]
    );
    assert_eq!(
        (outcomes[0]["done"].as_u64(), outcomes[0]["jobs"].as_u64()),
        (Some(2), Some(3))
    );
    assert_eq!(outcomes[0]["refused"][0]["name"], "c");
    let limited = cloud.json(
        &[
            &arguments[..],
            &["--strategy", "cost-aware", "--capacity", "0,g2-standard-4=1"],
        ]
        .concat(),
    );
    assert_eq!(limited[0]["done"], 2);
    let (code, error) = cloud.error(&[&arguments[..], &["--capacity", "g2=1"]].concat());
    assert!(code == 2 && error.contains("no such machine is offered"), "{error}");
    let (code, error) = cloud.error(&["simulate", "jobs", "--jobs", "/nowhere.json"]);
    assert!(code == 4 && error.contains("cannot read workloads"), "{error}");
}
