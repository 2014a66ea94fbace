//! How is a GPU machine rented at Google Cloud?
//!
//! [`Gcp`] is the [`Provider`](nvbind_cloud::provider::Provider) of it, over Google's own crate for Compute Engine; the program
//! `nvbind-provider-gcp` serves it. Settings come from the environment:
//!
//! | variable | what it says |
//! |---|---|
//! | `GOOGLE_CLOUD_PROJECT` | the project that pays |
//! | `GOOGLE_APPLICATION_CREDENTIALS` and the rest of Google's application default credentials | who asks |
//! | `NVBIND_GCP_ENDPOINT` | another place that speaks Google's APIs; without credentials where it is plain HTTP on loopback |
//!
//! A machine's id is its name, which is unique in its project and zone.

mod call;
mod connect;
mod create;
mod delete;
mod describe;
mod fault;
mod find;
mod firewall;
mod gcp;
mod instance;
mod kind;
mod order;
mod price;
mod quota;
mod rest;
mod settings;
mod sku;

pub use gcp::Gcp;
