//! The workload file that `nvbind run` is given.

use super::Plan;
use toml::{Table, Value};

/// The plan's workload as the agent runs it: under its own name, in the foreground, with the plan's environment. The error is one line.
pub(super) fn workload_file(plan: &Plan) -> Result<String, String> {
    let mut table: Table = plan.workload.parse().map_err(|error: toml::de::Error| {
        let message = error.message().split_whitespace().collect::<Vec<_>>();
        format!("workload: {}", message.join(" "))
    })?;
    table.insert("name".to_owned(), Value::String(plan.container()));
    for key in ["detach", "tty", "interactive"] {
        table.insert(key.to_owned(), Value::Boolean(false));
    }
    let env = table.entry("env").or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(env) = env else {
        return Err("workload: env is no table".to_owned());
    };
    for (name, value) in &plan.environment {
        env.insert(name.clone(), Value::String(value.clone()));
    }
    toml::to_string(&table).map_err(|error| format!("workload: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::MetadataSource;

    fn plan(workload: &str) -> Plan {
        Plan {
            deployment: "d".into(),
            node: 0,
            token: "t1".into(),
            workload: workload.into(),
            environment: [("A".to_owned(), "x \"y\"".to_owned())].into(),
            setup: None,
            checkpoint: None,
            grace_seconds: 1,
            metadata: MetadataSource::None,
            metadata_url: None,
            log_mib: 1,
        }
    }

    #[test]
    fn the_agent_decides_name_and_background() {
        let text = workload_file(&plan("name = \"x\"\ndetach = true\nimage = \"i\"\n[env]\nB = \"1\"\n")).unwrap();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["name"].as_str(), Some("nvbind-cloud-t1"));
        assert_eq!(table["detach"].as_bool(), Some(false));
        assert_eq!(table["env"]["A"].as_str(), Some("x \"y\""));
        assert_eq!(table["env"]["B"].as_str(), Some("1"));
        assert_eq!(table["image"].as_str(), Some("i"));
    }

    #[test]
    fn what_is_no_workload_is_refused_in_a_line() {
        for bad in ["image = ", "env = 1"] {
            assert!(workload_file(&plan(bad)).is_err_and(|why| !why.contains('\n')), "{bad}");
        }
    }
}
