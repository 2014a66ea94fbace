//! How do edits get into an OCI container? The nvbind-runtime shim and the nvbind-hook.
