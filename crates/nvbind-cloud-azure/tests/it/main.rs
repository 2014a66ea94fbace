//! Azure over the wire, against `emulators/azure.py`, which checks requests against Microsoft's own models.

mod cloud;
mod life;
mod lost;
mod money;
mod program;
mod refusals;
