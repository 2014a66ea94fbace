//! Whatever the bytes: reading never panics, and what was written is read back.

use nvbind_cdi::{Device, DeviceNode, Edits, Format, Hook, Mount, Spec};
use proptest::prelude::*;
use std::path::PathBuf;

fn read_all(text: &str) {
    for format in [Format::Json, Format::Yaml] {
        if let Ok(spec) = Spec::parse(text, format) {
            let _ = (spec.validate(), spec.required_version(), spec.stale());
            let written = spec.to_text(format).unwrap();
            assert_eq!(Spec::parse(&written, format).unwrap(), spec);
        }
    }
}

fn path() -> impl Strategy<Value = PathBuf> {
    "\\PC{0,12}".prop_map(PathBuf::from)
}

/// What YAML could take for something else.
const ODD: [&str; 17] = [
    "on",
    "0",
    "1:0",
    "~",
    "0x1f",
    "1e3",
    "- a",
    "a: b",
    "#",
    "\n",
    "\u{85}\u{2028}",
    "\t",
    "",
    "null",
    "2024-01-01",
    "!!x",
    "<<",
];

/// Any text: printable characters, and now and then what YAML could take for something else.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        proptest::sample::select(&ODD[..]).prop_map(str::to_owned),
        any::<String>()
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(text(), 0..3)
}

fn node() -> impl Strategy<Value = DeviceNode> {
    let numbers = (any::<Option<i64>>(), any::<Option<u32>>());
    (
        path(),
        proptest::option::of(path()),
        proptest::option::of(text()),
        numbers,
    )
        .prop_map(|(path, host_path, kind, (major, gid))| DeviceNode {
            path,
            host_path,
            kind,
            major,
            minor: None,
            file_mode: gid,
            permissions: None,
            uid: None,
            gid,
        })
}

prop_compose! {
    fn edits()(
        env in texts(),
        device_nodes in proptest::collection::vec(node(), 0..3),
        mounts in proptest::collection::vec((path(), path(), texts()), 0..3),
        hooks in proptest::collection::vec((text(), path(), texts()), 0..2),
        additional_gids in proptest::collection::vec(any::<u32>(), 0..3),
    ) -> Edits {
        let mount = |(host_path, container_path, options): (_, _, Vec<String>)| {
            let options = options.into_iter().map(Into::into).collect();
            Mount { host_path, container_path, options, kind: None }
        };
        let hook = |(hook_name, path, args)| Hook { hook_name, path, args, env: Vec::new(), timeout: Some(1) };
        Edits {
            env,
            device_nodes,
            mounts: mounts.into_iter().map(mount).collect(),
            hooks: hooks.into_iter().map(hook).collect(),
            additional_gids,
            ..Edits::default()
        }
    }
}

prop_compose! {
    fn spec()(
        kind in text(),
        annotations in proptest::collection::btree_map(text(), text(), 0..3),
        devices in proptest::collection::vec((text(), edits()), 0..3),
        container_edits in edits(),
    ) -> Spec {
        let device = |(name, container_edits)| Device { name, annotations: Default::default(), container_edits };
        let devices = devices.into_iter().map(device).collect();
        Spec { cdi_version: "0.7.0".into(), kind, annotations, devices, container_edits }
    }
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        read_all(&text);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn half_a_spec(spec in spec(), cut in 0.0..1.0f64) {
        for format in [Format::Json, Format::Yaml] {
            let whole: Vec<char> = spec.to_text(format).unwrap().chars().collect();
            // A share of a short text, between 0 and its length.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let length = (whole.len() as f64 * cut) as usize;
            read_all(&whole[..length].iter().collect::<String>());
        }
    }

    #[test]
    fn what_is_written_is_read_back(spec in spec()) {
        for format in [Format::Json, Format::Yaml] {
            let text = spec.to_text(format).unwrap();
            let read = Spec::parse(&text, format);
            prop_assert_eq!(read.as_ref(), Ok(&spec), "{}", text);
        }
    }
}
