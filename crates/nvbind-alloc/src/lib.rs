//! Who has which GPU? The durable ledger of bindings.
//!
//! A [`Binding`] is written before the first effect of a run and removed after the last one is undone, so whatever a
//! killed nvbind leaves behind has a row that names it and an owner that is gone ([`Ledger::dead`]).

mod binding;
mod error;
mod ledger;
mod owner;
mod schema;

pub use binding::{Binding, Change, Status};
pub use error::{Error, Holder};
pub use ledger::{FILE_NAME, Ledger};
pub use nvbind_workload::Isolation;
pub use owner::{Owner, boot_id};
