//! A task of SkyPilot as a deployment: the common fields of its YAML, as `sky/utils/schemas.py` of SkyPilot 0.14 has them.
//!
//! What cannot be done is an error that names the field, and what is done in another way is a note. `setup` and `run` both run in
//! the container, one after the other as there: on the host, `setup` would install into something that `run` never sees.

mod field;
mod resources;
mod union;

use crate::{DeploymentSpec, NAME_LENGTH, is_name};
use field::Field;
use toml::{Table, Value};

/// The variables that a task of SkyPilot finds, each with nvbind's own that has the same value. They are set in the container of
/// every node of a deployment, whatever it was read from.
pub const SKYPILOT_VARIABLES: [(&str, &str); 4] = [
    ("SKYPILOT_NODE_RANK", "NVBIND_NODE_RANK"),
    ("SKYPILOT_NODE_IPS", "NVBIND_NODE_ADDRESSES"),
    ("SKYPILOT_NUM_NODES", "NVBIND_NODES"),
    ("SKYPILOT_NUM_GPUS_PER_NODE", "NVBIND_GPUS"),
];

/// What is wrong with a task, or cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SkyPilot task: {0}")]
pub struct SkyPilotError(pub String);

impl SkyPilotError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        2
    }
}

/// A task as a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The deployment. Its name is empty when the task has none.
    pub spec: DeploymentSpec,
    /// What is done in another way than SkyPilot does it, a line each.
    pub notes: Vec<String>,
}

/// The fields of a task that are understood.
const FIELDS: [&str; 7] = ["name", "num_nodes", "resources", "envs", "secrets", "setup", "run"];

/// Those that are not, with the reason and what to do.
const REFUSED: [(&str, &str); 14] = [
    (
        "workdir",
        "is not copied to the machines: put the code into the image, or fetch it in setup",
    ),
    (
        "file_mounts",
        "are not made: put files into the image, or fetch them in setup",
    ),
    (
        "file_mounts_mapping",
        "are not made: put files into the image, or fetch them in setup",
    ),
    (
        "volumes",
        "are not made: write volumes in an nvbind.toml for paths of the machine",
    ),
    (
        "volume_mounts",
        "are not made: write volumes in an nvbind.toml for paths of the machine",
    ),
    (
        "service",
        "is not served: deploy the replicas with scale in an nvbind.toml",
    ),
    ("pool", "is not made: deploy with a number of nodes"),
    ("event_callback", "is not called: see nvbind cloud logs and status"),
    (
        "managed_secrets",
        "lie on a SkyPilot server: name variables under secrets, without values",
    ),
    ("inputs", "is experimental in SkyPilot and not understood"),
    ("outputs", "is experimental in SkyPilot and not understood"),
    (
        "config",
        "is SkyPilot's own configuration: nvbind's is ~/.config/nvbind/config.toml",
    ),
    ("api_server_access", "is about a SkyPilot server: there is none"),
    ("experimental", "is not understood"),
];

/// Runs the first argument, then the second when that went well.
const SETUP_THEN_RUN: &str = "bash -c \"$0\" && exec bash -c \"$1\"";

/// Reads a task. A task that names no container runs in `default_image`.
pub fn parse(text: &str, default_image: Option<&str>) -> Result<Task, SkyPilotError> {
    let document: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|error| SkyPilotError(yaml_error(&error)))?;
    let task = Field::root(&document);
    let fields = task.fields(&FIELDS, &REFUSED)?;
    let mut notes = Vec::new();
    let run = task.get("run").map(|field| field.text()).transpose()?;
    let run = run.ok_or_else(|| SkyPilotError("run is missing: what are the machines to do?".to_owned()))?;
    let setup = task.get("setup").map(|field| field.text()).transpose()?;
    let candidates = match fields.iter().find(|field| field.name() == "resources") {
        Some(field) => resources::candidates(field, &mut notes)?,
        None => return Err(no_gpu()),
    };
    let joined = union::union(&candidates)?;
    let mut requirements = joined.requirements;
    if let Some(nodes) = task.get("num_nodes") {
        requirements.nodes = nodes.count(1)?;
    }
    let image = joined
        .container
        .or_else(|| default_image.map(str::to_owned))
        .ok_or_else(|| {
            SkyPilotError(
            "resources.image_id names no container: SkyPilot runs a task on the machine itself, nvbind in a container: \
             write 'image_id: docker:IMAGE', or set cloud.default_image"
                .to_owned(),
        )
        })?;
    let mut spec = DeploymentSpec::new("", "", requirements);
    spec.run = run_table(&image, setup, run, &environment(&task)?, joined.gpus)?;
    spec.name = task
        .get("name")
        .map(|field| name(&field, &mut notes))
        .transpose()?
        .unwrap_or_default();
    spec.secrets = secrets(&task)?;
    spec.machine_image = joined.machine_image;
    spec.max_restarts = joined.max_restarts;
    Ok(Task { spec, notes })
}

fn no_gpu() -> SkyPilotError {
    SkyPilotError(
        "resources.accelerators is missing: nvbind rents machines with GPUs: write, say, 'accelerators: A100:1'"
            .to_owned(),
    )
}

/// A parser's message, without the lines that draw where it is.
fn yaml_error(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "a pipeline of several tasks cannot be deployed: give one task".to_owned()
        }
        plain => plain.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// What `nvbind run -f` gets. The network is the machine's, as a task of SkyPilot has it.
fn run_table(
    image: &str,
    setup: Option<&str>,
    run: &str,
    env: &[(String, String)],
    gpus: f64,
) -> Result<String, SkyPilotError> {
    let command = match setup {
        Some(setup) => vec!["bash", "-c", SETUP_THEN_RUN, setup, run],
        None => vec!["bash", "-c", run],
    };
    let command: Vec<Value> = command.into_iter().map(Value::from).collect();
    let gpu = match gpus >= 1.0 {
        true => format!("count={gpus}"),
        false => "all".to_owned(),
    };
    let mut table = Table::new();
    table.insert("image".to_owned(), image.into());
    table.insert("command".to_owned(), Value::Array(command));
    table.insert("gpu".to_owned(), gpu.into());
    table.insert("network".to_owned(), "host".into());
    if !env.is_empty() {
        let env: Table = env
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        table.insert("env".to_owned(), Value::Table(env));
    }
    toml::to_string(&table).map_err(|error| SkyPilotError(error.to_string()))
}

/// The name, as deployments can have it.
fn name(field: &Field<'_>, notes: &mut Vec<String>) -> Result<String, SkyPilotError> {
    let written = field.text()?;
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = written.chars().map(fit).collect();
    let name = name.trim_matches('-').chars().take(NAME_LENGTH).collect::<String>();
    let name = name.trim_end_matches('-').to_owned();
    if !is_name(&name) {
        return Err(field.wrong("a name that begins with a letter"));
    }
    if name != written {
        notes.push(format!("name: '{written}' is called '{name}' here"));
    }
    Ok(name)
}

/// Variables that are written down.
fn environment(task: &Field<'_>) -> Result<Vec<(String, String)>, SkyPilotError> {
    let Some(envs) = task.get("envs") else {
        return Ok(Vec::new());
    };
    let variable = |field: Field<'_>| {
        check_variable(&field)?;
        match field.scalar() {
            Some(value) => Ok((field.name().to_owned(), value)),
            None if field.is_null() => Err(SkyPilotError(format!(
                "{} has no value: write one, or name it under secrets if it is to come from where nvbind is called",
                field.path()
            ))),
            None => Err(field.wrong("text or a number")),
        }
    };
    envs.children()?.into_iter().map(variable).collect()
}

/// Names of variables that are taken from where nvbind is called. Values are refused, and not repeated.
fn secrets(task: &Field<'_>) -> Result<Vec<String>, SkyPilotError> {
    let Some(secrets) = task.get("secrets") else {
        return Ok(Vec::new());
    };
    if secrets.items().is_some() {
        return Err(SkyPilotError(
            "secrets is a list: those lie on a SkyPilot server: write 'NAME: null' for variables of where nvbind is called".to_owned(),
        ));
    }
    let secret = |field: Field<'_>| {
        check_variable(&field)?;
        match field.is_null() || field.scalar().is_some_and(|value| value.is_empty()) {
            true => Ok(field.name().to_owned()),
            false => Err(SkyPilotError(format!(
                "{} has a value, which would be written down: write '{}: null' and set it in the environment",
                field.path(),
                field.name()
            ))),
        }
    };
    secrets.children()?.into_iter().map(secret).collect()
}

/// Variables have names as `sky/utils/schemas.py` wants them.
fn check_variable(field: &Field<'_>) -> Result<(), SkyPilotError> {
    let name = field.name();
    let is_fit = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match is_fit {
        true => Ok(()),
        false => Err(SkyPilotError(format!("{} is no name of a variable", field.path()))),
    }
}

#[cfg(test)]
mod tests;
