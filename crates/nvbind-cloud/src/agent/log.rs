//! The log of a workload: a file that is begun anew at a size, with the one before it kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Writes a log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl Log {
    /// Goes on with the log at `path`, which is begun anew at so many bytes.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            limit,
        })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The log before this one.
fn before(path: &Path) -> PathBuf {
    path.with_extension("1")
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size >= self.limit {
            fs::rename(&self.path, before(&self.path))?;
            self.file = append(&self.path)?;
            self.size = 0;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads a log from where it stands, across the beginning of a new one.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
}

impl Tail {
    /// From the last `lines` on; all there is where `None`.
    pub(super) fn open(path: &Path, lines: Option<usize>, output: &mut dyn Write) -> io::Result<Self> {
        let mut tail = Self {
            path: path.to_owned(),
            file: None,
        };
        let Some(lines) = lines else {
            if let Ok(mut old) = File::open(before(path)) {
                io::copy(&mut old, output)?;
            }
            tail.go_on(output)?;
            return Ok(tail);
        };
        tail.file = File::open(path).ok();
        let mut now = Vec::new();
        if let Some(file) = &mut tail.file {
            now = end_of(file, lines)?;
        }
        let missing = lines.saturating_sub(count(&now));
        if missing > 0
            && let Ok(mut old) = File::open(before(path))
        {
            output.write_all(&end_of(&mut old, missing)?)?;
        }
        output.write_all(&now)?;
        Ok(tail)
    }

    /// Writes what has come since.
    pub(super) fn go_on(&mut self, output: &mut dyn Write) -> io::Result<()> {
        loop {
            if self.file.is_none() {
                self.file = File::open(&self.path).ok();
            }
            let Some(file) = &mut self.file else { return Ok(()) };
            io::copy(file, output)?;
            // What was renamed gets no more: its rest has just been read, unless it came in between.
            let number = |found: io::Result<fs::Metadata>| found.ok().map(|found| found.ino());
            if number(file.metadata()) == number(fs::metadata(&self.path)) {
                return output.flush();
            }
            io::copy(file, output)?;
            self.file = None;
        }
    }
}

fn count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// The last lines of a file, which is left standing at its end.
fn end_of(file: &mut File, lines: usize) -> io::Result<Vec<u8>> {
    const STEP: u64 = 64 << 10;
    let end = file.seek(SeekFrom::End(0))?;
    let mut start = end;
    let mut text = Vec::new();
    // One line end more than lines: that before the first of them.
    while start > 0 && count(&text) <= lines {
        let length = STEP.min(start);
        start -= length;
        let mut piece = vec![0; length as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut piece)?;
        piece.extend_from_slice(&text);
        text = piece;
    }
    file.seek(SeekFrom::Start(end))?;
    let is_whole = text.last() == Some(&b'\n') || text.is_empty();
    let surplus = (count(&text) + usize::from(!is_whole)).saturating_sub(lines);
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let from = match surplus {
        0 => 0,
        surplus => starts.map(|(at, _)| at + 1).nth(surplus - 1).unwrap_or(0),
    };
    Ok(text.split_off(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limit: u64) -> (tempfile::TempDir, PathBuf, Log) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::open(&path, limit).unwrap();
        (dir, path, log)
    }

    fn tail(path: &Path, lines: Option<usize>) -> String {
        let mut text = Vec::new();
        Tail::open(path, lines, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_log_is_begun_anew_and_keeps_the_one_before() {
        let (_dir, path, mut log) = log(10);
        for number in 0..9 {
            writeln!(log, "line {number}").unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= 20);
        assert!(fs::metadata(before(&path)).unwrap().len() <= 20);
        assert_eq!(tail(&path, Some(2)), "line 7\nline 8\n");
        assert_eq!(tail(&path, Some(3)), "line 6\nline 7\nline 8\n");
        assert!(tail(&path, None).ends_with("line 6\nline 7\nline 8\n"));
        assert_eq!(tail(&path, Some(0)), "");
    }

    #[test]
    fn following_misses_nothing_where_a_log_is_begun_anew() {
        let (_dir, path, mut log) = log(10);
        let mut text = Vec::new();
        let mut tail = Tail::open(&path, Some(0), &mut text).unwrap();
        for number in 0..9 {
            writeln!(log, "line {number}").unwrap();
            tail.go_on(&mut text).unwrap();
        }
        assert_eq!(count(&text), 9, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn a_last_line_without_an_end_is_a_line() {
        let (_dir, path, mut log) = log(1 << 20);
        write!(log, "a\nb\nc").unwrap();
        assert_eq!(tail(&path, Some(1)), "c");
        assert_eq!(tail(&path, Some(2)), "b\nc");
        assert_eq!(tail(&path, Some(9)), "a\nb\nc");
    }
}
