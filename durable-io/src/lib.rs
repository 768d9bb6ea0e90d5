//! Crash-safe file primitives, and a simulated disk that proves the code built on them.
//!
//! ```
//! use durable_io::{Disk, replace_file};
//!
//! # let temp = tempfile::tempdir().unwrap();
//! # let path = temp.path().join("store");
//! let dir = Disk::os().create_dir(&path)?;
//! let _lock = dir.try_lock("LOCK")?;
//!
//! // A small file as a whole: after a crash at any moment, the old content or the new one.
//! replace_file(&dir, "settings", b"colour = green")?;
//!
//! // A log: its name is made durable once, and then each record.
//! let log = dir.create_new("log")?;
//! dir.sync()?;
//! let mut durable = 0;
//! for record in ["first\n", "second\n"] {
//!     let end = durable + record.len() as u64;
//!     log.write_all_at(record.as_bytes(), durable)?;
//!     let _returned: durable_io::Synced = log.sync_data()?;
//!     // Only now may the record be acknowledged.
//!     durable = end;
//! }
//!
//! let mut bytes = vec![0; 13];
//! log.read_exact_at(&mut bytes, 0)?;
//! assert_eq!(bytes, b"first\nsecond\n");
//! # Ok::<(), durable_io::Error>(())
//! ```
//!
//! (A real log also says of each record how long it is and what its [`checksum`] is, since a crash
//! can leave any part of the last one.)
//!
//! # What a disk may do
//!
//! A write that has returned is in the kernel: it survives the death of the process (`kill -9`), and
//! other processes see it. It is not on the disk. When the power fails, of everything that no
//! returned sync has covered
//!
//! - any part may be *lost*, and any other part kept, in any order: later writes without earlier
//!   ones, a new length without the bytes, a name without the file's content, the content without
//!   its name;
//! - a write may be *torn* at any sector (512 bytes), so that a part of it is old and a part new;
//! - bytes between the old and the new end that were never written to the disk may hold anything:
//!   zeros, garbage, or the former content of another file;
//! - a rename may leave both names, but never neither.
//!
//! What was covered stays: a write touches no byte outside its range, and a sync that returned
//! without an error was true. A later read may still find bytes that the disk has damaged; that is
//! what the [checksums](checksum) are for.
//!
//! # What each call promises
//!
//! | after a success of | this survives power loss |
//! |---|---|
//! | [`File::write_all_at`], [`File::set_len`], [`File::allocate`], [`Dir::create_new`], [`Dir::rename`], … | nothing yet |
//! | [`File::sync_data`], [`File::sync_all`] | what was written to the file before the call, and its length; not its name |
//! | [`File::write_durable_at`] | the written range, and the length needed to read it; not the name |
//! | [`Dir::sync`] | the names created, renamed and removed in the directory before the call; not what they hold |
//! | [`Disk::create_dir`] | the directory and every parent that it had to make |
//! | [`replace_file`], [`replace_file_with`], [`publish_temp`], [`publish`], [`create_durably`] | the file: content and name |
//! | [`remove_durably`] | that the file is gone |
//! | [`File::start_writeback`], [`File::advise`], dropping a handle | nothing |
//!
//! **Failure.** A failed sync is final: the kernel may have thrown the bytes away and call the next
//! sync a success. So the handle, and every clone of it, refuses all later writes and syncs with
//! [`Error::Poisoned`]; reads continue; nothing here ever repeats a sync. A write that failed half-way
//! does the same. A full disk is met by [`File::allocate`], as [`Error::NoSpace`], before anything
//! is written. The latch belongs to one opening: who opens a file twice has two.
//!
//! **Refusal.** Where the system has no descriptor left, no memory, no permission and the like, the call
//! is [`Error::Resource`], which says what was missing. Nothing has changed, nothing is poisoned
//! ([`Error::changed_nothing`]), and the same call may succeed later, on the same handles.
//!
//! **Signals and short counts** are dealt with: reads and writes continue where they stopped, and whatever
//! a signal interrupts is repeated, except a sync.
//!
//! **Forks.** A forked child has copies of all handles, and must use none of them: see [`Process`] and
//! [`Lock`].
//!
//! # Modules
//!
//! | what | where |
//! |---|---|
//! | where files come from; time, ids | [`Disk`] |
//! | names: create, rename, link, remove, list, lock, sync | [`Dir`], [`Lock`] |
//! | whose a handle is, when the process forks | [`Process`] |
//! | bytes: read, write, allocate, sync, map | [`File`], [`Map`], [`Synced`] |
//! | a file that gets its name when it is whole | [`Temp`], [`publish_temp`] |
//! | procedures made of these | [`replace_file`], [`replace_file_with`], [`publish`], [`create_durably`], [`remove_durably`] |
//! | many writers, one sync | [`GroupCommit`] |
//! | the words all engines share | [`SyncMode`], [`Background`], [`Error`] |
//! | what all engines do in the same way | [`engine`] |
//! | bytes on disk | [`checksum`], [`codec`] |
//! | names of numbered files | [`numbered`] |
//! | where a sync is in the sources | [`Site`], [`Barrier`], [`made_durable`] |
//! | which system call it is | [`Capabilities`] |
//! | the simulated disk, behind the feature `sim` | `durable_io::sim` |
//! | what the tests of engines have in common, behind the feature `testing` | `durable_io::testing` |

mod backend;
pub mod checksum;
pub mod codec;
mod commit;
mod dir;
mod disk;
pub mod engine;
mod error;
mod file;
mod latch;
mod lock;
mod mapped;
pub mod numbered;
mod os;
mod platform;
mod process;
mod replace;
#[cfg(test)]
mod scripted;
#[cfg(feature = "sim")]
pub mod sim;
mod site;
mod sync_mode;
mod temp;
#[cfg(feature = "testing")]
pub mod testing;

pub use commit::{GroupCommit, Member};
pub use dir::{Dir, Entry};
pub use disk::Disk;
pub use error::{Error, Op, Resource, Result};
pub use file::{Advice, File, Map, Synced};
pub use lock::Lock;
pub use platform::{Capabilities, DurableWrite, SyncPrimitive};
pub use process::Process;
pub use replace::{create_durably, publish, remove_durably, replace_file, replace_file_with};
pub use site::{Barrier, Site, made_durable};
pub use sync_mode::{Background, SyncMode};
pub use temp::{Temp, publish_temp};

/// Compiles the example of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
