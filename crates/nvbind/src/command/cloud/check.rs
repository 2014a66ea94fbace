//! `nvbind cloud check`: whether the accounts and hosts work.

use super::tools;
use crate::cli::Format;
use crate::context::Context;
use crate::failure::{FAILED, Failure, PERMISSION};
use crate::output;
use crate::table::table;
use clap::Args;
use nvbind_cloud::catalog::ProviderName;
use nvbind_cloud::provider::{Account, ErrorClass, ProviderError};
use nvbind_cloud::state::State;
use serde::Serialize;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// This provider [default: those that are used]
    #[arg(value_name = "PROVIDER")]
    provider: Vec<ProviderName>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What a provider said.
#[derive(Serialize)]
struct Checked {
    provider: ProviderName,
    account: Option<Account>,
    error: Option<ProviderError>,
}

pub(crate) fn run(args: &CheckArgs, context: &Context) -> Result<u8, Failure> {
    let names = match args.provider.is_empty() {
        true => tools::used(context)?,
        false => args.provider.clone(),
    };
    if names.is_empty() {
        return Err(Failure::usage(tools::NOTHING_USED));
    }
    let providers = tools::providers(context)?;
    let state = State::open(&context.config()?.state_dir())?;
    let mut checked = Vec::new();
    for name in names {
        let answer = providers.call(name, |provider| provider.check());
        if answer.is_ok() {
            tools::lift_blocks(&state, name)?;
        }
        checked.push(Checked {
            provider: name,
            account: answer.as_ref().ok().cloned(),
            error: answer.err(),
        });
    }
    output::data(args.format, &checked, || {
        table(
            &["PROVIDER", "ACCOUNT", "AS", "TROUBLE"],
            &checked.iter().map(row).collect::<Vec<_>>(),
        )
    })?;
    Ok(code(&checked))
}

/// An account that is refused goes before one that nobody answers for.
fn code(checked: &[Checked]) -> u8 {
    let mut classes = checked
        .iter()
        .filter_map(|checked| checked.error.as_ref())
        .map(|error| error.class);
    let is_refusal = |class| matches!(class, ErrorClass::Credentials | ErrorClass::Permission);
    match (classes.clone().any(is_refusal), classes.next()) {
        (true, _) => PERMISSION,
        (false, Some(_)) => FAILED,
        (false, None) => 0,
    }
}

fn row(checked: &Checked) -> Vec<String> {
    let account = checked.account.as_ref();
    vec![
        checked.provider.to_string(),
        account.map(|account| account.id.clone()).unwrap_or_default(),
        account.map(|account| account.identity.clone()).unwrap_or_default(),
        checked.error.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}
