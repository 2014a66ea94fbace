//! `nvbind-provider-gcp` against an emulated Google Cloud that checks every request by Google's own description.

#![allow(clippy::unwrap_used)]

mod account;
mod again;
mod end;
mod error;
mod fixture;
mod life;
mod price;
mod quota;
