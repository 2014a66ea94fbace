use super::*;
use crate::generate::hook::COMMAND;
use crate::{DeviceNode, Mount};
use serde_json::{Value, json};

#[test]
fn links_to_dropped_files_fall_with_them() {
    let mut hook = hook(&[
        "--link=libGLX.so.1::/l/libGLX.so",
        "--link=libGLX.so.550::/l/libGLX.so.1",
        "--link=../libGLX.so.550::/l/gbm/x.so",
        "--link=libcuda.so.550::/l/libcuda.so.1",
        "--device-link=../card0::/dev/dri/by-path/pci-0-card",
        "--library=/l/libGLX.so.1",
        "--library=/l/libcuda.so.1",
        "--library=/l/libGLX.so.550",
    ]);
    let mut dropped = ["/l/libGLX.so.550", "/dev/dri/card0"]
        .into_iter()
        .map(std::ffi::OsString::from)
        .collect();
    drop_arguments(&mut hook, &mut dropped);
    assert_eq!(
        hook.args[2..],
        ["--link=libcuda.so.550::/l/libcuda.so.1", "--library=/l/libcuda.so.1"]
    );
}

#[test]
fn nodes_that_draw_go_with_their_groups() {
    let node = |path: &str, gid: Value| json!({ "path": path, "gid": gid });
    let edits: Edits = serde_json::from_value(json!({
        "deviceNodes": [node("/dev/nvidia0", json!(44)), node("/dev/nvidia-modeset", json!(null)),
            node("/dev/dri/card0", json!(44)), node("/dev/dri/renderD128", json!(105))],
        "additionalGids": [44, 105] }))
    .unwrap();
    let compute = edits.clone().filter(Capabilities::DEFAULT);
    let paths: Vec<_> = compute
        .device_nodes
        .iter()
        .map(|node: &DeviceNode| node.path.to_str().unwrap())
        .collect();
    assert_eq!(paths, ["/dev/nvidia0"]);
    assert_eq!(compute.additional_gids, [44]);
    for words in ["graphics", "display", "compute,display", "all"] {
        assert_eq!(edits.clone().filter(words.parse().unwrap()), edits, "{words}");
    }
}

#[test]
fn files_of_other_capabilities_are_dropped() {
    let mount = |path: &str| json!({ "hostPath": path, "containerPath": path });
    let names = [
        "libcuda.so.550.54",
        "libnvidia-ml.so.550.54",
        "libGLX_nvidia.so.550.54",
        "libnvidia-encode.so.550.54",
    ];
    let paths = names.map(|name| format!("/usr/lib/x86_64-linux-gnu/{name}"));
    let libraries = paths.clone().map(|path| format!("--library={path}"));
    let arguments: Vec<&str> = libraries.iter().map(String::as_str).collect();
    let edits =
        json!({ "mounts": paths.iter().map(|path| mount(path)).collect::<Vec<_>>(), "hooks": [hook(&arguments)] });
    let edits: Edits = serde_json::from_value(edits).unwrap();
    let kept = |words: &str| {
        let edits = edits.clone().filter(words.parse().unwrap());
        let is_kept = |mount: &Mount| {
            paths
                .iter()
                .position(|path| mount.container_path == Path::new(path))
                .unwrap()
        };
        let kept: Vec<usize> = edits.mounts.iter().map(is_kept).collect();
        let hooked = edits.hooks.first().map_or(0, |hook| hook.args.len() - 2);
        assert_eq!(hooked, kept.len(), "the cache names what is mounted");
        kept
    };
    assert_eq!(kept("all"), [0, 1, 2, 3]);
    assert_eq!(kept("compute,utility"), [0, 1]);
    assert_eq!(kept("utility"), [1]);
    assert_eq!(kept("video"), [0, 3]);
    assert_eq!(kept("graphics"), [0, 2]);
    assert_eq!(kept("ngx"), [0]);
    assert_eq!(kept("compat32"), [0; 0]);
}

#[test]
fn libraries_of_32_bit_are_for_compat32() {
    let kept = |paths: &[&str], words: &str| {
        let mount = |path: &&str| json!({ "hostPath": path, "containerPath": path });
        let edits = json!({ "mounts": paths.iter().map(mount).collect::<Vec<_>>() });
        let edits = serde_json::from_value::<Edits>(edits)
            .unwrap()
            .filter(words.parse().unwrap());
        edits
            .mounts
            .iter()
            .map(|mount| mount.container_path.display().to_string())
            .collect::<Vec<_>>()
    };
    let debian = [
        "/usr/lib/x86_64-linux-gnu/libcuda.so.550.54",
        "/usr/lib/i386-linux-gnu/libcuda.so.550.54",
    ];
    assert_eq!(kept(&debian, "compute"), debian[..1]);
    assert_eq!(kept(&debian, "compute,compat32"), debian);
    let fedora = [
        "/usr/lib64/libcuda.so.550.54",
        "/usr/lib/libcuda.so.550.54",
        "/usr/bin/nvidia-smi",
    ];
    assert_eq!(kept(&fedora, "compute,utility"), [fedora[0], fedora[2]]);
    let arch = ["/usr/lib/libcuda.so.550.54"];
    assert_eq!(kept(&arch, "compute"), arch);
}

#[test]
fn hooks_of_others_are_left_alone() {
    let foreign = Hook {
        args: vec!["nvidia-cdi-hook".into(), "create-symlinks".into()],
        ..hook(&[])
    };
    let edits = Edits {
        hooks: vec![foreign.clone(), hook(&[])],
        ..Edits::default()
    };
    assert_eq!(edits.clone().filter(Capabilities::DEFAULT).hooks, [foreign]);
}

fn hook(arguments: &[&str]) -> Hook {
    let args = ["nvbind-hook", COMMAND]
        .iter()
        .chain(arguments)
        .map(|text| (*text).to_owned())
        .collect();
    Hook {
        hook_name: "createContainer".into(),
        path: "/usr/bin/nvbind-hook".into(),
        args,
        env: Vec::new(),
        timeout: None,
    }
}
