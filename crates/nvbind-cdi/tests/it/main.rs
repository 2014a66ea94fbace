//! Specs of whole hosts, made of plain structs and a folder of device nodes.

mod fixture;
mod generate;
mod options;
mod outside;
mod property;
