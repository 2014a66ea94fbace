//! CDI specs, which engines let others than root's programs write into their folders.

use nvbind_cdi::{Format, Spec};
use nvbind_gpu::Capabilities;

pub(crate) fn json(data: &[u8]) {
    spec(data, Format::Json);
}

pub(crate) fn yaml(data: &[u8]) {
    spec(data, Format::Yaml);
}

/// What is valid is written and read back the same in both formats, and stays valid when it is cut down.
fn spec(data: &[u8], format: Format) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(spec) = Spec::parse(text, format) else { return };
    if spec.validate().is_err() {
        return;
    }
    for format in [Format::Json, Format::Yaml] {
        let written = spec.to_text(format).unwrap();
        assert_eq!(Spec::parse(&written, format).as_ref(), Ok(&spec), "{written}");
    }
    let edits = spec.container_edits.clone().filter(Capabilities::DEFAULT);
    assert!(edits.mounts.len() <= spec.container_edits.mounts.len());
    let mut older = spec.clone();
    if older.limit_version("0.5.0").is_ok() && !older.devices.is_empty() {
        older.validate().unwrap();
    }
}
