//! Files that are not a ledger, or not one of ours.

use nvbind_alloc::{Error, FILE_NAME, Ledger};

fn open_with(content: &[u8]) -> Error {
    let dir = tempfile::Builder::new().prefix("nvbind-alloc-").tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), content).unwrap();
    Ledger::open(dir.path()).unwrap_err()
}

#[test]
fn a_damaged_file_is_one_clear_line() {
    let mut torn = b"SQLite format 3\0".to_vec();
    torn.resize(8192, 0xaa);
    for content in [b"not a database, but long enough to be looked at ".repeat(20), torn] {
        let error = open_with(&content);
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        let line = error.to_string();
        assert!(
            !line.contains('\n') && line.contains(FILE_NAME) && line.contains("move the file away"),
            "{line}"
        );
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let dir = tempfile::Builder::new().prefix("nvbind-alloc-").tempdir().unwrap();
    drop(Ledger::open(dir.path()).unwrap());
    let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Ledger::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error:?}");
    assert_eq!(error.exit_code(), 5);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::Builder::new().prefix("nvbind-alloc-").tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let line = Ledger::open(&file.join("state")).unwrap_err().to_string();
    assert!(
        line.starts_with("cannot open the ledger ") && line.contains("state/nvbind.db"),
        "{line}"
    );
}
