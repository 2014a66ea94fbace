//! What is different on this kind of machine.

use super::{Finding, Site};
use std::path::Path;

/// Where Windows puts its half of the driver.
const DXCORE: &str = "/usr/lib/wsl/lib/libdxcore.so";

pub(super) fn check(site: &Site) -> Vec<Finding> {
    if !site.is_wsl() {
        return Vec::new();
    }
    vec![match site.roots.driver_path(Path::new(DXCORE)).exists() {
        true => Finding::ok("platform.wsl", "WSL2: the driver of Windows is mounted in /usr/lib/wsl"),
        false => Finding::trouble(
            "platform.wsl",
            format!("/dev/dxg is there and {DXCORE} is not: programs and containers do not find the driver of Windows"),
        )
        .command("in Windows: wsl --update; wsl --shutdown. In a build container: mount /usr/lib/wsl into it"),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::{Fake, levels};
    use super::*;

    #[test]
    fn wsl_without_its_libraries() {
        let fake = Fake::empty();
        assert!(check(&fake.site()).is_empty());
        fake.file("dev/dxg", "");
        assert_eq!(levels(&check(&fake.site()), "platform.wsl"), [Level::Trouble]);
        fake.file("usr/lib/wsl/lib/libdxcore.so", "");
        assert_eq!(levels(&check(&fake.site()), "platform.wsl"), [Level::Ok]);
    }
}
