//! What of the host is mounted in a container, from its `/proc/self/mountinfo` (proc(5)).

use super::image::Image;
use crate::support::Machine;
use std::path::Path;

/// File systems that are the kernel's own or the container's, whatever their root is.
const OWN: [&str; 9] = [
    "proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay",
];

/// Every mount from a disk comes from the image, from the engine's own folders, or is a file of the driver.
pub(super) fn assert_allowed(text: &str, machine: &Machine, image: &Image, engine: &[&Path], what: &str) {
    assert!(text.contains(" / "), "{what}: no mountinfo:\n{text}");
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (root, point) = (words[3], words[4]);
        let kind = words
            .iter()
            .position(|word| *word == "-")
            .and_then(|at| words.get(at + 1));
        assert!(!root.contains("/canary"), "{what}: a canary is mounted: {line}");
        if kind.is_some_and(|kind| OWN.contains(kind)) {
            continue;
        }
        let root = Path::new(root);
        let is_image = root.starts_with(image.rootfs());
        // The engine's files are those that it mounts into every container.
        let is_engine = engine.iter().any(|folder| root.starts_with(folder));
        let is_driver = root.starts_with(machine.dir().join("state"));
        let is_default = point == "/" && root != Path::new("/");
        assert!(
            is_image || is_engine || is_driver || is_default,
            "{what}: of the host's files is mounted: {line}"
        );
    }
}

#[test]
#[should_panic(expected = "of the host's files is mounted")]
fn the_hosts_root_would_be_seen() {
    let machine = Machine::new("t4");
    let image = Image::new(&machine, &[], super::Kind::Folder);
    let text = "22 21 8:1 /srv/rootfs / rw - ext4 /dev/sda1 rw\n23 22 8:1 / /host rw - ext4 /dev/sda1 rw\n";
    assert_allowed(text, &machine, &image, &[], "self-test");
}

#[test]
#[should_panic(expected = "a canary is mounted")]
fn a_canary_would_be_seen() {
    let machine = Machine::new("t4");
    let image = Image::new(&machine, &[], super::Kind::Folder);
    let text = format!(
        "23 22 8:1 {} /x rw - ext4 / rw\n22 21 8:1 / / rw - overlay o rw\n",
        image.canary("").display()
    );
    assert_allowed(&text, &machine, &image, &[], "self-test");
}
