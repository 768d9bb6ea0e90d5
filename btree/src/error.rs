//! The one error of this crate.

use std::fmt;
use std::path::{Path, PathBuf};

use durable_io::engine::{
    InvalidOption, LostKeys, NoOutput, NoThread, Poisoned, UnsupportedVersion,
};

use crate::salvaged_table::SalvagedTable;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a store.
///
/// Errors are `Clone`, because one failed sync answers every commit that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused a call, is full, or somebody else has the store open. After a failed write or
    /// sync the store is poisoned; a full disk poisons nothing.
    #[error(transparent)]
    Disk(#[from] durable_io::Error),
    /// The log refused a call or is damaged.
    #[error(transparent)]
    Log(#[from] wal::Error),
    /// What is on the disk is not what was written there.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// The first byte in it that cannot be believed.
        offset: u64,
        /// What is wrong there.
        reason: Corruption,
    },
    /// Something that the store had cannot be read: an item of a [`Salvage`](crate::Salvage), and of nothing else.
    #[error(transparent)]
    Lost(#[from] Box<Lost>),
    /// An earlier write or sync failed, so nobody knows what of it is on the disk. Reads of durable
    /// data go on; reopen the store to recover.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The state of a reader was held for longer than [`Options::reader_lease`](crate::Options::reader_lease) allows,
    /// and its pages are used for others. Begin to read anew.
    #[error("the reader's state was given up: it was held for longer than the lease allows")]
    LeaseEnded,
    /// There is no table of that name.
    #[error("there is no table {name:?}")]
    NoTable {
        /// The name.
        name: String,
    },
    /// There is a table of that name already.
    #[error("there is a table {name:?} already")]
    TableExists {
        /// The name.
        name: String,
    },
    /// The table is to be filled by [`bulk_load`](crate::TableMut::bulk_load), and is not empty. Nothing was changed.
    #[error("the table {name:?} is not empty")]
    NotEmpty {
        /// The name.
        name: String,
    },
    /// The keys of a [`bulk_load`](crate::TableMut::bulk_load) are not in order, or one comes twice. The transaction
    /// can only be aborted, or rolled back to a savepoint.
    #[error("the key \"{}\" does not belong behind \"{}\"", key.escape_ascii(), last.escape_ascii())]
    OutOfOrder {
        /// The key before.
        last: Vec<u8>,
        /// The key that is not above it.
        key: Vec<u8>,
    },
    /// A key, a value or a name is over its limit. Nothing was changed.
    #[error("a {what} of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// `"key"`, `"value"` or `"table name"`.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The largest size, in bytes.
        limit: u64,
    },
    /// An earlier call in this transaction failed half-way. It can only be aborted.
    #[error("an earlier call of this transaction failed; it can only be aborted")]
    Failed,
    /// The savepoint is not one of this transaction, or was rolled back.
    #[error("the savepoint does not belong to this state of the transaction")]
    NoSavepoint,
    /// Another write transaction was open for all the time that was given.
    #[error("another write transaction is open; commit or abort it, or wait longer")]
    Busy,
    /// A write transaction that this thread has begun is still open: waiting for it would never end.
    #[error("this thread has a write transaction open, and would wait for itself")]
    StillOpen,
    /// The page file was written by a newer version of this crate.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// An option has a value that the store cannot work with. Nothing was changed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The system refused a thread for the background work. The store was not opened.
    #[error(transparent)]
    NoThread(#[from] NoThread),
    /// The text of a [`dump`](crate::dump()) could not be written.
    #[error(transparent)]
    Output(#[from] NoOutput),
}

impl Error {
    pub(crate) fn corrupt(path: &Path, offset: u64, reason: Corruption) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            offset,
            reason,
        }
    }

    /// True if the disk is full: nothing was changed, and the same call may succeed when there is more
    /// space.
    pub fn is_no_space(&self) -> bool {
        matches!(
            self,
            Self::Disk(durable_io::Error::NoSpace { .. })
                | Self::Log(wal::Error::Disk(durable_io::Error::NoSpace { .. }))
        )
    }
}

/// What a damaged store had in pages, and cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} of {keys}{} cannot be read", Of(table.as_ref()))]
#[non_exhaustive]
pub struct Lost {
    /// Of which table; `None` if whole tables are lost.
    pub table: Option<SalvagedTable>,
    /// `"entries"`; or `"tables"`, whose names are the keys.
    pub what: &'static str,
    /// The keys of which there may have been some.
    pub keys: LostKeys,
    /// What is wrong, and where.
    pub source: Error,
}

struct Of<'a>(Option<&'a SalvagedTable>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(table) => write!(f, " in {table}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// A checksum does not match its bytes.
    #[error("a checksum does not match")]
    Checksum,
    /// A length or an offset does not fit what holds it.
    #[error("a length does not fit into what holds it")]
    Length,
    /// Neither of the two meta slots can be believed.
    #[error("both meta slots are damaged")]
    Slots,
    /// A page is not the one that its reference names: an older one, or one of another transaction.
    #[error("it is not the page that is referred to")]
    StalePage,
    /// A page is not of the kind that belongs there.
    #[error("a page of another kind belongs there")]
    Kind,
    /// Keys are not in order, or not in the range that their parent says.
    #[error("keys are out of order")]
    Order,
    /// A page number lies outside the file, or inside the meta slots.
    #[error("page {page} is outside the file")]
    Outside {
        /// The number.
        page: u32,
    },
    /// A page has two owners.
    #[error("page {page} is used twice")]
    DoublyOwned {
        /// The number.
        page: u32,
    },
    /// A page has no owner.
    #[error("page {page} is neither used nor free")]
    Leaked {
        /// The number.
        page: u32,
    },
    /// The number of entries in a table is not what the catalog says.
    #[error("the number of entries is not {expected}")]
    Count {
        /// What the catalog says.
        expected: u64,
    },
    /// The log does not hold what the meta slot relies on: it begins at `first` and ends at `last`, and
    /// the slot is of record `mark`.
    #[error("the log of records {first} to {last} does not belong to a state of record {mark}")]
    LogRange {
        /// The first record of the log.
        first: u64,
        /// The last record of the log.
        last: u64,
        /// The last record that the slot's tree holds.
        mark: u64,
    },
    /// A record of the log was written after a newer meta slot was durable: the page file is an older
    /// copy, or its newest slot was lost.
    #[error("the log knows generation {found}; the newest slot is of generation {slot}")]
    Generation {
        /// What the record says.
        found: u64,
        /// What the slot says.
        slot: u64,
    },
    /// A record of the log belongs to another store.
    #[error("the log belongs to another store")]
    ForeignLog,
    /// A record of the log cannot be understood.
    #[error("a record of the log cannot be understood")]
    Record,
    /// The page file is lost: there is a log that only a store with one has.
    #[error("the page file is lost")]
    PagesLost,
}
