//! The one error of this crate.

use std::ops::Range;
use std::path::{Path, PathBuf};

use durable_io::engine::{InvalidOption, LostKeys, NoOutput, UnsupportedVersion};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a table.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused a call or is full.
    #[error(transparent)]
    Disk(#[from] durable_io::Error),
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
    /// Something that the table had cannot be read: an item of a [`Salvage`](crate::Salvage), and of nothing else.
    #[error(transparent)]
    Lost(#[from] Box<Lost>),
    /// What was added does not belong behind what was added before. Nothing was written; what is in
    /// order can still be added.
    #[error("{what} was added out of order: it does not come after the one added before")]
    OutOfOrder {
        /// `"an entry"` or `"a range tombstone"`.
        what: &'static str,
    },
    /// A key, a value or something else is over its limit. Nothing was written.
    #[error("{what} of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// What is too large: `"a key"`, `"a value"`, …
        what: &'static str,
        /// Its size, in bytes.
        size: u64,
        /// The largest size.
        limit: u64,
    },
    /// A deletion with a value, or a range tombstone that deletes nothing. Nothing was written.
    #[error("{what}")]
    InvalidEntry {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A table holds at least one entry or one range tombstone. No table was made.
    #[error("a table must not be empty")]
    Empty,
    /// The file was written by a newer version of this crate.
    #[error(transparent)]
    UnsupportedVersion(#[from] UnsupportedVersion),
    /// A block is compressed in a way that this program was built without.
    #[error("{} is compressed with {name}, which this program was built without", path.display())]
    UnsupportedCompression {
        /// The file.
        path: PathBuf,
        /// The compression: the feature to build with.
        name: &'static str,
    },
    /// An option has a value that a table cannot be made with. Nothing was changed.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The progress callback of a compaction stopped it. Its outputs are removed.
    #[error("the compaction was stopped")]
    Stopped,
    /// The text of a dump could not be written to where it goes.
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
}

/// What a damaged table had, and cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} of {keys} cannot be read, in bytes {} to {} of {}", bytes.start, bytes.end, path.display())]
#[non_exhaustive]
pub struct Lost {
    /// The file.
    pub path: PathBuf,
    /// `"entries"` or `"range tombstones"`. Where the latter are lost, what they deleted may be among the entries.
    pub what: &'static str,
    /// The keys of which there may have been some.
    pub keys: LostKeys,
    /// Where in the file they were.
    pub bytes: Range<u64>,
    /// What is wrong there: the first thing, if there are several.
    pub source: Error,
}

/// What is wrong with a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// A checksum does not match its bytes.
    #[error("a checksum does not match")]
    Checksum,
    /// A length or a place does not fit what holds it.
    #[error("a length does not fit")]
    Length,
    /// A file or a block does not begin as its kind does.
    #[error("it does not begin as such a file or block does")]
    Magic,
    /// A block is of another kind than the one that must be here.
    #[error("a block of another kind is in this place")]
    BlockKind,
    /// The kind of an entry is unknown.
    #[error("the kind of an entry is unknown")]
    Kind,
    /// Bytes that must be zero are not.
    #[error("bytes that must be zero are not")]
    NotZero,
    /// Entries, separators or range tombstones are not in their order, or not within their bounds.
    #[error("the order is broken")]
    Order,
    /// A compressed block cannot be decompressed.
    #[error("a compressed block cannot be decompressed")]
    Compression,
    /// An index, of a table or in a block, does not lead to an entry that is there.
    #[error("an index does not lead to an entry that is there")]
    Index,
    /// The filter denies a key that is there.
    #[error("the filter denies a key that is there")]
    Filter,
    /// Header, footer, properties and data contradict each other.
    #[error("its numbers contradict each other")]
    Contradiction,
}
