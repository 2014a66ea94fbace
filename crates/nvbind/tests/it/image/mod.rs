//! `nvbind image` and `nvbind run IMAGE` against a real registry, filled by a real tool.

mod faults;
mod login;

use crate::support::{Machine, stderr};
use nvbind_testkit::{LayoutWriter, Packing, Registry, TarWriter, Terminal, small_tar};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};

/// A file of a layer that neither packs nor repeats.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + u8::try_from((state >> 33) % 90).expect("below 90"))
    };
    (0..bytes).map(|_| next()).collect()
}

/// A layout of layers, packed in turn by the two ways: skopeo packs what is plain.
fn layout(machine: &Machine, name: &str, tars: &[Vec<u8>], config: &Value) -> LayoutWriter {
    let mut layout = LayoutWriter::new(machine.dir().join(name));
    for (number, tar) in tars.iter().enumerate() {
        layout.layer(tar, [Packing::Gzip, Packing::Zstd][number % 2]);
    }
    layout.finish(config, &["amd64"]);
    layout
}

/// An image to run: the small root file system, and a layer that adds to it, changes it, and takes from it.
fn runnable(machine: &Machine) -> LayoutWriter {
    let top = TarWriter::new()
        .file("marker", "from the registry\n")
        .file("etc/.wh.hostname", "");
    let top = top.file("etc/motd", "changed\n").finish();
    let config = json!({ "Env": ["A=image"], "Cmd": ["cat", "/marker"] });
    layout(machine, "runnable", &[small_tar(), top], &config)
}

/// An image that nobody will run: one file of noise in each layer.
fn heavy(machine: &Machine, name: &str, layers: &[(usize, u64)]) -> LayoutWriter {
    let tar = |(bytes, seed): &(usize, u64)| {
        TarWriter::new()
            .file(&format!("noise-{seed}"), &noise(*bytes, *seed))
            .finish()
    };
    let tars: Vec<Vec<u8>> = layers.iter().map(tar).collect();
    layout(machine, name, &tars, &json!({ "Cmd": ["true"] }))
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(
        said.lines().count() == 1 && said.starts_with("nvbind: ") && words.iter().all(|word| said.contains(word)),
        "{words:?} in: {said}"
    );
}

fn images(machine: &Machine) -> Vec<Value> {
    let listed: Value = serde_json::from_str(&machine.ok(&["image", "ls", "--format", "json"])).expect("JSON");
    listed.as_array().expect("a list").clone()
}

/// What lies in a folder of the store.
fn stored(machine: &Machine, folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(machine.dir().join("state/images").join(folder));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

#[test]
fn an_image_is_pulled_run_listed_and_removed() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = runnable(&machine);
    registry.push(&layout.dir, "test-amd64", "team/app:1");
    let image = format!("{}/team/app:1", registry.host());
    let pulled: Value =
        serde_json::from_str(&machine.ok(&["image", "pull", &image, "--format", "json"])).expect("JSON");
    assert_eq!(pulled["name"], image);
    assert_eq!(machine.ok(&["run", "--pull", "never", &image]), "from the registry\n");
    let script = "echo $A; cat /etc/motd; ls /etc/hostname 2>/dev/null || echo gone; echo x > /marker";
    assert_eq!(
        machine.ok(&["run", &image, "--", "sh", "-c", script]),
        "image\nchanged\ngone\n"
    );
    assert_eq!(
        machine.ok(&["run", &image]),
        "from the registry\n",
        "a container wrote into its image"
    );
    // As another user, whom the files of the image name.
    assert_eq!(
        machine.ok(&["run", "--user", "nobody", &image, "--", "id", "-u"]),
        "65534\n"
    );
    // With a GPU, by its digest alone.
    let exact = format!(
        "{}/team/app@{}",
        registry.host(),
        pulled["digest"].as_str().expect("digest")
    );
    let nodes = machine.ok(&["run", "--gpu", "0", &exact, "--", "ls", "/dev/nvidia0"]);
    assert_eq!(nodes, "/dev/nvidia0\n");
    assert_eq!(images(&machine).len(), 2);
    for index in 0..2 {
        let digest = layout.layer_digest(index);
        assert_eq!(registry.requests_for(&digest), 1, "layer {index} was fetched again");
    }
    let table = machine.ok(&["image", "ls"]);
    assert!(
        table.starts_with("IMAGE ") && table.contains(&image) && table.contains(" MiB "),
        "{table}"
    );
    assert!(
        machine
            .ok(&["image", "ls", "--format", "yaml"])
            .contains("in_use: false")
    );
    machine.ok(&["image", "rm", &image]);
    assert_eq!(stored(&machine, "layers").len(), 2, "the other name needs them");
    let id = images(&machine)[0]["id"].as_str().expect("id")[7..19].to_owned();
    assert!(machine.ok(&["image", "rm", &id]).contains("removed "));
    assert!(stored(&machine, "layers").is_empty() && stored(&machine, "blobs/sha256").is_empty());
    refused(
        &machine.output(&["image", "rm", &image]),
        4,
        &["there is no image", &image],
    );
}

#[test]
fn layers_are_shared_and_the_machines_own_platform_is_chosen() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let base = small_tar();
    let first = layout(
        &machine,
        "first",
        std::slice::from_ref(&base),
        &json!({ "Cmd": ["true"] }),
    );
    registry.push(&first.dir, "test-amd64", "a:1");
    let top = TarWriter::new().file("top", "x").finish();
    let second = layout(&machine, "second", &[base, top], &json!({ "Cmd": ["cat", "/top"] }));
    second.finish_as_index(&json!({ "Cmd": ["cat", "/top"] }), &["arm64", "amd64"], "multi");
    registry.push(&second.dir, "multi", "b:1");
    let host = registry.host();
    machine.ok(&["image", "pull", &format!("{host}/a:1")]);
    assert_eq!(machine.ok(&["run", &format!("{host}/b:1")]), "x");
    assert_eq!(registry.requests_for(&first.layer_digest(0)), 1);
    assert_eq!(stored(&machine, "layers").len(), 2);

    second.finish_as_index(&json!({}), &["arm64", "s390x"], "others");
    registry.push(&second.dir, "others", "b:2");
    let output = machine.output(&["image", "pull", &format!("{host}/b:2")]);
    refused(&output, 4, &["has nothing for linux/amd64", "linux/arm64, linux/s390x"]);
}

#[test]
fn names_that_lead_nowhere_are_told_apart() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "x", &[(10, 1)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let host = registry.host();
    let nobody = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        format!("localhost:{}", listener.local_addr().expect("address").port())
    };
    let cases: &[(&str, i32, &[&str])] = &[
        (&format!("{host}/x:2"), 4, &["is not in its registry", "x:2"]),
        (
            &format!("{host}/nothing"),
            4,
            &["is not in its registry", "nothing:latest"],
        ),
        (
            &format!("{host}/x@sha256:{}", "0".repeat(64)),
            4,
            &["is not in its registry"],
        ),
        (&format!("{nobody}/x:1"), 1, &["cannot reach registry", "refused"]),
        ("Not A Name", 2, &["is no image name"]),
        // Plain HTTP is for this machine's own registries.
        (
            &format!("{}/x:1", host.replace("localhost", "localhost.localdomain")),
            1,
            &["cannot reach registry"],
        ),
    ];
    for (image, code, words) in cases {
        refused(&machine.output(&["image", "pull", image]), *code, words);
        refused(&machine.output(&["run", image, "--", "true"]), *code, words);
    }
    let never = machine.output(&["run", "--pull", "never", &format!("{host}/x:1"), "--", "true"]);
    refused(&never, 4, &["is not on this machine", "nvbind image pull"]);
    assert!(images(&machine).is_empty() && stored(&machine, "incoming").is_empty());
}

#[test]
fn parallel_pulls_of_one_image_do_the_work_once() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "x", &[(3_000_000, 1), (2_000_000, 2), (1_000_000, 3)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    let start = |_| {
        machine
            .nvbind()
            .args(["image", "pull", &image])
            .stdout(Stdio::null())
            .spawn()
            .expect("nvbind")
    };
    let pulls: Vec<_> = (0..6).map(start).collect();
    for mut pull in pulls {
        assert!(pull.wait().expect("nvbind ends").success());
    }
    for index in 0..3 {
        assert_eq!(registry.requests_for(&layout.layer_digest(index)), 1, "layer {index}");
    }
    machine.ok(&["image", "prune"]);
    assert_eq!(
        (stored(&machine, "layers").len(), stored(&machine, "incoming").len()),
        (3, 0)
    );
}

#[test]
fn a_changed_tag_waits_for_always_and_the_old_image_for_its_containers() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let config = json!({ "Cmd": ["cat", "/version"] });
    let version = |name: &str, text: &str| {
        let top = TarWriter::new().file("version", text).finish();
        layout(&machine, name, &[small_tar(), top], &config)
    };
    registry.push(&version("one", "1\n").dir, "test-amd64", "x:latest");
    let image = format!("{}/x", registry.host());
    machine.ok(&["run", "--detach", "--name", "old", &image, "--", "sleep", "1000"]);
    registry.push(&version("two", "2\n").dir, "test-amd64", "x:latest");
    assert_eq!(machine.ok(&["run", &image]), "1\n");
    assert_eq!(machine.ok(&["run", "--pull", "always", &image]), "2\n");
    assert_eq!(machine.ok(&["run", &image]), "2\n");
    // The old image has no name any more, and a container.
    machine.ok(&["image", "prune", "--all"]);
    assert!(images(&machine).is_empty());
    assert_eq!(
        stored(&machine, "layers").len(),
        2,
        "the layers of the container that runs"
    );
    machine.ok(&["stop", "--time", "0", "old"]);
    let freed: Value = serde_json::from_str(&machine.ok(&["image", "prune", "--format", "json"])).expect("JSON");
    assert!(freed["freed_bytes"].as_u64().expect("bytes") > 1_000_000, "{freed}");
    assert!(stored(&machine, "layers").is_empty());
}

#[test]
fn an_image_in_use_is_not_removed() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = runnable(&machine);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    machine.ok(&["run", "--detach", "--name", "holder", &image, "--", "sleep", "1000"]);
    refused(
        &machine.output(&["image", "rm", &image]),
        2,
        &["is in use by container 'holder'", "stop it first"],
    );
    assert!(images(&machine)[0]["in_use"].as_bool().expect("in_use"));
    machine.ok(&["image", "prune", "--all"]);
    assert_eq!(images(&machine).len(), 1);
    machine.ok(&["rm", "--force", "holder"]);
    // A layout's image is kept in the same store.
    let local = format!("oci:{}:test-amd64", layout.dir.display());
    assert_eq!(machine.ok(&["run", &local]), "from the registry\n");
    assert_eq!((images(&machine).len(), stored(&machine, "layers").len()), (2, 2));
    machine.ok(&["image", "prune", "--all"]);
    assert!(stored(&machine, "layers").is_empty());
}

#[test]
fn a_terminal_sees_a_bar_and_nothing_else_does() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    registry.push(&heavy(&machine, "x", &[(2_000_000, 1)]).dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    let mut command = machine.nvbind();
    command
        .args(["image", "pull", &image])
        .env("NO_COLOR", "1")
        .env("TERM", "xterm");
    let mut terminal = Terminal::start(&command, 24, 100);
    terminal.expect("pulling ");
    terminal.expect("unpacking ");
    let (status, rest) = terminal.finish();
    assert!(status.success() && rest.contains(&image), "{rest}");
    assert!(!rest.contains("\u{1b}[3"), "colours: {rest:?}");
    machine.ok(&["image", "rm", &image]);
    let piped = machine.output(&["image", "pull", &image]);
    assert!(
        piped.status.success() && stderr(&piped).is_empty(),
        "{}",
        stderr(&piped)
    );
}
