//! The trait over a pipe: a line of JSON for each call, a line for each answer.

use super::{
    Account, BillLine, ErrorClass, LivePrice, Machine, MachineRef, Order, PriceQuery, Provider, ProviderError, Quota,
    Resource,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio, exit};
use std::sync::mpsc::channel;
use std::thread;

/// Version of the protocol; the first line that a provider's program writes tells its own.
pub const PROTOCOL: u32 = 1;

/// A call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
enum Call {
    Check,
    Prices { query: PriceQuery },
    Quotas { region: String },
    Create { order: Box<Order> },
    Describe { machine: MachineRef },
    List { owner: String, regions: Vec<String> },
    Delete { resource: Box<Resource> },
    Bill { owner: String, from: u64, to: u64 },
}

/// The first line of a provider's program.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    protocol: u32,
    provider: String,
}

/// Answers calls on standard input. For the programs `nvbind-provider-<name>`.
///
/// The end of its input ends the program at once, also in the middle of a call: whoever asked is gone, and what it did not live to
/// write down must not happen later.
pub fn serve(name: &str, provider: &mut dyn Provider) -> io::Result<()> {
    let (to, calls) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                break;
            }
        }
        exit(0);
    });
    let mut output = io::stdout().lock();
    let hello = Hello {
        protocol: PROTOCOL,
        provider: name.to_owned(),
    };
    writeln!(output, "{}", serde_json::to_string(&hello)?)?;
    output.flush()?;
    for line in calls {
        let answer = match serde_json::from_str(&line) {
            Ok(call) => answer(provider, call)?,
            Err(error) => text::<()>(&Err(protocol_error(&error.to_string())))?,
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn answer(provider: &mut dyn Provider, call: Call) -> io::Result<String> {
    match call {
        Call::Check => text(&provider.check()),
        Call::Prices { query } => text(&provider.prices(&query)),
        Call::Quotas { region } => text(&provider.quotas(&region)),
        Call::Create { order } => text(&provider.create(&order)),
        Call::Describe { machine } => text(&provider.describe(&machine)),
        Call::List { owner, regions } => text(&provider.list(&owner, &regions)),
        Call::Delete { resource } => text(&provider.delete(&resource)),
        Call::Bill { owner, from, to } => text(&provider.bill(&owner, from, to)),
    }
}

fn text<T: Serialize>(result: &Result<T, ProviderError>) -> io::Result<String> {
    Ok(serde_json::to_string(result)?)
}

/// A provider that is a program of its own.
#[derive(Debug)]
pub struct Remote {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    program: String,
}

impl Remote {
    /// Starts a provider's program. It ends when this is dropped, and when this process dies.
    pub fn start(mut command: Command) -> io::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut output = BufReader::new(output.ok_or_else(|| io::Error::other("no pipe"))?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let hello: Hello = serde_json::from_str(&line).map_err(|_| {
            io::Error::other(format!(
                "'{program}' is no provider of nvbind: it said '{}'",
                line.trim()
            ))
        })?;
        if hello.protocol != PROTOCOL {
            return Err(io::Error::other(format!(
                "'{program}' speaks version {} of the protocol, this nvbind {PROTOCOL}: install both from one release",
                hello.protocol
            )));
        }
        Ok(Self {
            child,
            input,
            output,
            program,
        })
    }

    fn call<T: DeserializeOwned>(&mut self, call: &Call) -> Result<T, ProviderError> {
        let line = self.exchange(call).map_err(|error| self.gone(&error.to_string()))?;
        match serde_json::from_str::<Result<T, ProviderError>>(&line) {
            Ok(answer) => answer,
            Err(error) => Err(protocol_error(&error.to_string())),
        }
    }

    fn exchange(&mut self, call: &Call) -> io::Result<String> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{}", serde_json::to_string(call)?)?;
        input.flush()?;
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    /// The program died: whether the call had its effect is not known.
    fn gone(&self, why: &str) -> ProviderError {
        ProviderError {
            is_ambiguous: true,
            ..ProviderError::new(
                ErrorClass::Transient,
                "ProviderGone",
                format!("'{}' ended in the middle of a call: {why}", self.program),
            )
        }
    }
}

fn protocol_error(why: &str) -> ProviderError {
    ProviderError {
        is_ambiguous: true,
        ..ProviderError::new(ErrorClass::Unknown, "Protocol", why)
    }
}

/// Closing its input tells the program to end.
impl Drop for Remote {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Provider for Remote {
    fn check(&mut self) -> Result<Account, ProviderError> {
        self.call(&Call::Check)
    }

    fn prices(&mut self, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
        self.call(&Call::Prices { query: query.clone() })
    }

    fn quotas(&mut self, region: &str) -> Result<Vec<Quota>, ProviderError> {
        self.call(&Call::Quotas {
            region: region.to_owned(),
        })
    }

    fn create(&mut self, order: &Order) -> Result<Machine, ProviderError> {
        self.call(&Call::Create {
            order: Box::new(order.clone()),
        })
    }

    fn describe(&mut self, machine: &MachineRef) -> Result<Option<Machine>, ProviderError> {
        self.call(&Call::Describe {
            machine: machine.clone(),
        })
    }

    fn list(&mut self, owner: &str, regions: &[String]) -> Result<Vec<Resource>, ProviderError> {
        self.call(&Call::List {
            owner: owner.to_owned(),
            regions: regions.to_vec(),
        })
    }

    fn delete(&mut self, resource: &Resource) -> Result<(), ProviderError> {
        self.call(&Call::Delete {
            resource: Box::new(resource.clone()),
        })
    }

    fn bill(&mut self, owner: &str, from: u64, to: u64) -> Result<Vec<BillLine>, ProviderError> {
        self.call(&Call::Bill {
            owner: owner.to_owned(),
            from,
            to,
        })
    }
}
