//! The process that answers for a binding, named so that a reused pid or a reboot is never taken for it.

use std::io;

/// One process of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// When the process started, in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub start_time: u64,
    /// Id of the boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
}

impl Owner {
    /// The calling process.
    pub fn current() -> io::Result<Self> {
        let pid = std::process::id();
        let start_time = start_time(pid).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be read")))?;
        Ok(Self {
            pid,
            start_time,
            boot_id: boot_id()?,
        })
    }

    /// Whether the process still runs, given the id of this boot.
    pub fn is_alive(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id && start_time(self.pid) == Some(self.start_time)
    }
}

/// The id of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Start time of a process that runs; `None` when there is none, or only a zombie.
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of a `/proc/<pid>/stat` line, unless field 3 says that the process is dead.
fn parse_stat(line: &str) -> Option<u64> {
    // The command name (field 2) may hold spaces and parentheses: count from its last parenthesis.
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calling_process_is_alive() {
        let owner = Owner::current().unwrap();
        assert!(owner.is_alive(&boot_id().unwrap()));
        assert!(!owner.is_alive("another boot"));
        assert!(
            !Owner {
                start_time: owner.start_time + 1,
                ..owner
            }
            .is_alive(&boot_id().unwrap())
        );
    }

    #[test]
    fn a_zombie_and_a_strange_name_are_told_apart() {
        let tail = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("7 (a) Z (b) S {tail}")), Some(4711));
        assert_eq!(parse_stat(&format!("7 (true) Z {tail}")), None);
        assert_eq!(parse_stat("7 (true"), None);
    }
}
