//! When a write is acknowledged, and who does background work: the same words in every engine.

use std::time::Duration;

/// When a write counts as done, and so what a crash may take back.
///
/// | mode | a write returns when | `kill -9` loses | power loss loses |
/// |---|---|---|---|
/// | `Always` | it is on stable storage | nothing | nothing |
/// | `Batch` | the kernel has it; a sync follows after `writes` writes or after `interval` | nothing | a suffix of fewer than `writes` writes, none older than `interval` |
/// | `Manual` | the kernel has it; the engine's `sync()` makes it durable | nothing | a suffix since the last `sync()` |
///
/// In no mode does acknowledged data stay in user space, and what is lost is always a *suffix* of
/// the commit order: never a hole, never half a batch, never a deleted key back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SyncMode {
    /// Acknowledge after the data is on stable storage.
    #[default]
    Always,
    /// Acknowledge when the kernel has it, and sync every so often.
    Batch {
        /// The write that makes this many unsynced writes performs the sync itself. 1 is `Always`.
        writes: u32,
        /// The oldest unsynced write waits at most this long before a sync starts.
        interval: Duration,
    },
    /// Acknowledge when the kernel has it; only the engine's `sync()` makes it durable.
    Manual,
}

/// Who runs an engine's background work (making the next segment ready, merging, compacting).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Background {
    /// A thread of the engine's own, named after it and joined by its `close`.
    #[default]
    Threads,
    /// Nobody but the caller: the engine queues its jobs and its `run_background` runs one step.
    /// A foreground call that needs a job's result runs that job itself. This is how the simulator
    /// decides when background work happens.
    Inline,
}
