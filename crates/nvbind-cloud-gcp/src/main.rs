//! `nvbind-provider-gcp`: answers nvbind's calls about Google Cloud on standard input and output.

use nvbind_cloud::provider::serve;
use nvbind_cloud_gcp::Gcp;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Gcp::from_environment().and_then(|mut gcp| serve("gcp", &mut gcp)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nvbind-provider-gcp: {error}");
            ExitCode::FAILURE
        }
    }
}
