//! The corpora, replayed: every input as it is, cut short, and with single bytes changed.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use nvbind_fuzz::{TARGETS, Target};
use std::path::{Path, PathBuf};

/// Most variants of one input.
const VARIANTS: usize = 256;

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new("../../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: Target, input: &[u8]) {
    target(input);
    let step = (2 * input.len() / VARIANTS).max(1);
    for at in (0..input.len()).step_by(step) {
        target(&input[..at]);
        let mut changed = input.to_vec();
        changed[at] ^= 1 << (at % 8);
        target(&changed);
    }
}

#[test]
fn every_target_withstands_its_corpus() {
    for (name, target) in TARGETS {
        let files = corpus(name);
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            replay(target, &std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_program_and_every_corpus_its_target() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for name in &names {
        let program = std::fs::read_to_string(format!("../../fuzz/fuzz_targets/{name}.rs")).unwrap();
        assert!(
            program.contains(&format!("nvbind_fuzz::run(\"{name}\", data)")),
            "{name}"
        );
    }
    for folder in std::fs::read_dir("../../fuzz/corpus").unwrap() {
        let name = folder.unwrap().file_name();
        assert!(names.contains(&name.to_str().unwrap()), "{name:?}");
    }
}
