//! `nvbind doctor`: what is wrong on this host, and what to do about it.

use crate::cli::{Format, RootArgs};
use crate::context::Context;
use crate::doctor::{Finding, Level, Mender, Report, Site, examine};
use crate::failure::Failure;
use crate::output;
use clap::{Args, ValueHint};
use nvbind_config::{Config, Roots};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended safely: missing device nodes, links by number, specs that are out of date
    #[arg(long)]
    fix: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Folder under which the host's /etc, /run and /proc lie, as in a container that has them mounted
    #[arg(long, value_name = "DIR", default_value = "/", value_hint = ValueHint::DirPath)]
    host_root: PathBuf,
    #[command(flatten)]
    roots: RootArgs,
}

/// A report as programs read it.
#[derive(Serialize)]
struct Printed<'report> {
    #[serde(flatten)]
    report: &'report Report,
    exit_code: u8,
}

pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<u8, Failure> {
    let config = context.config_with(&args.roots)?;
    let roots = context.roots(&config, &args.roots)?;
    let mut report = look(args, &config, &roots)?;
    if args.fix {
        let mended = mend(&report, args, &config, &roots)?;
        if !mended.is_empty() {
            report = look(args, &config, &roots)?;
            report.mended = mended;
        }
    }
    let exit_code = report.exit_code();
    let printed = Printed {
        report: &report,
        exit_code,
    };
    output::data(args.format, &printed, || text(&report))?;
    Ok(exit_code)
}

fn look(args: &DoctorArgs, config: &Config, roots: &Roots) -> Result<Report, Failure> {
    Ok(examine(&Site::gather(config, roots.clone(), &args.host_root)?))
}

/// Does what is safe. What fails is told and stays in the next report.
fn mend(report: &Report, args: &DoctorArgs, config: &Config, roots: &Roots) -> Result<Vec<String>, Failure> {
    let mut mended = Vec::new();
    for remedy in report.remedies() {
        // Each looks anew: a spec is written after the nodes that it names were made.
        let site = Site::gather(config, roots.clone(), &args.host_root)?;
        match Mender::new(&site, config).mend(&remedy) {
            Ok(done) => mended.push(done),
            Err(failure) => output::warn(&failure.message),
        }
    }
    Ok(mended)
}

fn text(report: &Report) -> String {
    let mut text: String = report.findings.iter().map(lines).collect();
    for mended in &report.mended {
        text.push_str(&format!("mended   {mended}\n"));
    }
    text.push_str(&format!("\n{}\n", verdict(report)));
    text
}

fn lines(finding: &Finding) -> String {
    let word = match finding.level {
        Level::Ok => "ok",
        Level::Advice => "advice",
        Level::Trouble => "TROUBLE",
        Level::Unable => "UNABLE",
    };
    let message = finding.message.lines().collect::<Vec<_>>().join(" ");
    let mut text = format!("{word:<8} {}: {message}\n", finding.check);
    if let Some(command) = &finding.command {
        text.push_str(&format!("         -> {command}\n"));
    }
    text
}

fn verdict(report: &Report) -> String {
    let (troubles, advice) = (report.count(Level::Trouble), report.count(Level::Advice));
    match report.verdict {
        Level::Ok => "Well.".to_owned(),
        Level::Advice => format!("Well, with {advice} piece(s) of advice."),
        Level::Trouble => format!("{troubles} trouble(s) found."),
        Level::Unable => "GPUs cannot be used on this system as it is.".to_owned(),
    }
}
