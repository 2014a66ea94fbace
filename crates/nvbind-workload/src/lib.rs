//! What does the user want? Workload, Selector, profiles and nvbind.toml.
