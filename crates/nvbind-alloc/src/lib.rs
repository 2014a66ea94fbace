//! Who has which GPU? The durable ledger of bindings.
