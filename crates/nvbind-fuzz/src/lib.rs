//! What do the parsers do with hostile input? Fuzz targets, one function each.
//!
//! `make fuzz` runs them under libFuzzer (which wants a nightly toolchain); `make test` replays their corpora, which lie in
//! `fuzz/corpus/<target>/`. A target panics when something that must always hold does not.
//!
//! There is none for `ld.so.conf`: nvbind reads no such file. The loader's cache is written from the folders of the driver's
//! files, beside what the image's own `ld.so.cache` has.

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a panic is how a fuzz target says that it found something"
)]

mod cdi;
mod config;
mod hook;
mod image;
mod ldcache;
mod runtime;
mod selector;

/// A target: hostile bytes in, a panic when something is wrong.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("cdi_json", cdi::json),
    ("cdi_yaml", cdi::yaml),
    ("config_json", runtime::config_json),
    ("config_toml", config::toml),
    ("hook", hook::arguments_and_state),
    ("image_documents", image::documents),
    ("image_layer", image::layer),
    ("ld_so_cache", ldcache::cache),
    ("selector", selector::selector),
];

/// Runs the target of that name.
///
/// # Panics
///
/// When the target finds something, or there is none of that name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no fuzz target is called {name}"));
    target(data);
}
