//! `nvbind image` and `nvbind run IMAGE` against a real registry, filled by a real tool.

use crate::support::{Machine, stderr, stdout};
use nvbind_testkit::{Cut, CuttingProxy, LayoutWriter, Packing, Registry, TarWriter, check, small_tar};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

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
fn what_the_registry_changed_is_found_and_nothing_of_it_is_kept() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "tampered", &[(200_000, 1), (100_000, 2)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    let manifest = serde_json::from_str::<Value>(&fs::read_to_string(layout.dir.join("index.json")).expect("index"))
        .expect("JSON");
    let manifest = manifest["manifests"][0]["digest"].as_str().expect("digest").to_owned();
    let document: Value =
        serde_json::from_slice(&fs::read(layout.blob_path(&manifest)).expect("manifest")).expect("JSON");
    let config = document["config"]["digest"].as_str().expect("digest").to_owned();
    for (what, digest, word) in [
        ("a layer", layout.layer_digest(1), "is damaged"),
        ("the configuration", config, "is damaged"),
        ("the manifest", manifest, "igest"),
    ] {
        let file = registry.blob_file(&digest);
        let good = fs::read(&file).expect("blob");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&file, bad).expect("tamper");
        let by_digest = format!("{}/x@{}", registry.host(), digest);
        let asked = if what == "the manifest" { &by_digest } else { &image };
        refused(&machine.output(&["image", "pull", asked]), 1, &[word]);
        assert!(images(&machine).is_empty(), "{what}");
        assert!(stored(&machine, "layers").is_empty(), "{what}");
        fs::write(&file, good).expect("restore");
    }
    machine.ok(&["image", "pull", &image]);
    assert!(stored(&machine, "incoming").is_empty());
}

#[test]
fn a_connection_that_is_cut_once_is_taken_up_where_it_was() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "cut", &[(6_000_000, 1)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let ranges_before = registry.answers_with(206);
    let proxy = CuttingProxy::start(&registry, Cut::Once(1_000_000));
    let image = format!("{}/x:1", proxy.host());
    machine.ok(&["image", "pull", &image]);
    assert_eq!(registry.requests_for(&layout.layer_digest(0)), 2);
    assert!(registry.answers_with(206) > ranges_before);
    assert_eq!(images(&machine).len(), 1);
}

#[test]
fn a_connection_that_is_always_cut_is_given_up_and_taken_up_later() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "cut", &[(6_000_000, 1)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let proxy = CuttingProxy::start(&registry, Cut::Always(100_000));
    let image = format!("{}/x:1", proxy.host());
    let output = machine.output(&["image", "pull", &image]);
    refused(&output, 1, &["was cut 5 times", "of ", "run it again"]);
    assert!(images(&machine).is_empty());
    let part = stored(&machine, "incoming");
    let length = fs::metadata(&part[0]).expect("what came").len();
    assert!(
        part.len() == 1 && (100_000..1_000_000).contains(&length),
        "{part:?} {length}"
    );
    // Under another name it is the same layer: what came is used.
    machine.ok(&["image", "pull", &format!("{}/x:1", registry.host())]);
    assert!(stored(&machine, "incoming").is_empty());
}

/// Writes a file that only its owner can read.
fn secret_file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

#[test]
fn credentials_come_from_the_files_of_docker_and_podman() {
    let machine = Machine::new("t4");
    let registry = Registry::start_for("ada", "s3cret word");
    let layout = heavy(&machine, "private", &[(1000, 1)]);
    registry.push(&layout.dir, "test-amd64", "team/x:1");
    let (host, home) = (registry.host(), machine.dir().join("home"));
    let image = format!("{host}/team/x:1");
    let pull = |variables: &[(&str, &Path)]| {
        let mut command = machine.nvbind();
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command.env("HOME", &home).envs(variables.iter().copied());
        let output = command.args(["image", "pull", &image]).output().expect("nvbind");
        assert!(!stderr(&output).contains("s3cret") && !stdout(&output).contains("s3cret"));
        let _ = machine.output(&["image", "rm", &image]);
        output
    };
    refused(&pull(&[]), 3, &["wants a login", &format!("docker login {host}")]);

    // Made by the tools themselves.
    let podman_file = machine.dir().join("run/containers/auth.json");
    fs::create_dir_all(podman_file.parent().expect("a folder")).expect("folder");
    let mut login = Command::new("skopeo");
    login.args(["login", "--tls-verify=false", "-u", "ada", "-p", "s3cret word", &host]);
    check(login.arg("--authfile").arg(&podman_file));
    let ok = |output: Output| assert!(output.status.success(), "{}", stderr(&output));
    ok(pull(&[("XDG_RUNTIME_DIR", &machine.dir().join("run"))]));
    ok(pull(&[("REGISTRY_AUTH_FILE", &podman_file)]));

    let auths = fs::read_to_string(&podman_file).expect("auth.json");
    secret_file(&home.join(".docker/config.json"), &auths);
    ok(pull(&[]));
    fs::remove_file(home.join(".docker/config.json")).expect("remove");
    secret_file(&home.join("elsewhere/config.json"), &auths);
    ok(pull(&[("DOCKER_CONFIG", &home.join("elsewhere"))]));

    let wrong = auths.replace(auths.split('"').nth(7).expect("auth"), "YWRhOndyb25n");
    secret_file(&home.join("wrong.json"), &wrong);
    let output = pull(&[("REGISTRY_AUTH_FILE", &home.join("wrong.json"))]);
    refused(&output, 3, &["refuses", "user 'ada'", "wrong.json"]);
    refused(
        &pull(&[("REGISTRY_AUTH_FILE", Path::new("/no/such/file"))]),
        2,
        &["/no/such/file"],
    );
    secret_file(&home.join("broken.json"), "{\"auths\":");
    refused(
        &pull(&[("REGISTRY_AUTH_FILE", &home.join("broken.json"))]),
        2,
        &["broken.json"],
    );

    // A keeper that is asked for them.
    let bin = machine.dir().join("bin");
    let helper = bin.join("docker-credential-test");
    secret_file(
        &helper,
        "#!/bin/sh\nread server\n[ \"$1\" = get ] && [ -n \"$server\" ] || exit 1\n\
        echo \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"ada\\\",\\\"Secret\\\":\\\"s3cret word\\\"}\"\n",
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).expect("chmod");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    for (name, text) in [
        ("store.json", r#"{"credsStore":"test"}"#.to_owned()),
        ("helper.json", format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#)),
    ] {
        secret_file(&home.join(name), &text);
        ok(pull(&[
            ("REGISTRY_AUTH_FILE", &home.join(name)),
            ("PATH", Path::new(&path)),
        ]));
        let output = pull(&[("REGISTRY_AUTH_FILE", &home.join(name))]);
        refused(&output, 1, &["docker-credential-test", name]);
    }
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
    machine.ok(&["run", "--detach", "--name", "old", &image, "--", "sleep", "60"]);
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
    machine.ok(&["run", "--detach", "--name", "holder", &image, "--", "sleep", "60"]);
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

/// A mount that goes with the test.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).output();
    }
}

fn mount<'a>(arguments: &[&str], target: &'a Path) -> Mounted<'a> {
    fs::create_dir_all(target).expect("folder");
    check(Command::new("mount").args(arguments).arg(target));
    Mounted(target)
}

#[test]
fn a_full_disk_is_told_and_harms_nothing() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let small = heavy(&machine, "small", &[(1000, 1)]);
    registry.push(&small.dir, "test-amd64", "small:1");
    let large = heavy(&machine, "large", &[(3_000_000, 2), (3_000_000, 3)]);
    registry.push(&large.dir, "test-amd64", "large:1");
    let images_dir = machine.dir().join("state/images");
    let _mounted = mount(&["-t", "tmpfs", "-o", "size=4m", "none"], &images_dir);
    let (small, large) = (
        format!("{}/small:1", registry.host()),
        format!("{}/large:1", registry.host()),
    );
    machine.ok(&["image", "pull", &small]);
    // The first layer or the second, on its way or while it is unpacked.
    for _ in 0..2 {
        refused(
            &machine.output(&["image", "pull", &large]),
            1,
            &["No space left", "make room"],
        );
        assert_eq!(images(&machine).len(), 1);
    }
    machine.ok(&["image", "prune"]);
    assert_eq!(
        (stored(&machine, "layers").len(), stored(&machine, "incoming").len()),
        (1, 0)
    );
    check(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&images_dir));
    machine.ok(&["image", "pull", &large]);
    assert_eq!(images(&machine).len(), 2);
}

#[test]
fn a_read_only_store_is_told_and_serves_what_it_has() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    registry.push(&runnable(&machine).dir, "test-amd64", "x:1");
    registry.push(&heavy(&machine, "y", &[(10, 1)]).dir, "test-amd64", "y:1");
    let (image, other) = (format!("{}/x:1", registry.host()), format!("{}/y:1", registry.host()));
    machine.ok(&["image", "pull", &image]);
    let store = machine.dir().join("state/images");
    let source = store.display().to_string();
    let _mounted = mount(&["--bind", &source], &store);
    check(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&store));
    for arguments in [
        &["image", "pull", &other][..],
        &["image", "rm", &image],
        &["image", "prune", "--all"],
    ] {
        refused(&machine.output(arguments), 1, &["Read-only file system", "state.dir"]);
    }
    assert_eq!(machine.ok(&["run", &image]), "from the registry\n");
    assert_eq!(images(&machine).len(), 1);
}

#[test]
fn where_overlays_are_refused_images_are_copied() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = runnable(&machine);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    let parts = ["lower", "upper", "work"].map(|name| machine.dir().join("stack").join(name));
    parts.iter().for_each(|part| fs::create_dir_all(part).expect("folder"));
    let [lower, upper, work] = parts.map(|part| part.display().to_string());
    // An overlay cannot be the upper folder of another.
    let state = machine.dir().join("state");
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let _mounted = mount(&["-t", "overlay", "-o", &options, "none"], &state);
    let output = machine.output(&["-v", "run", &image]);
    assert_eq!(stdout(&output), "from the registry\n", "{}", stderr(&output));
    assert!(
        stderr(&output).contains("refuses an overlay") && stderr(&output).contains("copied"),
        "{}",
        stderr(&output)
    );
    let quiet = machine.output(&[
        "run",
        &image,
        "--",
        "sh",
        "-c",
        "ls /etc/hostname || cat /etc/motd; echo x > /marker",
    ]);
    assert_eq!(stdout(&quiet), "changed\n");
    assert!(!stderr(&quiet).contains("overlay"), "{}", stderr(&quiet));
    assert_eq!(machine.ok(&["run", "--user", "daemon", &image]), "from the registry\n");
    assert!(
        fs::read_dir(state.join("containers"))
            .expect("containers")
            .next()
            .is_none()
    );
    assert!(
        stored(&machine, "layers")
            .iter()
            .all(|layer| layer.join("whole").exists())
    );
    machine.ok(&["image", "rm", &image]);
    assert!(stored(&machine, "layers").is_empty());
}

/// System calls that change the store, or wait. strace counts each call of each thread for itself.
const EFFECTS: [&str; 21] = [
    "mkdir",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "write",
    "fsync",
    "syncfs",
    "flock",
    "connect",
    "writev",
    "epoll_wait",
    "clone3",
    "unshare",
    "mount",
    "chroot",
    "fchownat",
    "fchmodat",
    "utimensat",
    "ftruncate",
];

/// Pulls, killed as it enters the n-th of these calls; whether it was.
fn killed_pull(machine: &Machine, image: &str, call: &str, step: usize) -> bool {
    let nvbind = machine.nvbind();
    let mut strace = Command::new("strace");
    strace.envs(nvbind.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    strace
        .arg("-e")
        .arg(format!("inject={call}:signal=SIGKILL:when={step}"));
    strace.arg(nvbind.get_program()).args(["image", "pull", image]);
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    !strace.status().expect("strace").success()
}

#[test]
fn a_pull_killed_at_any_step_is_cleaned_up_or_taken_up() {
    let (machine, registry) = (Machine::new("t4"), Registry::start());
    let layout = heavy(&machine, "x", &[(70_000, 1), (30_000, 2)]);
    registry.push(&layout.dir, "test-amd64", "x:1");
    let image = format!("{}/x:1", registry.host());
    machine.ok(&["image", "ls"]);
    let mut steps = 0;
    for call in EFFECTS {
        let mut step = 1;
        while killed_pull(&machine, &image, call, step) {
            assert!(step < 500, "no end of {call}");
            match step % 2 {
                0 => machine.ok(&["image", "prune"]),
                _ => machine.ok(&["image", "pull", &image]),
            };
            let left = stored(&machine, "incoming");
            assert!(left.is_empty(), "{call} {step}: {left:?}");
            let layers = if images(&machine).is_empty() { 0 } else { 2 };
            assert_eq!(stored(&machine, "layers").len(), layers, "{call} {step}");
            if layers > 0 {
                machine.ok(&["image", "rm", &image]);
            }
            step += 1;
        }
        assert_eq!(images(&machine).len(), 1);
        machine.ok(&["image", "rm", &image]);
        steps += step - 1;
    }
    assert!(steps > 60, "only {steps} steps were seen");
}
