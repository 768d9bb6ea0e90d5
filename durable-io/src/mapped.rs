//! [`Ranges`]: which bytes of a file are mapped, so that nobody changes bytes that a slice shows.
//!
//! A [`Map`](crate::Map) lends its bytes as `&[u8]`: were they to change, or the file to end before them,
//! safe code would have undefined behaviour, or be killed. So a map is entered here before it is made, by
//! the file itself and not by the handle or the name, and whatever changes bytes asks first. Both take a
//! lock: the one who changes holds it shared until the kernel has answered.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::process::Process;

/// The mapped ranges of one file, shared by all its handles in this process.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    mapped: RwLock<Mapped>,
}

#[derive(Debug, Default)]
struct Mapped {
    /// By end and a number of its own: the start.
    starts: BTreeMap<(u64, u64), u64>,
    next: u64,
    /// The largest end; 0 if nothing is mapped. Nearly every write is after it.
    end: u64,
}

/// While this lives nothing is mapped that was not before.
#[derive(Debug)]
pub(crate) struct Changing<'a> {
    _mapped: RwLockReadGuard<'a, Mapped>,
}

/// The entry of one map, which ends with it.
#[derive(Debug)]
pub(crate) struct Entered {
    ranges: Arc<Ranges>,
    key: (u64, u64),
    owner: Process,
}

impl Ranges {
    /// For as long as `range` is being changed; `None` if some byte of it is mapped.
    pub(crate) fn change(&self, range: &Range<u64>) -> Option<Changing<'_>> {
        // Held across I/O on purpose: a range that is mapped meanwhile would change under its slice.
        let mapped = self.mapped.read().unwrap_or_else(PoisonError::into_inner);
        if range.start < mapped.end && !range.is_empty() && mapped.overlaps(range) {
            return None;
        }
        Some(Changing { _mapped: mapped })
    }

    /// Enters `range`, when nobody changes bytes of the file.
    pub(crate) fn enter(self: &Arc<Self>, range: &Range<u64>, owner: Process) -> Entered {
        let mut mapped = self.mapped.write().unwrap_or_else(PoisonError::into_inner);
        let key = (range.end, mapped.next);
        mapped.next += 1;
        mapped.starts.insert(key, range.start);
        mapped.end = mapped.end.max(range.end);
        Entered {
            ranges: Arc::clone(self),
            key,
            owner,
        }
    }
}

impl Mapped {
    fn overlaps(&self, range: &Range<u64>) -> bool {
        // Those that end after the start.
        let mut after = self.starts.range((range.start.saturating_add(1), 0)..);
        after.any(|(_, start)| *start < range.end)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // In a forked child the lock may be held by a thread of the parent, for ever. The child shares
        // no ranges with it: what it opens itself it looks up anew.
        if !self.owner.is_current() {
            return;
        }
        let mut mapped = self.ranges.mapped.write();
        let mapped = mapped
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut());
        mapped.starts.remove(&self.key);
        let last = mapped.starts.last_key_value();
        mapped.end = last.map_or(0, |((end, _), _)| *end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(ranges: &Arc<Ranges>, range: Range<u64>) -> Entered {
        ranges.enter(&range, Process::current().expect("there is memory"))
    }

    #[test]
    fn exactly_what_overlaps_a_living_map_is_refused() {
        let ranges = Arc::new(Ranges::default());
        let may = |range: Range<u64>| ranges.change(&range).is_some();
        assert!(may(0..u64::MAX));
        let low = enter(&ranges, 10..20);
        let high = enter(&ranges, 30..40);
        let again = enter(&ranges, 30..40);
        for free in [0..10, 20..30, 40..u64::MAX, 15..15] {
            assert!(may(free.clone()), "{free:?}");
        }
        for refused in [0..11, 10..11, 19..20, 0..100, 39..u64::MAX, 25..31] {
            assert!(!may(refused.clone()), "{refused:?}");
        }
        drop(high);
        assert!(!may(35..36), "mapped twice");
        drop(again);
        assert!(may(20..u64::MAX));
        drop(low);
        assert!(may(0..u64::MAX));
    }

    #[test]
    fn nothing_is_mapped_while_bytes_change() {
        let ranges = Arc::new(Ranges::default());
        let changing = ranges.change(&(0..10)).expect("nothing is mapped");
        assert!(ranges.mapped.try_write().is_err());
        drop(changing);
        drop(enter(&ranges, 0..10));
    }
}
