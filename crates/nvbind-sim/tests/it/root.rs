//! Making a simulated machine: once, whole or not at all.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nvbind_sim::root::ensure;
use nvbind_sim::{Error, command, profile, state};

use crate::machine::{Base, tree};

#[test]
fn every_profile_makes_a_machine_with_all_of_its_gpus() {
    let base = Base::new();
    for profile in profile::all().iter().filter(|profile| !profile.wsl) {
        let root = base.ensure(&profile.name);
        let gpus = fs::read_dir(root.path().join("proc/driver/nvidia/gpus"))
            .unwrap()
            .count();
        assert_eq!(gpus, profile.slots.len(), "{}", profile.name);
        let state = state::read(root.path()).unwrap();
        for gpu in &state.gpus {
            let node = root.path().join(format!("dev/nvidia{}", gpu.minor));
            assert!(
                node.symlink_metadata().unwrap().file_type().is_char_device(),
                "{}",
                node.display()
            );
            let device =
                fs::read_to_string(root.path().join(format!("sys/bus/pci/devices/{}/device", gpu.bus))).unwrap();
            assert_eq!(device, format!("{:#06x}\n", profile.model.pci_device_id));
        }
        let version = fs::read_to_string(root.path().join("proc/driver/nvidia/version")).unwrap();
        assert!(version.contains(&profile.driver_version));
    }
}

#[test]
fn a_machine_that_is_there_is_left_alone() {
    let base = Base::new();
    let root = base.ensure("l40s");
    let inode = fs::metadata(root.path()).unwrap().ino();
    command::set(root.path(), "0", "utilization", "42").unwrap();
    assert_eq!(base.ensure("l40s"), root);
    assert_eq!(fs::metadata(root.path()).unwrap().ino(), inode);
    assert_eq!(state::read(root.path()).unwrap().gpus[0].utilization, 42);
}

/// A new library makes the machine anew; what it was doing goes on.
#[test]
fn a_machine_is_made_anew_when_its_library_changed() {
    let base = Base::new();
    let root = base.ensure("hgx-h100");
    command::mig_layout(root.path(), "1", &["3g.40gb"]).unwrap();
    fs::write(base.library(), "another library").unwrap();
    base.ensure("hgx-h100");
    let library = root.path().join("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1");
    assert_eq!(fs::read_to_string(library).unwrap(), "another library");
    assert_eq!(state::read(root.path()).unwrap().gpus[1].mig.len(), 1);
    assert!(
        root.path()
            .join("proc/driver/nvidia/capabilities/gpu1/mig/gi2/ci0/access")
            .exists()
    );
}

#[test]
fn many_callers_at_once_get_the_same_machine() {
    let base = Base::new();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| base.ensure("dgx-a100"))).collect();
        let roots: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
    });
    assert_eq!(state::read(base.ensure("dgx-a100").path()).unwrap().gpus.len(), 8);
}

/// Names the folder in which [`ensure_in_a_child`] makes its machine.
const CHILD: &str = "NVBIND_SIM_TEST_CHILD";

/// Not a test by itself: what the tests below run in a process of its own. Without the variable it makes a machine too,
/// in a folder that goes away.
#[test]
fn ensure_in_a_child() {
    match std::env::var_os(CHILD).map(std::path::PathBuf::from) {
        Some(base) => drop(ensure(&base, "dgx-a100", &base.with_file_name("library.so"), None).unwrap()),
        None => drop(Base::new().ensure("dgx-a100")),
    }
}

fn child(base: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "root::ensure_in_a_child"]).env(CHILD, base);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_builder_that_is_killed_leaves_nothing_half_made() {
    let whole = Base::new();
    let expected = tree(whole.ensure("dgx-a100").path());
    for delay in (0..16).map(|step| Duration::from_millis(step * 6)) {
        let base = Base::new();
        let mut builder = child(&base.path()).spawn().unwrap();
        std::thread::sleep(delay);
        builder.kill().unwrap();
        builder.wait().unwrap();
        let root = base.path().join("dgx-a100");
        if root.exists() {
            assert!(tree(&root).keys().eq(expected.keys()), "half a machine after {delay:?}");
        }
        assert!(
            tree(base.ensure("dgx-a100").path()).keys().eq(expected.keys()),
            "after {delay:?}"
        );
        let left = fs::read_dir(base.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count();
        assert_eq!(left, 1, "an unfinished machine was left behind after {delay:?}");
    }
}

/// In a user namespace nobody may make device nodes.
#[test]
fn without_the_right_to_make_nodes_plain_files_stand_for_them() {
    let base = Base::new();
    let program = child(&base.path());
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user"])
        .arg(program.get_program())
        .args(program.get_args())
        .env(CHILD, base.path());
    nvbind_testkit::check(&mut command);
    assert!(base.path().join("dgx-a100/dev/nvidia0").is_file());
    assert!(base.path().join("dgx-a100/dev/nvidia-caps/nvidia-cap2").is_file());
}

#[test]
fn a_real_driver_is_laid_over_with_our_nvml_in_place_of_its_own() {
    let base = Base::new();
    let overlay = base.overlay();
    let root = ensure(&base.path(), "rtx5090", &base.library(), Some(&overlay)).unwrap();
    let libraries = root.path().join("usr/lib/x86_64-linux-gnu");
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(state::read(root.path()).unwrap().profile.driver_version, "599.9.9");
    assert_eq!(text(&libraries.join("libcuda.so.1")), "the real libcuda");
    assert_eq!(text(&libraries.join("libnvidia-ml.so.1")), "stands for the library");
    assert!(!libraries.join("nvidia/current/libnvidia-ml.so.599.9.9").exists());
    assert!(
        libraries.join("libnvoptix.so.599.9.9").exists(),
        "what the overlay lacks is there as a stub"
    );
    assert!(!root.path().join("usr/share/doc").exists());
    let smi = root.path().join("usr/bin/nvidia-smi");
    assert_eq!(
        text(&smi),
        "\x00599.9.9\x00",
        "absolute links are followed inside the root"
    );
    let original = fs::metadata(overlay.join("usr/lib/nvidia/current/nvidia-smi")).unwrap();
    assert_eq!(
        fs::metadata(&smi).unwrap().ino(),
        original.ino(),
        "hard linked, not copied"
    );
}

#[test]
fn an_overlay_on_another_file_system_is_copied() {
    let base = Base::new();
    let overlay = base.overlay();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = ensure(elsewhere.path(), "t4", &base.library(), Some(&overlay)).unwrap();
    let copy = fs::read_to_string(root.path().join("usr/lib/x86_64-linux-gnu/libcuda.so.1")).unwrap();
    assert_eq!(copy, "the real libcuda");
}

#[test]
fn what_cannot_be_made_is_told_in_a_line() {
    let base = Base::new();
    let refused =
        |profile: &str, overlay: Option<&Path>| ensure(&base.path(), profile, &base.library(), overlay).unwrap_err();
    let unknown = refused("hgx-h1000", None);
    assert!(
        unknown
            .to_string()
            .starts_with("unknown simulated machine 'hgx-h1000': use a profile (dgx-a100, ")
    );
    assert_eq!(unknown.exit_code(), 4);
    let missing = refused("t4", Some(Path::new("/nowhere")));
    assert_eq!(missing.exit_code(), 1);
    assert!(missing.to_string().contains("/nowhere"));
    let empty = tempfile::tempdir().unwrap();
    let useless = refused("t4", Some(empty.path()));
    assert!(matches!(&useless, Error::BadOverlay { .. }), "{useless}");
    assert!(!base.path().join("t4").exists());
    let library = ensure(&base.path(), "t4", Path::new("/nowhere/lib.so"), None).unwrap_err();
    assert!(library.to_string().contains("/nowhere/lib.so"));
}

#[test]
fn a_profile_file_of_ones_own_is_taken() {
    let base = Base::new();
    let own = tempfile::NamedTempFile::new().unwrap();
    let text = include_str!("../../src/profiles.toml").replacen("name = \"dgx-a100\"", "name = \"mine\"", 1);
    fs::write(own.path(), text).unwrap();
    let root = base.ensure(own.path().to_str().unwrap());
    assert_eq!(root.path(), base.path().join("mine"));
    fs::write(own.path(), "[[profile]]\nname = 3\n").unwrap();
    let error = ensure(&base.path(), own.path().to_str().unwrap(), &base.library(), None).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}
