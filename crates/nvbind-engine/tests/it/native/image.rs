//! Images: honest ones are run, damaged and hostile ones are refused.

use super::Home;
use crate::common::{Ended, finish};
use nvbind_testkit::{LayoutWriter, Packing, TarWriter, pack, small_image, small_tar};
use serde_json::json;
use std::path::Path;

fn run(home: &Home, image: &str, command: &[&str]) -> Ended {
    let mut run = home.native(&["run", "--image", image]);
    if !command.is_empty() {
        run.arg("--").args(command);
    }
    finish(&mut run, b"")
}

/// A layout of the small root file system with another layer on it.
fn layered(home: &Home, tar: &[u8], packing: Packing) -> LayoutWriter {
    let mut layout = LayoutWriter::new(home.dir.path().join("layout"));
    layout.layer(&small_tar(), Packing::Gzip);
    layout.layer(tar, packing);
    layout
}

#[test]
fn the_images_own_settings_hold_until_the_user_says_otherwise() {
    let home = Home::new();
    let layer = TarWriter::new().file("srv/file", "from the layer\n").finish();
    let layout = layered(&home, &layer, Packing::Zstd);
    let config = json!({ "Env": ["A=image", "PATH=/usr/bin"], "Entrypoint": ["sh", "-c"], "Cmd": ["pwd; echo $A; cat file; id -u"],
        "WorkingDir": "/srv", "User": "daemon" });
    layout.finish(&config, &["arm64", "amd64"]);
    let image = format!("oci:{}:test-amd64", layout.dir.display());
    let ended = run(&home, &image, &[]);
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        ("/srv\nimage\nfrom the layer\n1\n", Some(0)),
        "{}",
        ended.stderr
    );
    assert_eq!(run(&home, &image, &["echo other"]).stdout, "other\n");
    home.assert_nothing_is_left("after an image");
}

#[test]
fn what_a_container_writes_does_not_reach_the_image() {
    let home = Home::new();
    let image = small_image(home.dir.path()).display().to_string();
    let ended = run(
        &home,
        &image,
        &[
            "sh",
            "-c",
            "echo x > /etc/new; echo y > /etc/passwd; cat /etc/new /etc/passwd",
        ],
    );
    assert_eq!(
        (ended.stdout.as_str(), ended.code),
        ("x\ny\n", Some(0)),
        "{}",
        ended.stderr
    );
    let ended = run(&home, &image, &["sh", "-c", "cat /etc/new; head -n1 /etc/passwd"]);
    assert!(ended.stdout.starts_with("root:"), "{}", ended.stdout);
    home.assert_nothing_is_left("after two containers");
}

#[test]
fn a_tar_of_a_layout_and_a_docker_archive_are_images_too() {
    let home = Home::new();
    let folder = small_image(home.dir.path());
    let file = home.dir.path().join("image.tar");
    pack(&folder, &file);
    let ended = run(
        &home,
        &format!("oci-archive:{}", file.display()),
        &["echo", "from a tar"],
    );
    assert_eq!(ended.stdout, "from a tar\n", "{}", ended.stderr);

    // As docker 20.10 saves: no index, layers in folders of their own.
    let docker = home.dir.path().join("docker");
    std::fs::create_dir_all(docker.join("l1")).unwrap();
    let layer = TarWriter::new().file("marker", "docker\n").finish();
    let mut writer = LayoutWriter::new(home.dir.path().join("unused"));
    writer.layer(&small_tar(), Packing::Plain);
    writer.layer(&layer, Packing::Plain);
    std::fs::create_dir_all(docker.join("l0")).unwrap();
    std::fs::write(docker.join("l0/layer.tar"), small_tar()).unwrap();
    std::fs::write(docker.join("l1/layer.tar"), &layer).unwrap();
    writer.finish(&json!({}), &["amd64"]);
    let manifest: serde_json::Value = read_json(&writer.blob_path(&index_digest(&writer.dir)));
    let config = manifest["config"]["digest"].as_str().unwrap();
    std::fs::copy(writer.blob_path(config), docker.join("config.json")).unwrap();
    let images =
        json!([{ "Config": "config.json", "RepoTags": ["small:1"], "Layers": ["l0/layer.tar", "l1/layer.tar"] }]);
    std::fs::write(docker.join("manifest.json"), images.to_string()).unwrap();
    let file = home.dir.path().join("docker.tar");
    pack(&docker, &file);
    let ended = run(&home, &format!("oci-archive:{}", file.display()), &["cat", "/marker"]);
    assert_eq!(ended.stdout, "docker\n", "{}", ended.stderr);
}

fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn index_digest(dir: &Path) -> String {
    read_json(&dir.join("index.json"))["manifests"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn whiteouts_take_away_what_lower_layers_hold() {
    let home = Home::new();
    let mut layout = LayoutWriter::new(home.dir.path().join("layout"));
    layout.layer(&small_tar(), Packing::Gzip);
    layout.layer(
        &TarWriter::new()
            .file("a/old", "1")
            .file("a/gone", "1")
            .file("b/old", "1")
            .finish(),
        Packing::Plain,
    );
    // The opaque mark may come after what its own layer holds.
    let top = TarWriter::new()
        .file("a/.wh.gone", "")
        .file("b/new", "2")
        .folder("b/deep")
        .file("b/deep/x", "2")
        .file("b/.wh..wh..opq", "");
    layout.layer(&top.file("c/.wh.nothing", "").finish(), Packing::Plain);
    layout.finish(&json!({}), &["amd64"]);
    let ended = run(
        &home,
        &layout.dir.display().to_string(),
        &["sh", "-c", "echo /a/* /b/* /b/deep/*"],
    );
    assert_eq!(ended.stdout, "/a/old /b/deep /b/new /b/deep/x\n", "{}", ended.stderr);
}

#[test]
fn hostile_layers_reach_nothing_outside() {
    let home = Home::new();
    let victim = home.dir.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("file"), "safe").unwrap();
    let outside = victim.display().to_string();
    let file = format!("{outside}/file");
    let climbing = format!("../../../../../../../../..{file}");
    let cases = [
        TarWriter::new().file(&climbing, "owned"),
        TarWriter::new().file(&file, "owned"),
        TarWriter::new().symlink("link", &outside).file("link/file", "owned"),
        TarWriter::new()
            .symlink("link", "/")
            .file(&format!("link{file}"), "owned"),
        TarWriter::new()
            .symlink("link", "../../../../../../..")
            .file(&format!("link{file}"), "owned"),
        TarWriter::new().hard_link("hard", &file).file("hard", "owned"),
        TarWriter::new().symlink("link", &file).file("link", "owned"),
        TarWriter::new().symlink("link", &outside).file("link/.wh.file", ""),
        TarWriter::new().symlink("link", &outside).file("link/.wh..wh..opq", ""),
        TarWriter::new().file("x/.wh...", ""),
        TarWriter::new().symlink("loop", "loop").file("loop/file", "owned"),
        TarWriter::new().file(&format!("{outside}/.wh.file"), ""),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let home = Home::new();
        let layout = layered(&home, &case.finish(), Packing::Plain);
        layout.finish(&json!({}), &["amd64"]);
        let ended = run(&home, &layout.dir.display().to_string(), &["true"]);
        assert!(
            matches!(ended.code, Some(0 | 1)),
            "case {number}: {:?} {}",
            ended.code,
            ended.stderr
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "safe", "case {number}");
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 1, "case {number}");
    }
}

#[test]
fn damage_is_found_and_nothing_of_it_is_kept() {
    let home = Home::new();
    let layout = layered(&home, &TarWriter::new().file("x", "1").finish(), Packing::Plain);
    layout.finish(&json!({}), &["amd64"]);
    let image = layout.dir.display().to_string();
    let blob = layout.blob_path(&layout.layer_digest(1));
    let good = std::fs::read(&blob).unwrap();
    let mut flipped = good.clone();
    flipped[512] ^= 1;
    for bytes in [
        flipped,
        good[..good.len() - 1024].to_vec(),
        [good.clone(), vec![0; 512]].concat(),
    ] {
        std::fs::write(&blob, bytes).unwrap();
        let ended = run(&home, &image, &["true"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("is damaged") && ended.stderr.lines().count() == 1,
            "{}",
            ended.stderr
        );
    }
    std::fs::remove_file(&blob).unwrap();
    assert!(run(&home, &image, &["true"]).stderr.contains("it is missing"));
    std::fs::write(&blob, good).unwrap();
    assert_eq!(run(&home, &image, &["true"]).code, Some(0));
    home.assert_nothing_is_left("after damaged images");
}

#[test]
fn what_is_no_image_for_this_machine_is_told() {
    let home = Home::new();
    let mut layout = LayoutWriter::new(home.dir.path().join("layout"));
    layout.layer(&TarWriter::new().file("x", "1").finish(), Packing::Plain);
    layout.finish(&json!({}), &["arm64", "s390x"]);
    let image = layout.dir.display().to_string();
    let told = |image: &str, code: i32, words: &str| {
        let ended = run(&home, image, &["true"]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(words) && ended.stderr.lines().count() == 1,
            "{}",
            ended.stderr
        );
    };
    told(
        &format!("oci:{image}:test-arm64"),
        4,
        "has nothing for linux/amd64; it is for linux/arm64",
    );
    told(
        &format!("oci:{image}:nope"),
        4,
        "has no 'nope'; it has: test-arm64, test-s390x",
    );
    told(&image, 2, "holds several images, name one");
    told("oci:/nope", 4, "image /nope is not there");
    let (whole, cut) = (home.dir.path().join("whole.tar"), home.dir.path().join("cut.tar"));
    pack(&layout.dir, &whole);
    let bytes = std::fs::read(&whole).unwrap();
    for part in [bytes.len() / 2, bytes.len() / 4, 700] {
        std::fs::write(&cut, &bytes[..part]).unwrap();
        told(
            &cut.display().to_string(),
            1,
            "is cut off: the tar file ends in the middle",
        );
    }
    told("/usr", 2, "is neither an OCI image layout nor a docker archive");
    told("/etc/passwd", 2, "is neither an OCI image layout nor a docker archive");
    std::fs::write(
        layout.dir.join("index.json"),
        r#"{"manifests":[{"digest":"sha256:../../etc","size":1}]}"#,
    )
    .unwrap();
    told(&image, 2, "it is no sha256 digest");
    std::fs::write(layout.dir.join("index.json"), r#"{"manif"#).unwrap();
    told(&image, 2, "index.json is broken");
}
