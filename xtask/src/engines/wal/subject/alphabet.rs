//! The letters: what is done to a log, and what each of them writes.

/// What is done to a log. Two alphabets, since the number of sequences is that of the letters to the
/// power of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Writing and giving up the oldest.
    Log,
    /// Giving up the newest, checkpoints, and appends in flight.
    Truncation,
    /// Batches that are larger than a segment.
    Large,
}

/// Everything once: the runs that faults are injected into.
pub(crate) const FAULTED: &[Op] = &[
    Op::AppendSmall,
    Op::AppendLarge,
    Op::AppendBatch,
    Op::Background,
    Op::Rotate,
    Op::AppendSmall,
    Op::Truncate,
    Op::Close,
    Op::AppendSmall,
    Op::Sync,
];
pub(crate) const FAULTED_ENDS: &[Op] = &[
    Op::AppendBatch,
    Op::Checkpoint,
    Op::TruncateNewest,
    Op::Rotate,
    Op::Submit,
    Op::Truncate,
    Op::AppendBatch,
    Op::Close,
    Op::TruncateNewest,
    Op::TruncateAll,
    Op::Submit,
    Op::AppendLarge,
    // Does not fit into what is left of the segment, while those after it do: the disk is full at every size,
    // so also exactly between them.
    Op::ChainFirst,
    // Takes the position of the first one, if that was refused.
    Op::AppendSmall,
    Op::ChainSecond,
    Op::ChainFirst,
    Op::ChainSecond,
    // So many records in the place of those that are truncated: the position is the one that is expected.
    Op::AppendSmall,
    Op::ChainFirst,
    Op::TruncateNewest,
    Op::TruncateNewest,
    Op::Submit,
    Op::ChainSecond,
];

pub(crate) const FAULTED_LARGE: &[Op] = &[
    Op::AppendHuge,
    Op::AppendSmall,
    Op::Background,
    Op::Background,
    Op::AppendHuge,
    Op::TruncateNewest,
    Op::Rotate,
    Op::AppendHuge,
    Op::Close,
    Op::AppendSmall,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Append 20 bytes.
    AppendSmall,
    /// Append a record over three sectors.
    AppendLarge,
    /// Append two records as one batch, which together span two sectors.
    AppendBatch,
    /// Append two records as one batch that is larger than a segment.
    AppendHuge,
    /// Submit a record lazily and then another one, and wait for that: one group of two appends.
    Submit,
    /// Submit a record over three sectors, for the next letter to be built on.
    ChainFirst,
    /// Append a small record, if what it is built on is there: the last of these.
    ChainSecond,
    Rotate,
    /// Give up every record but the newest.
    Truncate,
    /// Give up every record, from the oldest on, and write a note with that.
    Empty,
    /// Mark every record as applied, and write a note with that.
    Checkpoint,
    /// Give up the newest record, which may be half a batch or half a group.
    TruncateNewest,
    /// Give up every record, from the newest on.
    TruncateAll,
    Sync,
    /// Close; the next operation opens again.
    Close,
    /// One step of background work: making the next segment.
    Background,
}

/// The index of a record that the next of its chain is built on.
pub(super) const CHAIN_FIRST: usize = 7;

/// The records that operation `n` writes: their lengths.
pub(crate) fn lengths(op: Op) -> &'static [usize] {
    match op {
        Op::AppendSmall | Op::ChainSecond => &[20],
        Op::AppendLarge | Op::ChainFirst => &[1100],
        Op::AppendBatch => &[380, 376],
        Op::AppendHuge => &[2100, 300],
        Op::Submit => &[20, 20],
        _ => &[],
    }
}

/// The index that the `i`th record of an operation carries.
pub(super) fn index(op: Op, i: usize) -> usize {
    if op == Op::ChainFirst { CHAIN_FIRST } else { i }
}

impl Alphabet {
    /// Its letters.
    pub(super) fn letters(self) -> Vec<Op> {
        match self {
            Self::Log => vec![
                Op::AppendSmall,
                Op::AppendLarge,
                Op::AppendBatch,
                Op::Rotate,
                Op::Truncate,
                Op::Sync,
                Op::Close,
                Op::Background,
            ],
            Self::Truncation => vec![
                Op::AppendBatch,
                Op::Submit,
                Op::ChainFirst,
                Op::ChainSecond,
                Op::Rotate,
                Op::Empty,
                Op::Checkpoint,
                Op::TruncateNewest,
                Op::TruncateAll,
                Op::Close,
            ],
            Self::Large => vec![
                Op::AppendSmall,
                Op::AppendHuge,
                Op::Rotate,
                Op::Truncate,
                Op::TruncateNewest,
            ],
        }
    }
}

impl Op {
    /// What it is called where barriers are counted.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::AppendSmall | Self::AppendLarge | Self::AppendBatch => "append",
            Self::AppendHuge => "append large",
            Self::Submit => "submit",
            Self::ChainFirst | Self::ChainSecond => "chain",
            Self::Rotate => "rotate",
            Self::Truncate | Self::Empty => "truncate",
            Self::Checkpoint => "checkpoint",
            Self::TruncateNewest | Self::TruncateAll => "truncate end",
            Self::Sync => "sync",
            Self::Close => "close",
            Self::Background => "background",
        }
    }
}
