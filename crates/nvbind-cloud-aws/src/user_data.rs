//! What a machine does by itself when it first starts. It holds no secret.

use nvbind_cloud::provider::{ErrorClass, Order, ProviderError};

/// The login name that AWS's Ubuntu images give the key to.
const IMAGE_USER: &str = "ubuntu";

/// The script, or why there can be none.
pub(crate) fn script(order: &Order) -> Result<String, ProviderError> {
    let mut script =
        String::from("#!/bin/sh\n# Written by nvbind; runs once, as root, when the machine first starts.\nset -eu\n");
    if let Some(seconds) = order.max_run_seconds {
        script += &end_by_itself(seconds);
    }
    if order.user != IMAGE_USER {
        check_user(&order.user)?;
        script += &add_user(&order.user);
    }
    Ok(script)
}

/// A shell takes the name: only what a login name may be made of.
fn check_user(user: &str) -> Result<(), ProviderError> {
    let is_first = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_other = |c: char| is_first(c) || c.is_ascii_digit() || c == '-';
    if user.starts_with(is_first) && user.chars().all(is_other) && user.len() <= 32 {
        return Ok(());
    }
    Err(ProviderError::new(
        ErrorClass::Invalid,
        "BadUser",
        format!("'{user}' is no login name: a-z, 0-9, _ and -, a letter first, at most 32 characters"),
    ))
}

/// Shutting down ends the machine, since its shutdown behaviour is `terminate`. `shutdown` forgets its time when the machine starts
/// anew, so a timer of systemd with the date holds beside it.
fn end_by_itself(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60).max(1);
    format!(
        r#"
# Rented until then at most, even if nobody asks for this machine any more.
end=$(date --utc --date='+{minutes} minutes' '+%Y-%m-%d %H:%M:%S UTC')
cat >/etc/systemd/system/nvbind-end.service <<UNIT
[Unit]
Description=End of the time that this machine is rented for
[Service]
Type=oneshot
ExecStart=/sbin/shutdown -h now
UNIT
cat >/etc/systemd/system/nvbind-end.timer <<UNIT
[Unit]
Description=End of the time that this machine is rented for
[Timer]
OnCalendar=$end
Persistent=true
[Install]
WantedBy=timers.target
UNIT
systemctl daemon-reload
systemctl enable --now nvbind-end.timer
shutdown -h +{minutes}
"#
    )
}

fn add_user(user: &str) -> String {
    format!(
        r#"
user={user}
id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
home=$(getent passwd "$user" | cut -d: -f6)
install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
install -m 600 -o "$user" -g "$user" /home/{IMAGE_USER}/.ssh/authorized_keys "$home/.ssh/authorized_keys"
echo "$user ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/90-nvbind
chmod 440 /etc/sudoers.d/90-nvbind
"#
    )
}
