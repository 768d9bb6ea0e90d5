//! How much of the space that is held back work may use, so that deletions and merges go on on a full disk.

use durable_io::engine::Reserve;

use crate::error::Result;
use crate::store::Store;

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

impl Store {
    /// Does `work`; if the disk is full, again with more and more of the space that is held back, as
    /// far as what it `frees` allows.
    pub(crate) fn with_reserve<T>(
        &self,
        frees: Frees,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            match work() {
                Err(error) if error.is_no_space() => {
                    let released = frees.take_from(&mut self.health.lock(&self.reserve));
                    if !released.map_err(|error| self.note(error))? {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }
}
