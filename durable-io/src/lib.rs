//! Crash-safe file primitives, and a simulated disk that proves the code built on them.

mod backend;
pub mod checksum;
pub mod codec;
mod commit;
mod dir;
mod disk;
mod error;
mod file;
mod latch;
mod os;
mod platform;
mod replace;
mod site;
#[cfg(feature = "sim")]
pub mod sim;
mod sync_mode;

pub use commit::GroupCommit;
pub use dir::{Dir, Entry, Lock};
pub use disk::Disk;
pub use error::{Error, Op, Result};
pub use file::{Advice, File, Map, Synced};
pub use platform::{Capabilities, DurableWrite, SyncPrimitive};
pub use replace::{create_durably, publish, remove_durably, replace_file};
pub use site::{Barrier, Site};
pub use sync_mode::{Background, SyncMode};
