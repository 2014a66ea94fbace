//! nvbind's configuration file and that of NVIDIA's toolkit.

use nvbind_config::Config;
use std::path::Path;

/// An error is one line and names the file.
pub(crate) fn toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("config.toml");
    let results = [
        Config::default().merge(path, text),
        Config::default().merge_toolkit(path, text),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        let error = error.to_string();
        assert!(error.contains("config.toml:"), "{error}");
    }
}
