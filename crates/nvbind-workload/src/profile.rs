//! Named ways to shape a container for a kind of work.

use crate::word::words;
use nvbind_gpu::{Capabilities, Capability};

/// A named way to shape a container for a kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nothing but the devices and the driver.
    #[default]
    Default,
    /// A desktop or a game without special wishes (Bolt's `balanced`).
    Balanced,
    /// A game, latency before everything (Bolt's `ultra`).
    Ultra,
    /// A game.
    Gaming,
    /// Building and debugging GPU programs.
    Development,
    /// Machine learning of any kind (Bolt's `ai`).
    Ai,
    /// Machine learning: training.
    Training,
    /// Machine learning: serving a model.
    Inference,
}

words!(Profile, "profile", {
    Default = "default",
    Balanced = "balanced",
    Ultra = "ultra",
    Gaming = "gaming",
    Development = "development",
    Ai = "ai",
    Training = "training",
    Inference = "inference",
});

impl Profile {
    /// The driver capabilities that this kind of work needs.
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::Default | Self::Training => Capabilities::DEFAULT,
            Self::Ai | Self::Inference => Capabilities::DEFAULT.union(Capabilities::of(Capability::Video)),
            Self::Balanced | Self::Ultra | Self::Gaming | Self::Development => Capabilities::ALL,
        }
    }
}
