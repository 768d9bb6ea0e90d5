//! [`Cause`]: why a writer is held up.

/// Why a writer is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// Memtables wait for their flush.
    #[error("memtables wait for their flush")]
    Memory,
    /// Tables wait to be merged.
    #[error("tables wait to be merged")]
    Debt,
    /// An opening would have to replay more than [`replay_limit`](crate::Options::replay_limit).
    #[error("an opening would have to replay too much")]
    Replay,
}
