use super::*;
use crate::catalog::ProviderName::{Gcp, Hosts};
use crate::{Data, Scale, SpotUse, Strategy, Weights};

const FULL: &str = r#"
name = "container"
image = "pytorch/pytorch"
command = ["python", "train.py"]
volumes = ["/data:/data:ro"]
gpu = "all"
[env]
LR = "0.1"
[cloud]
name = "train"
gpus = 4
gpu-type = ["A100", "H100-80GB"]
gpu-memory = "40GiB"
compute-capability = 8.0
nodes = 2
cpus = 16
memory = "64GiB"
disk = 200
instance_type = "p4d.24xlarge"
spot = "only"
max-price = 12.5
budget = "500"
work = "48h"
deadline = "3d"
providers = ["hosts", "gcp"]
region = "us-central1"
zones = ["us-central1-a"]
residency = ["US", "EU"]
max-latency = "80ms"
data = { size = "1TiB", provider = "gcp", region = "us-central1" }
strategy = "hybrid-balanced"
weights = { cost = 1, performance = 0.5, latency = 0, availability = 0, compliance = 0 }
secrets = ["HF_TOKEN"]
setup = "nvidia-smi"
on-notice = "touch /tmp/notice"
grace = "1min"
max-restarts = 3
restart-on-replacement = true
max-hours = 72
machine-image = "ami-1"
user = "admin"
allow-from = ["203.0.113.0/24"]
scale = { min = 1, max = 4, gpu_utilization = 70, queue-command = "redis-cli llen q", queue-per-node = 8, cooldown = "10min" }
"#;

#[test]
fn every_key_sets_its_place() {
    let spec = parse(FULL).unwrap();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let requirements = Requirements {
        gpu_types: words(&["A100", "H100-80GB"]),
        gpus: 4.0,
        gpu_memory_gib: Some(40.0),
        compute_capability: Some(80),
        nodes: 2,
        vcpus: Some(16.0),
        memory_gib: Some(64.0),
        arch: Requirements::default().arch,
        disk_gib: 200,
        instance_types: words(&["p4d.24xlarge"]),
        spot: SpotUse::Only,
        max_price_usd_h: Some(12.5),
        budget_usd: Some(500.0),
        work_hours: Some(48.0),
        deadline_hours: Some(72.0),
        providers: vec![Hosts, Gcp],
        regions: words(&["us-central1"]),
        zones: words(&["us-central1-a"]),
        residency: words(&["US", "EU"]),
        max_latency_ms: Some(80.0),
        data: Some(Data {
            gib: 1024.0,
            provider: Gcp,
            region: "us-central1".to_owned(),
        }),
        strategy: Strategy::HybridBalanced,
        weights: Weights {
            cost: 1.0,
            performance: 0.5,
            latency: 0.0,
            availability: 0.0,
            compliance: 0.0,
        },
    };
    let expected = DeploymentSpec {
        secrets: words(&["HF_TOKEN"]),
        setup: Some("nvidia-smi".to_owned()),
        on_notice: Some("touch /tmp/notice".to_owned()),
        grace_seconds: 60,
        max_restarts: 3,
        restart_on_replacement: true,
        max_run_seconds: 72 * 3600,
        machine_image: Some("ami-1".to_owned()),
        user: "admin".to_owned(),
        allow_from: words(&["203.0.113.0/24"]),
        scale: Some(Scale {
            min: 1,
            max: 4,
            gpu_utilization: Some(70.0),
            queue_command: Some("redis-cli llen q".to_owned()),
            queue_per_node: Some(8.0),
            cooldown_seconds: 600,
        }),
        ..DeploymentSpec::new("train", spec.run.clone(), requirements)
    };
    assert_eq!(spec, expected);
    let run: toml::Table = spec.run.parse().unwrap();
    let mut before: toml::Table = FULL.parse().unwrap();
    before.remove("cloud");
    assert_eq!(run, before);
}

#[test]
fn every_key_is_in_the_full_file() {
    let table: toml::Table = FULL.parse().unwrap();
    let written: Vec<String> = table["cloud"]
        .as_table()
        .unwrap()
        .keys()
        .map(|key| key.replace('_', "-"))
        .collect();
    for key in KEYS {
        assert!(
            key.names.iter().any(|name| written.iter().any(|key| key == name)),
            "{:?}",
            key.names
        );
    }
}

#[test]
fn a_file_without_the_table_is_a_deployment_of_one_gpu() {
    let spec = parse("name = 'x'\nimage = 'debian:12'\n").unwrap();
    assert_eq!((spec.name.as_str(), spec.requirements), ("x", Requirements::default()));
    assert_eq!(parse("image = 'i'\n[cloud]\n").unwrap().name, "");
    assert_eq!(
        parse("[cloud]\nspot = true\n").unwrap().requirements.spot,
        SpotUse::Only
    );
    assert_eq!(
        parse("[cloud]\nscale = {min = 3, max = 5, gpu-utilization = 50}\n")
            .unwrap()
            .requirements
            .nodes,
        3
    );
}

#[test]
fn a_named_workload_fills_what_is_open() {
    let run = |text: &str| parse(text).map(|spec| spec.run.parse::<toml::Table>().unwrap());
    let named = run("profile = 'ai'\n[cloud]\nworkload = 'pytorch-training'\n").unwrap();
    assert_eq!(named["profile"].as_str(), Some("ai"));
    assert!(
        named["image"]
            .as_str()
            .is_some_and(|image| image.starts_with("pytorch/pytorch:"))
    );
    assert_eq!(named["capabilities"].as_str(), Some("compute,utility"));
    let both = run("rootfs = '/r'\n[cloud]\nworkload = 'cuda'\n").unwrap_err();
    assert!(both.message.contains("cannot have a rootfs"), "{both}");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, wanted) in [
        ("[cloud\n", "line 1: "),
        ("cloud = 3\n", "line 1: 'cloud' must be a table: write [cloud]"),
        (
            "\n[cloud]\ngpu_typ = 'A100'\n",
            "line 3: unknown key 'cloud.gpu_typ': did you mean 'gpu-type'?",
        ),
        (
            "[cloud]\nwrkload = 'x'\n",
            "line 2: unknown key 'cloud.wrkload': did you mean 'workload'?",
        ),
        (
            "[cloud]\nworkload = 'pytorch'\n",
            "line 2: unknown workload 'pytorch': did you mean pytorch-training?",
        ),
        (
            "[cloud]\ngpu-type = 'A1000'\n",
            "line 2: 'cloud.gpu-type' is not right: unknown GPU type 'A1000'",
        ),
        (
            "[cloud]\ngpus = 0\n",
            "line 2: 'cloud.gpus' is 0: it must be a number above 0",
        ),
        (
            "[cloud]\ngpus = 'inf'\n",
            "line 2: 'cloud.gpus' is 'inf': it must be a number above 0",
        ),
        (
            "[cloud]\nnodes = 1.5\n",
            "line 2: 'cloud.nodes' is 1.5: it must be a whole number from 1 on",
        ),
        (
            "[cloud]\nwork = 48\n",
            "line 2: 'cloud.work' is 48: it must be a length of time",
        ),
        (
            "[cloud]\nmemory = 'much'\n",
            "line 2: 'cloud.memory' is 'much': it must be a size",
        ),
        (
            "[cloud]\nspot = 'maybe'\n",
            "line 2: 'cloud.spot' is not right: unknown variant `maybe`, expected",
        ),
        (
            "[cloud]\nprovider = 'oracle'\n",
            "line 2: 'cloud.provider' is not right: unknown provider 'oracle'",
        ),
        (
            "[cloud]\nresidency = 'Germany'\n",
            "line 2: 'cloud.residency' names 'Germany'",
        ),
        (
            "[cloud]\ncompute-capability = '8'\n",
            "line 2: 'cloud.compute-capability' is '8'",
        ),
        (
            "[cloud]\nallow-from = '10.0.0.0/33'\n",
            "line 2: 'cloud.allow-from' names '10.0.0.0/33'",
        ),
        (
            "[cloud]\ndata = { size = '1TiB' }\n",
            "line 2: 'cloud.data' must tell size, provider and region",
        ),
        (
            "[cloud.scale]\nmin = 3\nmax = 2\ngpu-utilization = 9\n",
            "line 1: 'cloud.scale' has a min above its max",
        ),
        (
            "[cloud]\nscale = {max = 2}\n",
            "line 2: 'cloud.scale' must tell what nodes follow",
        ),
        (
            "[cloud]\nscale = {max = 2, queue-per-node = 2}\n",
            "line 2: 'cloud.scale' must tell queue-command and",
        ),
        (
            "[cloud]\nscale = {mx = 2}\n",
            "line 2: 'cloud.scale' has an unknown key 'mx': did you mean 'max'?",
        ),
        (
            "[cloud]\nweights = {cost = -1}\n",
            "line 2: 'cloud.weights' is not right: 'cost' is -1",
        ),
        (
            "[cloud]\nmax-hours = 10000\n",
            "line 2: 'cloud.max-hours' is 10000 h: at most",
        ),
        ("tty = true\n", "line 1: 'tty' needs somebody beside the container"),
        ("detach = true\n", "line 1: 'detach' needs somebody"),
        (
            "volumes = ['/a:/a', 'data:/data']\n",
            "line 1: the volume 'data:/data' is a path here",
        ),
        ("rootfs = 'r'\n", "line 1: the root file system 'r' is a path here"),
        (
            "image = 'oci:layout'\n",
            "line 1: the image 'oci:layout' is a path here",
        ),
        ("image = './layout'\n", "line 1: the image './layout' is a path here"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{text}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn what_may_be_a_secret_is_not_repeated() {
    let error = parse("[cloud]\nsecrets = ['HF_TOKEN=hf_abc']\n")
        .unwrap_err()
        .to_string();
    assert!(
        !error.contains("hf_abc") && error.contains("names of environment variables"),
        "{error}"
    );
}

#[test]
fn a_run_checks_the_table_and_nothing_else() {
    assert_eq!(check("rootfs = 'r'\ntty = true\n[cloud]\ngpus = 2\n"), Ok(()));
    assert_eq!(check("image = 'x'\n"), Ok(()));
    assert_eq!(check("[cloud]\ngps = 2\n").unwrap_err().line, 2);
}
