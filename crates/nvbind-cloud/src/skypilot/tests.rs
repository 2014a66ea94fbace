use super::*;
use crate::catalog::ProviderName::{Aws, Gcp, Hosts};
use crate::{Requirements, SpotUse};

fn task(text: &str) -> Task {
    parse(text, Some("ubuntu:24.04")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(text: &str) -> String {
    match parse(text, Some("ubuntu:24.04")) {
        Ok(task) => panic!("{text}: {task:?}"),
        Err(error) => error.0,
    }
}

/// A task with these resources, one a line.
fn with(resources: &str) -> String {
    let lines: Vec<String> = resources.lines().map(|line| format!("  {line}\n")).collect();
    format!("resources:\n{}run: nvidia-smi\n", lines.concat())
}

fn requirements(resources: &str) -> Requirements {
    task(&with(resources)).spec.requirements
}

fn run(task: &Task) -> Table {
    task.spec.run.parse().unwrap()
}

const TRAIN: &str = r#"
name: Train_LLM
num_nodes: 2
resources:
  infra: aws/us-east-1
  accelerators: A100:8
  cpus: 16+
  memory: 64+
  use_spot: true
  job_recovery:
    strategy: EAGER_NEXT_REGION
    max_restarts_on_errors: 3
  disk_size: 512
  max_hourly_cost: 20.5
  image_id: docker:nvcr.io/nvidia/pytorch:24.10-py3
envs:
  EPOCHS: 3
  NAME: "llm"
secrets:
  HF_TOKEN: null
  WANDB_API_KEY: ""
setup: |
  pip install -r requirements.txt
run: |
  MASTER=$(echo "$SKYPILOT_NODE_IPS" | head -n1)
  torchrun --nnodes=$SKYPILOT_NUM_NODES --node_rank=$SKYPILOT_NODE_RANK train.py
"#;

#[test]
fn a_task_is_a_deployment() {
    let task = task(TRAIN);
    let expected = Requirements {
        gpu_types: vec!["A100-40GB".to_owned()],
        gpus: 8.0,
        nodes: 2,
        vcpus: Some(16.0),
        memory_gib: Some(64.0),
        disk_gib: 512,
        spot: SpotUse::Only,
        max_price_usd_h: Some(20.5),
        providers: vec![Aws],
        regions: vec!["us-east-1".to_owned()],
        ..Requirements::default()
    };
    assert_eq!(task.spec.requirements, expected);
    assert_eq!((task.spec.name.as_str(), task.spec.max_restarts), ("train-llm", 3));
    assert_eq!(task.spec.secrets, ["HF_TOKEN", "WANDB_API_KEY"]);
    assert_eq!(task.spec.setup, None);
    let run = run(&task);
    assert_eq!(run["image"].as_str(), Some("nvcr.io/nvidia/pytorch:24.10-py3"));
    assert_eq!(run["gpu"].as_str(), Some("count=8"));
    assert_eq!(run["network"].as_str(), Some("host"));
    assert_eq!(run["env"]["EPOCHS"].as_str(), Some("3"));
    let command: Vec<&str> = run["command"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(command[..3], ["bash", "-c", SETUP_THEN_RUN]);
    assert_eq!(command[3], "pip install -r requirements.txt\n");
    assert!(command[4].starts_with("MASTER=$(echo") && command[4].ends_with("train.py\n"));
    let notes = task.notes.join("\n");
    assert!(
        notes.contains("'Train_LLM' is called 'train-llm'") && notes.contains("EAGER_NEXT_REGION"),
        "{notes}"
    );
}

#[test]
fn setup_comes_before_run_and_stops_it_when_it_fails() {
    let output = |setup: &str, run: &str| {
        let output = std::process::Command::new("bash")
            .args(["-c", SETUP_THEN_RUN, setup, run])
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    assert_eq!(
        output("echo 'a \"b\"'; X=1", "echo \"<$X>\"; exit 7"),
        ("a \"b\"\n<>\n".to_owned(), Some(7))
    );
    assert_eq!(output("exit 3", "echo never"), (String::new(), Some(3)));
    assert_eq!(output("cat <<E\nh)\nE", "true"), ("h)\n".to_owned(), Some(0)));
}

#[test]
fn accelerators_are_written_in_many_ways() {
    let of = |text: &str| {
        let found = requirements(&format!("accelerators: {text}"));
        (found.gpu_types.join(" "), found.gpus)
    };
    let pair = |names: &str, count: f64| (names.to_owned(), count);
    assert_eq!(of("H100"), pair("H100-80GB", 1.0));
    assert_eq!(of("A100-80GB:4"), pair("A100-80GB", 4.0));
    assert_eq!(of("{L4: 2}"), pair("L4", 2.0));
    assert_eq!(of("{V100:1, A10G:1}"), pair("V100-16GB A10G", 1.0));
    assert_eq!(of("[A100:8, H100:8]"), pair("A100-40GB H100-80GB", 8.0));
    assert_eq!(of("A10:0.5"), pair("A10", 0.5));
    let none = requirements("instance_type: p4d.24xlarge");
    assert_eq!((none.gpu_types, none.gpus), (vec!["A100-40GB".to_owned()], 8.0));
    assert_eq!(none.instance_types, ["p4d.24xlarge"]);
    assert_eq!(requirements("gpus: T4").gpu_types, ["T4"]);
}

#[test]
fn places_are_written_in_two_ways() {
    let of = |text: &str| {
        let found = requirements(&format!("accelerators: T4\n{text}"));
        (found.providers, found.regions.join(" "), found.zones.join(" "))
    };
    let place = |providers: &[crate::catalog::ProviderName], region: &str, zone: &str| {
        (providers.to_vec(), region.to_owned(), zone.to_owned())
    };
    assert_eq!(of("infra: gcp"), place(&[Gcp], "", ""));
    assert_eq!(
        of("infra: aws/us-east-1/us-east-1a"),
        place(&[Aws], "us-east-1", "us-east-1a")
    );
    assert_eq!(of("infra: '*/us-east-1'"), place(&[], "us-east-1", ""));
    assert_eq!(of("cloud: AWS\nregion: us-east-1"), place(&[Aws], "us-east-1", ""));
    assert_eq!(of("infra: ssh"), place(&[Hosts], "", ""));
}

#[test]
fn what_is_not_said_is_as_in_skypilot() {
    let task = task(&with("accelerators: T4"));
    assert_eq!(
        (task.spec.requirements.spot, task.spec.requirements.disk_gib),
        (SpotUse::Never, 256)
    );
    assert_eq!(run(&task)["image"].as_str(), Some("ubuntu:24.04"));
    assert_eq!(run(&task)["command"].as_array().map(Vec::len), Some(3));
    assert!(task.notes.is_empty());
    let without = parse(&with("accelerators: T4"), None).unwrap_err();
    assert!(without.0.contains("docker:IMAGE"), "{without}");
    let exact = super::parse(&with("accelerators: T4\ncpus: 4\nautostop: 10"), Some("i")).unwrap();
    assert_eq!(exact.notes.len(), 2, "{:?}", exact.notes);
}

#[test]
fn candidates_are_joined_where_their_union_is_a_product() {
    let spot = requirements("accelerators: A100:8\nany_of:\n  - use_spot: true\n  - use_spot: false");
    assert_eq!((spot.spot, spot.gpu_types.len()), (SpotUse::Auto, 1));
    let regions = requirements("accelerators: H100:8\nany_of:\n  - infra: aws/us-west-2\n  - infra: gcp/us-central1");
    assert_eq!(regions.providers, [Aws, Gcp]);
    assert_eq!(regions.regions, ["us-west-2", "us-central1"]);
    let gpus = requirements("any_of:\n  - accelerators: A10G:1\n  - accelerators: L4:1\n  - accelerators: T4:1");
    assert_eq!(gpus.gpu_types, ["A10G", "L4", "T4"]);
    let both = "infra: aws\nany_of:\n  - {accelerators: L4, use_spot: true}\n  - {accelerators: T4, use_spot: true}\n  \
                - {accelerators: L4, use_spot: false}\n  - {accelerators: T4, use_spot: false}";
    let both = requirements(both);
    assert_eq!(
        (both.spot, both.gpu_types.len(), both.providers),
        (SpotUse::Auto, 2, vec![Aws])
    );
    let anywhere = requirements("accelerators: T4\nany_of:\n  - infra: aws\n  - infra: '*'");
    assert_eq!(anywhere.providers, []);
    let ordered = task(&with(
        "accelerators: T4\nordered:\n  - infra: aws/us-east-1\n  - infra: aws/us-west-2",
    ));
    assert!(
        ordered.notes[0].contains("the order is not kept"),
        "{:?}",
        ordered.notes
    );
    let zones = requirements(
        "accelerators: T4\nany_of:\n  - infra: aws/us-east-1/us-east-1a\n  - infra: gcp/us-east1/us-east1-b",
    );
    assert_eq!(zones.zones, ["us-east-1a", "us-east1-b"]);
}

#[test]
fn candidates_that_are_no_product_are_refused() {
    for (resources, wanted) in [
        (
            "any_of:\n  - {infra: aws/us-west-2, accelerators: H100}\n  - {infra: gcp/us-central1, accelerators: A100}",
            "not all combinations",
        ),
        ("accelerators: [A100:8, H100:4]", "different number of GPUs"),
        (
            "accelerators: T4\nany_of:\n  - {cpus: 4+}\n  - {cpus: 8+}",
            "different number of cpus",
        ),
        (
            "accelerators: T4\nany_of:\n  - {image_id: 'docker:a'}\n  - {image_id: 'docker:b'}",
            "different image_id",
        ),
        (
            "accelerators: T4\nany_of:\n  - infra: aws\n  - infra: gcp/us-central1",
            "narrower than others",
        ),
        (
            "accelerators: T4\nany_of:\n  - infra: azure/eastus/1\n  - infra: azure/westus3/2",
            "does not tell its region",
        ),
        (
            "any_of:\n  - {instance_type: g4dn.xlarge}\n  - {accelerators: T4, infra: gcp}",
            "not all combinations",
        ),
        (
            "any_of:\n  - {instance_type: g4dn.xlarge}\n  - {accelerators: T4}",
            "name it in all, or in none",
        ),
        ("accelerators: T4\nany_of: []", "a list of resources"),
        (
            "accelerators: T4\nany_of: [{infra: aws}]\nordered: [{infra: gcp}]",
            "both any_of and ordered",
        ),
    ] {
        let error = refused(&with(resources));
        assert!(error.contains(wanted), "{resources}: {error}");
    }
}

#[test]
fn what_cannot_be_done_names_its_field() {
    for (resources, wanted) in [
        ("accelerators: T4\nports: 8080", "resources.ports are not opened"),
        ("accelerators: T4\nlabels: {a: b}", "resources.labels are not set"),
        ("accelerators: T4\ndisk_tier: best", "resources.disk_tier is not chosen"),
        (
            "accelerators: tpu-v5e-8",
            "resources.accelerators: unknown GPU type 'tpu-v5e-8'",
        ),
        (
            "accelerators: T4:x",
            "resources.accelerators is 'T4:x': it must be a GPU model with a count",
        ),
        ("accelerators: T4:0", "resources.accelerators is 'T4:0'"),
        (
            "accelerators: T4\nacelerators: T4",
            "unknown field resources.acelerators: did you mean 'accelerators'?",
        ),
        (
            "accelerators: T4\nany_of:\n  - {use_spt: true}",
            "unknown field resources.any_of[0].use_spt: did you mean 'use_spot'?",
        ),
        (
            "accelerators: T4\nany_of:\n  - {ports: 80}",
            "resources.any_of[0].ports are not opened",
        ),
        ("accelerators: T4\ninfra: lambda", "resources.infra names 'lambda'"),
        ("accelerators: T4\ninfra: k8s/ctx", "resources.infra names 'k8s'"),
        ("accelerators: T4\ninfra: aws//x", "resources.infra is 'aws//x'"),
        (
            "accelerators: T4\ninfra: aws\nregion: us-east-1",
            "resources.infra stands beside",
        ),
        ("accelerators: T4\nmemory: 4x", "resources.memory is '4x'"),
        (
            "accelerators: T4\nuse_spot: maybe",
            "resources.use_spot is 'maybe': it must be true or false",
        ),
        (
            "accelerators: T4\njob_recovery: {recover_on_exit_codes: [33]}",
            "resources.job_recovery.recover_on_exit_codes",
        ),
        (
            "accelerators: T4\nimage_id: skypilot:gpu-ubuntu-2204",
            "resources.image_id is 'skypilot:gpu-ubuntu-2204'",
        ),
        (
            "accelerators: T4\nautostop: {idle_minutes: 5, hook: x}",
            "resources.autostop.hook is not run",
        ),
        (
            "instance_type: p4d.24xlrge",
            "resources.instance_type: unknown instance type 'p4d.24xlrge': did you mean p4d.24xlarge?",
        ),
        ("cpus: 4+", "resources.accelerators is missing"),
    ] {
        let error = refused(&with(resources));
        assert!(error.starts_with(wanted), "{resources}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let rest = "resources: {accelerators: T4}\nrun: x\n";
    for (text, wanted) in [
        ("workdir: .\n", "workdir is not copied"),
        ("file_mounts: {/data: s3://bucket}\n", "file_mounts are not made"),
        ("service: {readiness_probe: /}\n", "service is not served"),
        ("num_node: 2\n", "unknown field num_node: did you mean 'num_nodes'?"),
        ("num_nodes: 0\n", "num_nodes is 0: it must be a whole number from 1 on"),
        ("name: 42\n", "name is 42: it must be text"),
        (
            "name: '7up'\n",
            "name is '7up': it must be a name that begins with a letter",
        ),
        ("envs: {A: null}\n", "envs.A has no value"),
        ("envs: {A: [1]}\n", "envs.A is a list"),
        ("envs: {A-B: x}\n", "envs.A-B is no name of a variable"),
        ("secrets: [A]\n", "secrets is a list"),
    ] {
        let error = refused(&format!("{text}{rest}"));
        assert!(error.starts_with(wanted), "{text}: {error}");
    }
    assert!(refused("resources: {accelerators: T4}\n").starts_with("run is missing"));
    assert!(refused("run: x\n").starts_with("resources.accelerators is missing"));
    assert!(refused("[1]\n").starts_with("the task is a list: it must be a map"));
    assert!(
        parse(
            "file_mounts: {}\nworkdir: null\nresources: {accelerators: T4}\nrun: x\n",
            Some("i")
        )
        .is_ok()
    );
}

#[test]
fn a_secret_with_a_value_is_refused_and_not_repeated() {
    let error = refused("secrets: {HF_TOKEN: hf_abcdef}\nresources: {accelerators: T4}\nrun: x\n");
    assert!(
        error.starts_with("secrets.HF_TOKEN has a value") && !error.contains("hf_abcdef"),
        "{error}"
    );
}

#[test]
fn what_is_no_single_yaml_document_is_a_line() {
    for text in ["name: [", "a: 1\na: 2\n", "name: a\n---\nrun: x\n"] {
        let error = refused(text);
        assert!(!error.is_empty() && error.lines().count() == 1, "{error}");
    }
    assert!(refused("name: a\n---\nrun: x\n").contains("give one task"));
}
