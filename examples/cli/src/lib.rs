//! What the `keyface` command shares with other tools: statistics of verification scores and pair lists.

pub mod pairs;
pub mod stats;
