//! A host that a deployment runs on.

use super::error::last_words;
use super::facts::{BASICS, Basics, Login, facts};
use super::kit::Part;
use super::ssh::collect;
use super::{Follow, HostError, HostFacts, Kit, Output, Ssh, Target};
use crate::agent::{Plan, Report, StopOrder};
use std::io::{self, Write};
use std::process::ChildStdin;
use std::time::{Duration, Instant};

/// For what a host answers at once.
const QUICK: Duration = Duration::from_secs(30);
/// For copying the programs.
const COPY: Duration = Duration::from_secs(600);
/// `nvbind` ends with this where there is no such thing.
const NOT_FOUND: i32 = 4;

/// Prints the checksums of the programs where they may lie: in the folder of this build, or where an image has them on the path.
const SUMS: &str = r#"
base=$1 folder=$2; shift 2
look() { dir=$1; shift; (cd "$dir" 2>/dev/null && sha256sum -- "$@" 2>/dev/null) | while read -r sum name; do echo "sum $sum ${name#\*} $dir"; done; }
look "$base/$folder" "$@"
if found=$(command -v nvbind); then look "$(dirname "$(readlink -f "$found")")" "$@"; fi
mkdir -p "$base" && echo "free $(df -Pk "$base" | { read -r _; read -r _ _ _ free _; echo "$free"; })"
"#;

/// Takes a tar stream with the programs and their checksums, and puts them in place as a whole.
const UNPACK: &str = r#"
set -eu
umask 022
base=$1 folder=$2
part=$(mktemp -d "$base/.part-XXXXXX")
trap 'rm -rf "$part" "$part.old"' EXIT
tar -xf - -C "$part" --no-same-owner
(cd "$part" && sha256sum -c --quiet SHA256SUMS >&2)
chmod 755 "$part"
if [ -e "$base/$folder" ]; then mv -T "$base/$folder" "$part.old"; fi
mv -T "$part" "$base/$folder"
"#;

/// Runs the `nvbind` that an agent was started with.
const AGENT: &str = r#"
dir=$1; shift
[ -f "$dir/program" ] || exit 4
exec "$(cat "$dir/program")" cloud agent "$@" --dir "$dir"
"#;

/// A host that a deployment runs on.
#[derive(Debug)]
pub struct Node {
    ssh: Ssh,
    basics: Basics,
    /// Path of `nvbind` there, once it is prepared.
    program: Option<String>,
}

/// A host that is ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Whether the programs were there already.
    pub was_there: bool,
    /// What it took.
    pub steps: Vec<Step>,
    /// What the host is.
    pub facts: HostFacts,
}

/// A step and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Seconds.
    pub seconds: f64,
}

impl Node {
    /// Logs in and looks who we are there.
    pub fn connect(target: Target) -> Result<Self, HostError> {
        let ssh = Ssh::connect(target)?;
        let output = ssh.demand("a look around", &["sh", "-c", BASICS], b"", QUICK)?;
        let basics = Basics::parse(ssh.host(), &output.text())?;
        Ok(Self {
            ssh,
            basics,
            program: None,
        })
    }

    /// The host, as `ssh` calls it.
    pub fn host(&self) -> &str {
        self.ssh.host()
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        self.ssh.target()
    }

    /// The connection.
    pub fn ssh(&mut self) -> &mut Ssh {
        &mut self.ssh
    }

    /// Copies the programs there unless they are there, and looks whether the host will do: `disk_mib` is the free disk that is needed.
    pub fn prepare(&mut self, kit: &Kit, disk_mib: u64) -> Result<Prepared, HostError> {
        let mut steps = Steps::new();
        self.check_arch(kit)?;
        let (base, _) = self.basics.folders();
        let parts = kit.parts(self.basics.is_simulated);
        let (found, disk_free_mib) = self.look(&base, &kit.folder(), &parts)?;
        if disk_free_mib < disk_mib {
            return Err(self.broken(format!("{disk_free_mib} MiB of disk are free, {disk_mib} are needed")));
        }
        steps.done("look");
        let was_there = found.is_some();
        let folder = match found {
            Some(folder) => folder,
            None => {
                self.copy(&base, &kit.folder(), &parts)?;
                steps.done("copy");
                format!("{base}/{}", kit.folder())
            }
        };
        let program = format!("{folder}/nvbind");
        let info = self.call(&[&program, "info", "--format", "json"], b"", QUICK)?;
        if info.code != 0 {
            let why = last_words(&info.stderr);
            return Err(self.broken(why.trim_start_matches("nvbind: ").to_owned()));
        }
        let facts = facts(self.host(), &self.basics, disk_free_mib, &info.text())?;
        steps.done("check");
        self.program = Some(program);
        Ok(Prepared {
            was_there,
            steps: steps.list,
            facts,
        })
    }

    fn check_arch(&self, kit: &Kit) -> Result<(), HostError> {
        match self.basics.arch == kit.arch {
            true => Ok(()),
            false => Err(self.broken(format!(
                "it is {}, this nvbind is for {}: use an nvbind built for it",
                self.basics.arch, kit.arch
            ))),
        }
    }

    /// The folder that has these very programs, if there is one, and the free disk in MiB.
    fn look(&self, base: &str, folder: &str, parts: &[&Part]) -> Result<(Option<String>, u64), HostError> {
        let mut argv = vec!["sh", "-c", SUMS, "sh", base, folder];
        argv.extend(parts.iter().map(|part| part.name));
        let text = self.demand("a look for nvbind", &argv, b"")?.text();
        let lines = || text.lines().filter_map(|line| line.strip_prefix("sum "));
        let has = |dir: &str, part: &Part| lines().any(|line| line == format!("{} {} {dir}", part.checksum, part.name));
        let mut dirs = lines().filter_map(|line| line.splitn(3, ' ').nth(2));
        let found = dirs.find(|dir| parts.iter().all(|part| has(dir, part)));
        let free = text.lines().find_map(|line| line.strip_prefix("free ")?.trim().parse::<u64>().ok());
        let free = free.ok_or_else(|| self.answer("df", "no number"))?;
        Ok((found.map(str::to_owned), free / 1024))
    }

    fn copy(&self, base: &str, folder: &str, parts: &[&Part]) -> Result<(), HostError> {
        let argv = self.argv(&["sh", "-c", UNPACK, "sh", base, folder]);
        let feed = |stdin: ChildStdin| pack(stdin, parts);
        let output = self.ssh.run_with(&argv, feed, COPY)?;
        match output.code {
            0 => Ok(()),
            code => Err(self.failed("copying nvbind", code, &output)),
        }
    }

    /// Starts the agent of a plan; the same plan again starts nothing. It needs a prepared host.
    pub fn start(&self, plan: &Plan) -> Result<Report, HostError> {
        let program = self.program.as_deref().ok_or_else(|| self.broken("it is not prepared".to_owned()))?;
        let text = serde_json::to_vec(plan).map_err(|error| self.answer("the plan", &error.to_string()))?;
        let dir = self.run_folder(&plan.token);
        let output = self.demand("agent start", &[program, "cloud", "agent", "start", "--dir", &dir], &text)?;
        self.report(&output)
    }

    /// The reports of the agent of an order. No report for as long as `silence` is an error.
    pub fn follow(&self, token: &str, silence: Duration) -> Result<Follow, HostError> {
        let dir = self.run_folder(token);
        let argv = self.argv(&["sh", "-c", AGENT, "sh", &dir, "follow"]);
        Follow::start(&self.ssh, &argv, silence)
    }

    /// Copies what the workload wrote: the last `tail` lines or all that is kept; with `follow` also what comes, until it has ended.
    pub fn logs(
        &self,
        token: &str,
        tail: Option<usize>,
        follow: bool,
        output: &mut dyn Write,
    ) -> Result<(), HostError> {
        let (dir, lines) = (self.run_folder(token), tail.map(|lines| lines.to_string()));
        let mut argv = vec!["sh", "-c", AGENT, "sh", &dir, "logs"];
        if let Some(lines) = &lines {
            argv.extend(["--tail", lines]);
        }
        if follow {
            argv.push("--follow");
        }
        let mut child = self.ssh.stream(&self.argv(&argv))?;
        let printed = collect(child.stderr.take());
        let copied = child.stdout.take().map_or(Ok(0), |mut stdout| io::copy(&mut stdout, output));
        if copied.is_err() {
            // Whoever read it has gone away.
            let _ = child.kill();
        }
        let code = child.wait().ok().and_then(|status| status.code());
        match (copied, code) {
            (Err(source), _) => Err(HostError::Local {
                what: "cannot write the log".to_owned(),
                source,
            }),
            (Ok(_), Some(0)) => Ok(()),
            (Ok(_), Some(255) | None) => Err(self.ssh.lost(&printed.whole())),
            (Ok(_), Some(code)) => Err(HostError::Failed {
                host: self.host().to_owned(),
                what: "agent logs".to_owned(),
                code,
                why: last_words(&printed.whole()),
            }),
        }
    }

    /// Ends the workload of an order, also where its agent is dead; `None` where there is none. Returns when it has ended.
    pub fn stop(&self, token: &str, order: StopOrder) -> Result<Option<Report>, HostError> {
        let (dir, grace) = (self.run_folder(token), order.grace_seconds.to_string());
        let mut argv = vec!["sh", "-c", AGENT, "sh", &dir, "stop", "--grace", &grace];
        if order.checkpoint {
            argv.push("--checkpoint");
        }
        let limit = QUICK + Duration::from_secs(order.grace_seconds + if order.checkpoint { 300 } else { 0 });
        let output = self.call(&argv, b"", limit)?;
        match output.code {
            0 => self.report(&output).map(Some),
            NOT_FOUND => Ok(None),
            code => Err(self.failed("agent stop", code, &output)),
        }
    }

    /// Removes what the agent of an order has left behind: its log, its state, its plan.
    pub fn clean(&self, token: &str) -> Result<(), HostError> {
        let dir = self.run_folder(token);
        let output = self.call(&["sh", "-c", AGENT, "sh", &dir, "clean"], b"", QUICK)?;
        match output.code {
            0 | NOT_FOUND => Ok(()),
            code => Err(self.failed("agent clean", code, &output)),
        }
    }

    /// The folder of the state of nvbind's deployments there.
    pub(super) fn state_folder(&self) -> String {
        self.basics.folders().1
    }

    fn run_folder(&self, token: &str) -> String {
        // A token is of letters and digits; anything else must not lead elsewhere.
        let name: String = token.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        format!("{}/runs/{name}", self.state_folder())
    }

    /// Runs a command as root where we may, to its end; its failure is an error.
    pub(super) fn demand(&self, what: &str, argv: &[&str], input: &[u8]) -> Result<Output, HostError> {
        self.ssh.demand(what, &self.argv(argv), input, QUICK)
    }

    fn call(&self, argv: &[&str], input: &[u8], limit: Duration) -> Result<Output, HostError> {
        self.ssh.run(&self.argv(argv), input, limit)
    }

    fn argv<'a>(&self, argv: &[&'a str]) -> Vec<&'a str> {
        let sudo: &[&str] = match self.basics.login {
            Login::Sudo => &["sudo", "-n", "--"],
            Login::Root | Login::User => &[],
        };
        [sudo, argv].concat()
    }

    fn report(&self, output: &Output) -> Result<Report, HostError> {
        serde_json::from_slice(&output.stdout).map_err(|error| self.answer("the agent", &error.to_string()))
    }

    fn broken(&self, why: String) -> HostError {
        HostError::Broken {
            host: self.host().to_owned(),
            why,
        }
    }

    fn answer(&self, what: &str, why: &str) -> HostError {
        HostError::Answer {
            host: self.host().to_owned(),
            what: what.to_owned(),
            why: why.to_owned(),
        }
    }

    fn failed(&self, what: &str, code: i32, output: &Output) -> HostError {
        HostError::Failed {
            host: self.host().to_owned(),
            what: what.to_owned(),
            code,
            why: last_words(&output.stderr),
        }
    }
}

/// Writes the programs and their checksums as a tar stream.
fn pack(stdin: ChildStdin, parts: &[&Part]) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(1 << 20, stdin));
    let mut sums = String::new();
    for part in parts {
        let mut file = std::fs::File::open(&part.path)?;
        archive.append_data(&mut header(file.metadata()?.len(), 0o755), part.name, &mut file)?;
        sums.push_str(&format!("{}  {}\n", part.checksum, part.name));
    }
    archive.append_data(&mut header(sums.len() as u64, 0o644), "SHA256SUMS", sums.as_bytes())?;
    archive.into_inner()?.flush()
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header
}

/// The clock of the steps.
struct Steps {
    list: Vec<Step>,
    since: Instant,
}

impl Steps {
    fn new() -> Self {
        Self {
            list: Vec::new(),
            since: Instant::now(),
        }
    }

    fn done(&mut self, name: &'static str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.list.push(Step { name, seconds });
        self.since = Instant::now();
    }
}
