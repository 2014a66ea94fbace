//! The hook, whose arguments come from specs and whose state from the runtime.

use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;

/// A container's root, and a folder beside it in which nothing must appear.
static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let place = TempDir::new().unwrap();
    for folder in ["rootfs", "canary"] {
        std::fs::create_dir(place.path().join(folder)).unwrap();
    }
    std::fs::write(place.path().join("config.json"), "{\"root\":{\"path\":\"rootfs\"}}").unwrap();
    place
});

/// The first line is the state, where it is one; the others are arguments. Whatever they are, nothing appears outside of
/// the root.
pub(crate) fn arguments_and_state(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let _ = nvbind_oci::hook::run(&["create-container".to_owned()], first.as_bytes());
    let mut args = vec!["create-container".to_owned()];
    args.extend(lines.map(str::to_owned));
    let state = serde_json::json!({ "bundle": PLACE.path() }).to_string();
    nvbind_oci::hook::run(&args, state.as_bytes()).unwrap();
    let mut names: Vec<PathBuf> = std::fs::read_dir(PLACE.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let wanted = ["canary", "config.json", "rootfs"].map(|name| PLACE.path().join(name));
    assert_eq!(names, wanted);
    assert_eq!(std::fs::read_dir(PLACE.path().join("canary")).unwrap().count(), 0);
    let rootfs = PLACE.path().join("rootfs");
    std::fs::remove_dir_all(&rootfs).unwrap();
    std::fs::create_dir(&rootfs).unwrap();
}
