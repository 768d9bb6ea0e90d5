//! Space that is held back, so that flushes, compactions and deletions work on a full disk.

use crate::error::Result;
use crate::store::Store;

impl Store {
    /// Does `work`, which gives space back in the end; as often as the disk is full, once more with a part of
    /// the space that is held back.
    pub(crate) fn with_reserve<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match work() {
                Err(error) if error.is_no_space() => {
                    let mut reserve = self.health.lock(&self.reserve);
                    if !reserve.release(0)? {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    /// Holds the space back again, if it can be had by now.
    pub(crate) fn hold_reserve(&self) -> Result<()> {
        Ok(self.health.lock(&self.reserve).hold()?)
    }
}
