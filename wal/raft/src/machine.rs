//! [`StateMachine`]: what a Raft group has agreed on, applied to an [`lsm`] store (feature `state-machine`).
//!
//! ```
//! use durable_raft::LogPoint;
//! use durable_raft::machine::Options;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("machine");
//! let machine = Options::new().open(&path)?;
//! let point = LogPoint { index: 7, term: 2, leader: b"node 1".to_vec() };
//! let before = machine.apply(&point, None, |changes| {
//!     let before = changes.get(b"apple")?; // what all entries before this one have done
//!     changes.put(b"apple", b"3");
//!     Ok(before.is_some())
//! })?;
//! assert!(!before);
//! assert_eq!(machine.applied()?.last, Some(point)); // in the same batch as the apple
//!
//! let snapshot = machine.build_snapshot()?; // on stable storage: now the log may be purged up to it
//! assert_eq!(snapshot.state, machine.applied()?);
//! assert_eq!(machine.read()?.get(b"apple")?.as_deref(), Some(&b"3"[..]));
//! machine.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - An entry is applied whole or not at all, and what was applied last is in the same batch. So after a crash the
//!   store is the one behind some entry, and says behind which: the log gives the entries that follow.
//! - Applying syncs nothing: the log has the entries, and a crash takes back some of the last ones applied. A
//!   snapshot is on stable storage when [`build_snapshot`](StateMachine::build_snapshot) returns, and so is one
//!   that was installed. Who purges the log up to a snapshot at most, and after that call, has at every moment
//!   either the entries or what they did.
//! - What a snapshot says of itself was read from the snapshot.
//! - A snapshot that is installed is received, checked, and made durable beside the store; the replacement of one
//!   small file is the only switch. A crash, a full disk or a damaged byte before it leaves the store as it was.
//! - Readers that were there before an installation go on reading what they saw.
//! - Opening removes what a crash has left, and installs the snapshot if the store is older, or is missing: a
//!   damaged store may be moved away, if there is a snapshot, and comes back.
//!
//! # Snapshots
//!
//! A snapshot is a backup of the store ([`lsm::Lsm::backup`]): its tables get one more name, so that it takes
//! hardly any time, and no space until tables are merged. It is proven by the judge of `lsm`, which also checks all
//! bytes of it where it is installed. A link is no second copy: a damaged sector is one of store and snapshot.
//! The copies are on the other nodes.

mod applied;
mod changes;
mod incoming;
mod install;
mod names;
mod opening;
mod options;
mod root;
mod snapshot;
mod state_machine;
mod stream;
mod unpack;

pub use applied::Applied;
pub use changes::Changes;
pub use incoming::Incoming;
pub use options::Options;
pub use snapshot::Snapshot;
pub use state_machine::{Recovery, StateMachine, Stats};
pub use stream::{SnapshotData, Stored};

/// The keyspace in which a state machine keeps what was applied last. Nobody else may write to it.
pub const KEYSPACE: &str = "durable-raft";
