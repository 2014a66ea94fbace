//! The program that serves Azure to nvbind.

use nvbind_cloud::provider::serve;
use nvbind_cloud_azure::{Azure, Config};
use std::process::ExitCode;

fn main() -> ExitCode {
    let azure = Azure::new(&Config::from_environment());
    match azure.and_then(|mut azure| serve("azure", &mut azure)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nvbind-provider-azure: {error}");
            ExitCode::FAILURE
        }
    }
}
