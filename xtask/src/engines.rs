//! The engines of the workspace before the judge, each in a folder of its own: its adapter, and the
//! subjects of what it can do beyond a key-value store.

mod backups;
mod bitcask;
mod btree;
mod event_store;
mod log_probe;
mod lsm;
mod raft;
mod sstable;
mod wal;

use crashtest::Engine;

/// All of them, in the order in which they are judged.
pub(crate) const ENGINES: &[&dyn Engine] = &[
    &wal::WAL,
    &bitcask::BITCASK,
    &sstable::SSTABLE,
    &lsm::LSM,
    &btree::BTREE,
    &event_store::EVENT_STORE,
    &raft::RAFT,
];
