//! `--user`: names become numbers by the container's own `/etc/passwd` and `/etc/group`.

use crate::config::User;
use crate::native::Error;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// How much of a file that the image wrote is looked at.
const LIMIT: u64 = 4 << 20;

/// Who `user[:group]` is in a root file system; root when nothing is said.
pub(super) fn find(rootfs: &Path, wanted: Option<&str>) -> Result<User, Error> {
    let wanted = wanted.unwrap_or_default();
    if matches!(wanted, "" | "0" | "root" | "0:0") {
        return Ok(User::default());
    }
    let root = openat(
        CWD,
        rootfs,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(Error::io("open", rootfs))?;
    lookup(wanted, &read(&root, PASSWD), &read(&root, GROUP))
}

/// A file of the container, or nothing. No link of the image leads out of its root, and a device or FIFO is not waited for.
fn read(root: &OwnedFd, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut bytes = Vec::new();
    if let Ok(fd) = openat2(root, path, flags, Mode::empty(), resolve) {
        let file = File::from(fd);
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            let _ = file.take(LIMIT).read_to_end(&mut bytes);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lookup(wanted: &str, passwd: &str, group: &str) -> Result<User, Error> {
    let (user, group_name) = wanted
        .split_once(':')
        .map_or((wanted, None), |(user, group)| (user, Some(group)));
    let entry = passwd_entry(passwd, user);
    let uid = entry.as_ref().map(|entry| entry.uid).or(user.parse().ok());
    let uid = uid.ok_or_else(|| unknown("user", user, PASSWD))?;
    if let Some(name) = group_name {
        let gid = group_id(group, name)
            .or(name.parse().ok())
            .ok_or_else(|| unknown("group", name, GROUP))?;
        return Ok(User {
            uid,
            gid,
            groups: Vec::new(),
        });
    }
    let gid = entry.as_ref().map_or(0, |entry| entry.gid);
    let groups = entry.map_or_else(Vec::new, |entry| groups_of(group, entry.name));
    Ok(User { uid, gid, groups })
}

fn unknown(kind: &'static str, name: &str, file: &'static str) -> Error {
    Error::NoSuchUser {
        kind,
        name: name.to_owned(),
        file,
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// The entry of a name or a number (passwd(5)).
fn passwd_entry<'a>(passwd: &'a str, user: &str) -> Option<PasswdEntry<'a>> {
    let entries = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some(PasswdEntry {
            name,
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    });
    let number: Option<u32> = user.parse().ok();
    entries
        .into_iter()
        .find(|entry| entry.name == user || Some(entry.uid) == number)
}

fn group_id(group: &str, name: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Every group that lists the user as a member (group(5)).
fn groups_of(group: &str, user: &str) -> Vec<u32> {
    let lines = group.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user).then_some(gid)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD_TEXT: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nada:x:1000:1001:Ada:/home/ada:/bin/sh\n";
    const GROUP_TEXT: &str = "root:x:0:\nvideo:x:44:ada,bob\nrender:x:105:ada\nada:x:1001:\n";

    fn look(wanted: &str) -> Result<User, Error> {
        lookup(wanted, PASSWD_TEXT, GROUP_TEXT)
    }

    #[test]
    fn names_and_numbers() {
        let ada = User {
            uid: 1000,
            gid: 1001,
            groups: vec![44, 105],
        };
        assert_eq!(look("ada").unwrap(), ada);
        assert_eq!(look("1000").unwrap(), ada);
        assert_eq!(
            look("ada:video").unwrap(),
            User {
                uid: 1000,
                gid: 44,
                groups: vec![]
            }
        );
        assert_eq!(
            look("7:8").unwrap(),
            User {
                uid: 7,
                gid: 8,
                groups: vec![]
            }
        );
        assert_eq!(
            look("7").unwrap(),
            User {
                uid: 7,
                gid: 0,
                groups: vec![]
            }
        );
    }

    #[test]
    fn who_is_not_there_is_named() {
        let line = look("eve").unwrap_err().to_string();
        assert_eq!(
            line,
            "user 'eve' is not in the container's /etc/passwd: use a number or another name"
        );
        let line = look("ada:wheel").unwrap_err().to_string();
        assert_eq!(
            line,
            "group 'wheel' is not in the container's /etc/group: use a number or another name"
        );
    }

    #[test]
    fn a_link_out_of_the_root_does_not_lead_there() {
        let root = tempfile::Builder::new().prefix("nvbind-engine-").tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("etc/passwd")).unwrap();
        assert!(find(root.path(), Some("daemon")).is_err());
    }
}
