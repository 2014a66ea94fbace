//! Specs of whole hosts, made of plain structs and a folder of device nodes.

// Clippy takes the helpers of an integration test for product code.
#![allow(clippy::unwrap_used)]

mod fixture;
mod generate;
mod options;
mod outside;
mod property;
