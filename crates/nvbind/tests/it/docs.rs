//! `docs/pains.md` says only what there is: all thirty rows, and every test that it names.

use std::fs;
use std::process::Command;

/// Rows of the reference that the page answers.
const PAINS: usize = 30;

fn read(path: &str) -> String {
    let path = nvbind_testkit::checkout().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table's rows, without its header.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What is wrong with a reference: its file or its function is not there, or is no test.
fn wrong(reference: &str) -> Option<String> {
    let (path, name) = reference.split_once("::")?;
    let file = nvbind_testkit::checkout().join(path);
    let Ok(text) = fs::read_to_string(&file) else {
        return Some(format!("{reference}: no such file"));
    };
    let is_test = text
        .split("#[test]")
        .skip(1)
        .any(|rest| rest.trim_start().starts_with(&format!("fn {name}()")));
    (!is_test).then(|| format!("{reference}: no such test"))
}

#[test]
fn every_pain_has_a_row_and_every_named_test_exists() {
    let page = read("docs/pains.md");
    let rows = rows(&page);
    let numbers: Vec<String> = rows.iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(
        numbers,
        (1..=PAINS).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    for row in &rows {
        assert_eq!(row.len(), 4, "{row:?}");
        assert!(quoted(row[3]).next().is_some(), "nothing shows row {}", row[0]);
    }
    let wrong: Vec<String> = quoted(&page)
        .filter(|text| text.contains(".rs::"))
        .filter_map(wrong)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(quoted(&page).filter(|text| text.contains(".rs::")).count() > PAINS);
}

#[test]
fn every_named_command_is_one() {
    let page = read("docs/pains.md");
    let help = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_nvbind"))
            .args(words)
            .arg("--help")
            .output();
        output.expect("nvbind").status.success()
    };
    let mut seen = 0;
    for command in quoted(&page).filter_map(|text| text.strip_prefix("nvbind ")) {
        let is_name =
            |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-');
        let words: Vec<&str> = command.split(' ').take_while(is_name).collect();
        let options: Vec<&str> = command.split(' ').filter(|word| word.starts_with("--")).collect();
        assert!(help(&[&words[..], &options[..]].concat()), "nvbind {command}");
        seen += 1;
    }
    assert!(seen > 10, "only {seen} commands were found");
    let makefile = read("Makefile");
    for target in quoted(&page).filter_map(|text| text.strip_prefix("make ")) {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}

#[test]
fn a_reference_to_nothing_is_seen() {
    assert!(wrong("crates/nvbind/tests/it/docs.rs::a_reference_to_nothing_is_seen").is_none());
    assert!(
        wrong("crates/nvbind/tests/it/docs.rs::quoted").is_some(),
        "a function that is no test"
    );
    assert!(wrong("crates/nvbind/tests/it/nowhere.rs::x").is_some());
}
