//! Xid errors that the driver wrote to the kernel's log.
//!
//! A GPU that falls off the bus or fails tells it there at once, without any library being loaded.

use crate::pci;
use nvbind_config::Roots;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `O_NONBLOCK`: without it a read waits for the next message.
const NON_BLOCKING: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
/// Longest record of `/dev/kmsg` (`CONSOLE_EXT_LOG_MAX` of the kernel): a shorter buffer makes the read fail.
const LONGEST_RECORD: usize = 8192;
/// Records read at one time; the kernel's buffer holds fewer.
const MOST_READS: usize = 1 << 17;

/// One Xid error (NVIDIA, "XID Errors").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xid {
    /// PCI bus id as sysfs spells it: `0000:07:00.0`.
    pub pci_bus_id: String,
    /// Code, as 79: the GPU has fallen off the bus.
    pub code: u32,
    /// What the driver wrote after the code.
    pub message: String,
}

/// The kernel's log, read from one place on.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
    /// A line of which the end has not been read yet.
    rest: Vec<u8>,
}

impl KernelLog {
    /// The log from the oldest message that the kernel still has.
    pub fn open(roots: &Roots) -> io::Result<Self> {
        let path = roots.dev_path(Path::new("/dev/kmsg"));
        let file = OpenOptions::new().read(true).custom_flags(NON_BLOCKING).open(path)?;
        Ok(Self { file, rest: Vec::new() })
    }

    /// The log from its present end on.
    pub fn at_end(roots: &Roots) -> io::Result<Self> {
        let mut log = Self::open(roots)?;
        log.file.seek(SeekFrom::End(0))?;
        Ok(log)
    }

    /// The Xid errors written since the last call; none when the log cannot be read.
    pub fn xids(&mut self) -> Vec<Xid> {
        let mut xids = Vec::new();
        let mut buffer = vec![0; LONGEST_RECORD];
        for _ in 0..MOST_READS {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    self.rest.extend_from_slice(&buffer[..length]);
                    self.take_lines(&mut xids);
                }
                // Older messages were overwritten before they were read (EPIPE): the next read is at the oldest left.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
                Err(_) => break,
            }
        }
        xids
    }

    fn take_lines(&mut self, xids: &mut Vec<Xid>) {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return;
        };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        xids.extend(String::from_utf8_lossy(&whole).lines().filter_map(xid));
    }
}

/// The Xid error of a line as `3,1234,567890,-;NVRM: Xid (PCI:0000:18:00): 79, GPU has fallen off the bus.`
fn xid(line: &str) -> Option<Xid> {
    let (_, rest) = line.split_once("NVRM: Xid (PCI:")?;
    let (slot, rest) = rest.split_once("): ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some(Xid {
        // The driver leaves the function out: that of a GPU is 0.
        pci_bus_id: pci::sysfs_bus_id(&format!("{slot}.0")),
        code: rest[..digits].parse().ok()?,
        message: rest[digits..].trim_start_matches([',', ' ']).trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_of_the_driver_are_read() {
        let found =
            xid("3,1234,567890,-;NVRM: Xid (PCI:0000:AF:00): 79, pid=1234, GPU has fallen off the bus.").unwrap();
        assert_eq!((found.pci_bus_id.as_str(), found.code), ("0000:af:00.0", 79));
        assert_eq!(found.message, "pid=1234, GPU has fallen off the bus.");
        assert_eq!(xid("3,1,1,-;NVRM: Xid (PCI:0000:07:00): 13").unwrap().code, 13);
        for other in [
            "3,1,1,-;NVRM: GPU at PCI:0000:07:00",
            "NVRM: Xid (PCI:0000:07:00): x",
            "",
        ] {
            assert_eq!(xid(other), None);
        }
    }

    #[test]
    fn what_is_written_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        assert!(KernelLog::open(&roots).is_err());
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        let path = dir.path().join("dev/kmsg");
        std::fs::write(&path, "3,1,1,-;NVRM: Xid (PCI:0000:07:00): 48, DBE\n").unwrap();
        let mut all = KernelLog::open(&roots).unwrap();
        let mut new = KernelLog::at_end(&roots).unwrap();
        assert_eq!(all.xids().len(), 1);
        assert!(all.xids().is_empty() && new.xids().is_empty());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        write!(file, "6,2,2,-;usb 1-1: new device\n3,3,3,-;NVRM: Xid (PCI:0000").unwrap();
        assert!(new.xids().is_empty());
        writeln!(file, ":07:00): 79, off").unwrap();
        assert_eq!(new.xids().iter().map(|xid| xid.code).collect::<Vec<_>>(), [79]);
        assert_eq!(all.xids().len(), 1);
    }

    #[test]
    fn the_log_of_this_machine_does_not_block() {
        let Ok(mut log) = KernelLog::open(&Roots::host()) else {
            // A container without /dev/kmsg has nothing to block on.
            assert!(!Path::new("/dev/kmsg").exists() || !rustix::process::geteuid().is_root());
            return;
        };
        log.xids();
        assert!(log.xids().is_empty());
    }
}
