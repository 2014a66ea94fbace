//! The user's own `ssh`, with one connection that all commands share.

use super::error::last_words;
use super::{HostError, Target};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, geteuid, pidfd_open};
use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What every call of `ssh` has: never ask, see a dead connection within 9 s, carry nothing but the command.
const OPTIONS: [&str; 13] = [
    "-T",
    "-oBatchMode=yes",
    "-oConnectTimeout=10",
    "-oConnectionAttempts=1",
    "-oServerAliveInterval=3",
    "-oServerAliveCountMax=3",
    "-oClearAllForwardings=yes",
    "-oForwardAgent=no",
    "-oForwardX11=no",
    "-oPermitLocalCommand=no",
    "-oRemoteCommand=none",
    "-oUpdateHostKeys=no",
    "-oLogLevel=ERROR",
];
/// Name resolution, connection, key exchange and login.
const LOGIN: Duration = Duration::from_secs(25);
/// `ssh` ends with this when the fault is its own.
const SSH_FAILED: i32 = 255;
/// Of what a command prints to standard error so much is kept.
const KEPT: usize = 64 << 10;

/// A connection to a host. It is closed when this is dropped, and when this process dies.
#[derive(Debug)]
pub struct Ssh {
    target: Target,
    socket: PathBuf,
    master: Child,
}

/// What a command on a host did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: String,
}

impl Output {
    /// Its standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Ssh {
    /// Logs in.
    pub fn connect(target: Target) -> Result<Self, HostError> {
        let socket = new_socket()?;
        let mut command = Command::new("ssh");
        command.args(OPTIONS).args(target.options());
        command.args(["-M", "-oControlPersist=no", "-S"]).arg(&socket);
        // The command there lives as long as the pipe from here, and the connection as long as the command.
        command.arg("--").arg(target.destination()).arg("exec cat >/dev/null");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut master = command.spawn().map_err(HostError::NoSsh)?;
        let printed = collect(master.stderr.take());
        let deadline = Instant::now() + LOGIN;
        let outcome = loop {
            if socket.exists() {
                break Ok(());
            }
            if let Ok(Some(_)) = master.try_wait() {
                break Err(printed.whole());
            }
            if Instant::now() > deadline {
                break Err("the login timed out".to_owned());
            }
            thread::sleep(Duration::from_millis(3));
        };
        let mut ssh = Self { target, socket, master };
        match outcome {
            Ok(()) => Ok(ssh),
            Err(printed) => {
                ssh.close();
                Err(HostError::of_login(ssh.host(), &printed))
            }
        }
    }

    /// The host, as `ssh` calls it.
    pub fn host(&self) -> &str {
        self.target.destination()
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the connection still stands, as far as this end knows.
    pub fn is_connected(&mut self) -> bool {
        matches!(self.master.try_wait(), Ok(None))
    }

    /// Runs a command to its end with `input` on its standard input.
    pub fn run(&self, argv: &[&str], input: &[u8], limit: Duration) -> Result<Output, HostError> {
        self.run_with(argv, |mut stdin| stdin.write_all(input), limit)
    }

    /// Runs a command to its end; `feed` writes its standard input.
    pub fn run_with(
        &self,
        argv: &[&str],
        feed: impl FnOnce(ChildStdin) -> io::Result<()> + Send,
        limit: Duration,
    ) -> Result<Output, HostError> {
        let mut child = self.start(argv, Stdio::piped())?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let printed = collect(child.stderr.take());
        let (code, stdout) = thread::scope(|scope| {
            scope.spawn(|| stdin.map(feed));
            let reader = scope.spawn(|| read_all(stdout));
            let code = wait(&mut child, limit);
            (code, reader.join().unwrap_or_default())
        });
        let output = |code| Output {
            code,
            stdout,
            stderr: printed.whole(),
        };
        match code {
            None => Err(HostError::Silent {
                host: self.host().to_owned(),
                seconds: limit.as_secs(),
            }),
            Some(SSH_FAILED) => Err(self.lost(&printed.whole())),
            Some(code) => Ok(output(code)),
        }
    }

    /// Runs a command to its end; a failure of the command is an error, too. `what` names it to people.
    pub fn demand(&self, what: &str, argv: &[&str], input: &[u8], limit: Duration) -> Result<Output, HostError> {
        let output = self.run(argv, input, limit)?;
        match output.code {
            0 => Ok(output),
            code => Err(HostError::Failed {
                host: self.host().to_owned(),
                what: what.to_owned(),
                code,
                why: last_words(&output.stderr),
            }),
        }
    }

    /// Starts a command whose standard output is read while it runs; it has no standard input.
    pub(super) fn stream(&self, argv: &[&str]) -> Result<Child, HostError> {
        self.start(argv, Stdio::null())
    }

    fn start(&self, argv: &[&str], stdin: Stdio) -> Result<Child, HostError> {
        let line = shlex::try_join(argv.iter().copied()).map_err(|error| HostError::Failed {
            host: self.host().to_owned(),
            what: "a command".to_owned(),
            code: 2,
            why: error.to_string(),
        })?;
        let mut command = Command::new("ssh");
        command.args(OPTIONS).args(self.target.options());
        command.args(["-oControlMaster=no", "-S"]).arg(&self.socket);
        command.arg("--").arg(self.host()).arg(line);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(HostError::NoSsh)
    }

    pub(super) fn lost(&self, printed: &str) -> HostError {
        match HostError::of_login(self.host(), printed) {
            HostError::Unreachable { host, why } => HostError::Lost { host, why },
            error => error,
        }
    }

    fn close(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.close();
    }
}

/// The end of what a pipe carries, gathered by a thread.
#[derive(Debug, Clone)]
pub(super) struct Printed {
    text: Arc<Mutex<Vec<u8>>>,
    done: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

impl Printed {
    /// All of it, once the pipe is closed.
    pub(super) fn whole(&self) -> String {
        if let Some(thread) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        String::from_utf8_lossy(&self.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

pub(super) fn collect(pipe: Option<impl Read + Send + 'static>) -> Printed {
    let text = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&text);
    let thread = thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..length]);
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
        }
    });
    Printed {
        text,
        done: Arc::new(Mutex::new(Some(thread))),
    }
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before an error is told all the same.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

/// Waits for a child; one that takes longer than `limit` is killed, and `None` is returned.
fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let descriptor = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let limit = Timespec::try_from(limit).ok();
    let has_ended = descriptor.is_none_or(|descriptor| {
        let mut wanted = [PollFd::new(&descriptor, PollFlags::IN)];
        !matches!(poll(&mut wanted, limit.as_ref()), Ok(0))
    });
    if !has_ended {
        let _ = child.kill();
        let _ = child.wait();
        return None;
    }
    child.wait().ok().map(|status| status.code().unwrap_or(SSH_FAILED))
}

/// A name for a socket in a folder of this user's own. The kernel allows 108 bytes, of which `ssh` wants some for itself.
fn new_socket() -> Result<PathBuf, HostError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = socket_folder()?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{}-{number}", std::process::id()));
    // A process of the same number may have been killed here.
    let _ = fs::remove_file(&path);
    Ok(path)
}

fn socket_folder() -> Result<PathBuf, HostError> {
    let user = geteuid().as_raw();
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let base = base.filter(|path| path.is_absolute() && path.as_os_str().len() < 60 && path.is_dir());
    let folder = base.unwrap_or_else(|| PathBuf::from("/tmp")).join(format!("nvbind-ssh-{user}"));
    let made = DirBuilder::new().mode(0o700).create(&folder);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot_use(&folder, error)),
        _ => is_own(&folder, user).map(|()| folder),
    }
}

/// Anybody can make a folder in /tmp before we do.
fn is_own(folder: &Path, user: u32) -> Result<(), HostError> {
    let found = fs::symlink_metadata(folder).map_err(|error| cannot_use(folder, error))?;
    match found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(cannot_use(folder, io::Error::other("it is another user's or open to others: remove it"))),
    }
}

fn cannot_use(folder: &Path, source: io::Error) -> HostError {
    HostError::Local {
        what: format!("cannot use '{}'", folder.display()),
        source,
    }
}
