//! Lists of workloads with arrival times, as JSON or CSV.

use crate::requirements::{Requirements, SpotUse};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A workload that arrives at some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Hours after the beginning at which it arrives.
    pub arrival_hours: f64,
    /// What it needs; [`Requirements::work_hours`] is always there, the deadline counts from the arrival.
    pub requirements: Requirements,
}

/// One entry, the same in JSON (a list of objects) and CSV (these columns, in any order). Only `work_hours` must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: Option<String>,
    arrival_hours: Option<f64>,
    work_hours: f64,
    gpus: Option<f64>,
    /// Several with `|` between them.
    gpu_type: Option<String>,
    gpu_memory_gib: Option<f64>,
    nodes: Option<u32>,
    spot: Option<SpotUse>,
    max_price_usd_h: Option<f64>,
    deadline_hours: Option<f64>,
}

/// A list that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The file cannot be read.
    #[error("cannot read workloads '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no list of workloads.
    #[error("workloads '{}': {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
}

impl JobsError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => 3,
                std::io::ErrorKind::NotFound => 4,
                _ => 1,
            },
            Self::Form { .. } => 2,
        }
    }
}

/// Reads a list: CSV where the file's name ends so, JSON otherwise.
pub fn read_jobs(path: &Path) -> Result<Vec<Job>, JobsError> {
    let text = std::fs::read_to_string(path).map_err(|source| JobsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let is_csv = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let jobs = if is_csv { parse_csv(&text) } else { parse_json(&text) };
    jobs.map_err(|why| JobsError::Form {
        path: path.to_owned(),
        why,
    })
}

/// Reads a list of objects; the error says what is wrong.
pub fn parse_json(text: &str) -> Result<Vec<Job>, String> {
    let rows: Vec<Row> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    checked(rows)
}

/// Reads lines under a header; the error says what is wrong.
pub fn parse_csv(text: &str) -> Result<Vec<Job>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let rows: Result<Vec<Row>, csv::Error> = reader.deserialize().collect();
    checked(rows.map_err(|error| error.to_string())?)
}

fn checked(rows: Vec<Row>) -> Result<Vec<Job>, String> {
    if rows.is_empty() {
        return Err("there is none in it".to_owned());
    }
    rows.into_iter()
        .zip(1..)
        .map(|(row, number)| job(row, number))
        .collect()
}

fn job(row: Row, number: usize) -> Result<Job, String> {
    let defaults = Requirements::default();
    let arrival_hours = row.arrival_hours.unwrap_or(0.0);
    let requirements = Requirements {
        gpu_types: row
            .gpu_type
            .iter()
            .flat_map(|names| names.split('|'))
            .map(ToOwned::to_owned)
            .collect(),
        gpus: row.gpus.unwrap_or(defaults.gpus),
        gpu_memory_gib: row.gpu_memory_gib,
        nodes: row.nodes.unwrap_or(defaults.nodes),
        spot: row.spot.unwrap_or_default(),
        max_price_usd_h: row.max_price_usd_h,
        work_hours: Some(row.work_hours),
        deadline_hours: row.deadline_hours,
        ..defaults
    };
    let checks = [
        ("arrival_hours", arrival_hours, 0.0),
        ("work_hours", row.work_hours, 1e-6),
        ("gpus", requirements.gpus, 1e-6),
        ("nodes", f64::from(requirements.nodes), 1.0),
    ];
    if let Some((name, value, _)) = checks
        .iter()
        .find(|(_, value, least)| !(value.is_finite() && value >= least))
    {
        return Err(format!("workload {number}: {name} is {value}"));
    }
    requirements
        .models()
        .map_err(|error| format!("workload {number}: {error}"))?;
    Ok(Job {
        name: row.name.unwrap_or_else(|| number.to_string()),
        arrival_hours,
        requirements,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_csv_say_the_same() {
        let json = r#"[{"name": "a", "arrival_hours": 0.5, "work_hours": 3, "gpus": 4, "gpu_type": "A100|H100", "spot": "never"},
            {"work_hours": 1}]"#;
        let csv = "name, work_hours, arrival_hours, gpus, gpu_type, spot\na, 3, 0.5, 4, A100|H100, never\n,1,,,,\n";
        let jobs = parse_json(json).unwrap();
        assert_eq!(jobs[0].requirements.gpu_types, ["A100", "H100"]);
        assert_eq!((jobs[1].name.as_str(), jobs[1].arrival_hours), ("2", 0.0));
        assert_eq!(parse_csv(csv).unwrap(), jobs);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("[]", "there is none in it"),
            (r#"[{"name": "a"}]"#, "missing field `work_hours`"),
            (r#"[{"work_hours": 0}]"#, "workload 1: work_hours is 0"),
            (r#"[{"work_hours": 1, "gpus": -1}]"#, "workload 1: gpus is -1"),
            (r#"[{"work_hours": 1, "nodes": 0}]"#, "workload 1: nodes is 0"),
            (r#"[{"work_hours": 1, "gpu_type": "H10"}]"#, "did you mean H100?"),
            (r#"[{"work_hours": 1, "size": 1}]"#, "unknown field `size`"),
        ] {
            let error = parse_json(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse_csv("work_hours,size\n1,2\n").is_err());
    }
}
