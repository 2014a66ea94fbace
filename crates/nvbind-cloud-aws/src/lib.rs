//! How does AWS rent out machines? The provider of EC2, by AWS's own SDK.
//!
//! The SDK is large, so this crate is a program of its own, `nvbind-provider-aws`, that `nvbind` talks to over a pipe. Credentials, regions
//! and endpoints come from where every program on the SDK takes them: `AWS_*` variables, `~/.aws`, SSO, the machine's role.

mod answer;
mod bill;
mod client;
mod delete;
mod family;
mod image;
mod launch;
mod list;
mod look;
mod machine;
mod price;
mod provider;
mod quota;
mod shared;
mod user_data;

pub use provider::Aws;
