//! The one error of this crate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use durable_io::engine::{
    InvalidOption, LostKeys, NoOutput, NoThread, Poisoned, UnsupportedVersion,
};
use wal::Lsn;

use crate::cause::Cause;
use crate::salvaged_keyspace::SalvagedKeyspace;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a store.
///
/// Errors are `Clone`, because one failed sync answers every writer that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused a call, is full, or somebody else has the store open. After a failed write or
    /// sync the store is poisoned; a full disk changes nothing.
    #[error(transparent)]
    Disk(#[from] durable_io::Error),
    /// What is on the disk is not what was written there. Nothing was changed by finding it.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file; the mark of the log or the manifest, if it is the whole.
        path: PathBuf,
        /// The first byte in it that cannot be believed; 0 if it is the whole.
        offset: u64,
        /// What is wrong there.
        reason: Corruption,
    },
    /// Something that the store had cannot be read: an item of a [`Salvage`](crate::Salvage), and of nothing else.
    #[error(transparent)]
    Lost(#[from] Box<Lost>),
    /// An earlier write or sync failed, so nobody knows what of it is on the disk. Reads of what was
    /// durable by then go on; reopen the store to recover. A snapshot or an iterator that is newer than
    /// that answers with this, too.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The store was closed.
    #[error("the store is closed; open it again")]
    Closed,
    /// The keyspace was dropped, or it is one of another store. Of a batch nothing was written.
    #[error("the keyspace was dropped")]
    Dropped,
    /// There is no keyspace of this name.
    #[error("there is no keyspace {name:?}")]
    NoKeyspace {
        /// The name.
        name: String,
    },
    /// There is a keyspace of this name.
    #[error("there is a keyspace {name:?} already")]
    KeyspaceExists {
        /// The name.
        name: String,
    },
    /// The default keyspace cannot be dropped; it can be cleared.
    #[error("the default keyspace cannot be dropped")]
    DefaultKeyspace,
    /// A key, a batch, or something else is over its limit. Nothing was written.
    #[error("{what} of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// What is too large: `"a key"`, `"a batch"`, …
        what: &'static str,
        /// Its size, in bytes.
        size: u64,
        /// The largest size, in bytes.
        limit: u64,
    },
    /// What is known of open tables, and what readers hold of memtables and tables that are no part of the
    /// store any more, takes so much of [`memory`](crate::Options::memory) that there is none for writes.
    /// Nothing was written. It goes on when a compaction has merged tables, a keyspace is dropped, readers let
    /// go, or the store is opened with more.
    #[error(
        "{used} bytes are kept of tables and for readers, of {limit} that may be kept in memory"
    )]
    MemoryFull {
        /// What tables and readers take, in bytes.
        used: u64,
        /// What there may be in memory beside the cache of blocks, in bytes.
        limit: u64,
    },
    /// [`try_write`](crate::Lsm::try_write) would have to wait for the background, as
    /// [`write`](crate::Lsm::write) does. Nothing was written.
    #[error("a write would be delayed: {cause}")]
    WouldDelay {
        /// What it would wait for.
        cause: Cause,
        /// How long, to write as fast as the background works off; `None` at a bound, where it would wait until a
        /// flush is done.
        delay: Option<Duration>,
    },
    /// The file was written by a newer version of this crate.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// A table is compressed in a way that this program was built without.
    #[error("{} is compressed with {name}, which this program was built without", path.display())]
    UnsupportedCompression {
        /// The file.
        path: PathBuf,
        /// The compression: the feature to build with.
        name: &'static str,
    },
    /// An option has a value that the store cannot work with. Nothing was changed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The system refused a thread for the background work. The store was not opened.
    #[error(transparent)]
    Thread(#[from] NoThread),
    /// The progress callback of a long operation stopped it. Nothing was changed.
    #[error("the operation was stopped")]
    Stopped,
    /// The text of [`dump()`](crate::dump()) could not be written to where it goes.
    #[error(transparent)]
    Output(#[from] NoOutput),
}

impl Error {
    pub(crate) fn corrupt(path: &Path, reason: Corruption) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            offset: 0,
            reason,
        }
    }

    /// True for what a retry on a disk with more space may not meet.
    pub(crate) fn is_no_space(&self) -> bool {
        matches!(self, Self::Disk(durable_io::Error::NoSpace { .. }))
    }
}

impl From<wal::Error> for Error {
    fn from(error: wal::Error) -> Self {
        use wal::Error as Log;
        match error {
            Log::Disk(error) => Self::Disk(error),
            Log::Corrupt {
                path,
                offset,
                reason,
            } => Self::Corrupt {
                path,
                offset,
                reason: Corruption::Log(reason),
            },
            Log::Poisoned(poisoned) => Self::Poisoned(poisoned),
            Log::TooLarge { size, limit, .. } => Self::TooLarge {
                what: "a batch",
                size,
                limit,
            },
            Log::UnsupportedVersion(version) => Self::UnsupportedVersion(version),
            Log::InvalidOption(option) => Self::InvalidOption(option),
            Log::Thread(thread) => Self::Thread(thread),
            Log::Output(output) => Self::Output(output),
            // What was to be read was given up: by nobody but this store, which reads only at opening.
            _ => Self::Closed,
        }
    }
}

impl From<sstable::Error> for Error {
    fn from(error: sstable::Error) -> Self {
        use sstable::Error as Table;
        match error {
            Table::Disk(error) => Self::Disk(error),
            Table::Corrupt {
                path,
                offset,
                reason,
            } => Self::Corrupt {
                path,
                offset,
                reason: Corruption::Table(reason),
            },
            // Who salvages a table says which keys are lost; this is why.
            Table::Lost(lost) => lost.source.into(),
            Table::TooLarge { what, size, limit } => Self::TooLarge { what, size, limit },
            Table::UnsupportedVersion(newer) => Self::UnsupportedVersion(newer),
            Table::UnsupportedCompression { path, name } => {
                Self::UnsupportedCompression { path, name }
            }
            Table::InvalidOption(invalid) => Self::InvalidOption(invalid),
            Table::Stopped => Self::Stopped,
            Table::Output(error) => Self::Output(error),
            // Out of order, invalid, empty: a merge of sorted runs gives none of these.
            other => unreachable!("a merge writes tables in order: {other}"),
        }
    }
}

/// What a damaged store had in tables, and cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} of {keys} in {keyspace} cannot be read")]
#[non_exhaustive]
pub struct Lost {
    /// Of which keyspace.
    pub keyspace: SalvagedKeyspace,
    /// `"entries"` or `"range tombstones"`.
    pub what: &'static str,
    /// The keys of which there may have been some.
    pub keys: LostKeys,
    /// What is wrong, and where.
    pub source: Error,
}

/// What is wrong with a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// A segment or the mark of the log or the manifest is damaged.
    #[error("{0}")]
    Log(wal::Corruption),
    /// A table is damaged.
    #[error("{0}")]
    Table(sstable::Corruption),
    /// A record of the log says nothing that a store writes.
    #[error("record {lsn} of the log is no operation")]
    Record {
        /// The record.
        lsn: Lsn,
    },
    /// A record of the log names a keyspace that the manifest does not know, and that no drop explains.
    #[error("record {lsn} of the log names keyspace {id}, which was never created")]
    UnknownKeyspace {
        /// The record.
        lsn: Lsn,
        /// The id of the keyspace.
        id: u32,
    },
    /// A record of the manifest is no edit of what came before it.
    #[error("record {lsn} of the manifest is no edit of what came before")]
    Edit {
        /// The record.
        lsn: Lsn,
    },
    /// The manifest is lost, or all of its records are: there are tables or a log that only a store with
    /// a manifest has.
    #[error("the manifest is lost")]
    ManifestLost,
    /// The manifest is older than a table of the store, which was written when edit `seen` was durable.
    #[error(
        "the manifest ends at edit {last}, but a table was written when edit {seen} was durable"
    )]
    ManifestOlder {
        /// The last edit.
        last: Lsn,
        /// The edit that was durable.
        seen: Lsn,
    },
    /// The log is lost.
    #[error("the log is lost")]
    LogLost,
    /// The log does not fit the manifest: it is older, or belongs to another moment of the store.
    #[error(
        "the log has records {first} to {last}, but the manifest needs those behind {floor} and has \
         seen {seen}"
    )]
    LogRange {
        /// The first record of the log.
        first: Lsn,
        /// The last one.
        last: Lsn,
        /// Up to here everything is in tables.
        floor: Lsn,
        /// The last record that the manifest knows of.
        seen: Lsn,
    },
    /// A table that the manifest names is missing.
    #[error("the table is missing")]
    MissingTable,
    /// The table is another one than the manifest names, of another store or another time.
    #[error("it is not the table that the manifest names")]
    ForeignTable,
    /// The manifest does not say of which keyspace the table is, nor does it itself.
    #[error("nothing says of which keyspace the table is")]
    NobodysTable,
    /// Two tables of a sorted run overlap.
    #[error("it overlaps another table of its run")]
    Overlap,
}
