//! How much of the space that is held back work may use, so that deletions and merges go on on a full disk.

use durable_io::engine::Reserve;

/// What work on a full disk frees, and so how much of the space it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frees {
    /// Nothing: it must not use any.
    Nothing,
    /// What a merge can give back then: half of the space, so that the merge has the other half.
    Keys,
    /// Files: all of it.
    Files,
}

impl Frees {
    /// Takes a part of `reserve` for work that frees this; false if nothing is left for it.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn take_from(self, reserve: &mut Reserve) -> durable_io::Result<bool> {
        match self {
            Self::Nothing => Ok(false),
            Self::Keys => reserve.release(reserve.size() / 2),
            Self::Files => reserve.release(0),
        }
    }
}
