//! Which parts of the index are merged: pure.

use std::ops::Range;

use crate::limits::MAX_PART_EVENTS;

/// A part, as far as the policy looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// What its events take in the log.
    pub(crate) bytes: u64,
    pub(crate) events: u64,
    /// Numbers that it holds: terms, and the places of their events.
    pub(crate) numbers: u64,
}

/// How many neighbours are merged at a time.
pub(crate) const FAN_IN: usize = 4;

/// The neighbours to merge: those of which the largest is not larger than the others together, so that
/// each event is written anew as often as the logarithm of the store's size; the smallest such first.
pub(crate) fn pick(parts: &[Size]) -> Option<Range<usize>> {
    let worth = |parts: &&[Size]| {
        let sum: u64 = parts.iter().map(|part| part.bytes).sum();
        let largest = parts.iter().map(|part| part.bytes).max();
        let fits = parts.iter().map(|part| part.events).sum::<u64>() <= MAX_PART_EVENTS
            && parts.iter().map(|part| part.numbers).sum::<u64>() < u64::from(u32::MAX);
        largest.is_some_and(|largest| largest <= sum - largest) && fits
    };
    let windows = parts.windows(FAN_IN).enumerate();
    let worthy = windows.filter(|(_, parts)| worth(parts));
    let least = worthy.min_by_key(|(_, parts)| parts.iter().map(|part| part.bytes).sum::<u64>())?;
    Some(least.0..least.0 + FAN_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u64], expected: Option<[usize; 2]>) {
        let size = |&bytes: &u64| Size {
            bytes,
            events: bytes,
            numbers: bytes,
        };
        let sizes: Vec<_> = bytes.iter().map(size).collect();
        let picked = pick(&sizes).map(|range| [range.start, range.end]);
        assert_eq!(picked, expected, "{bytes:?}");
    }

    #[test]
    fn neighbours_of_like_size_are_merged() {
        check(&[], None);
        check(&[8, 8, 8], None);
        check(&[8, 8, 8, 8], Some([0, 4]));
        check(&[64, 16, 4, 1], None);
        check(&[40, 8, 8, 8, 8], Some([1, 5]));
        check(&[32, 8, 8, 8, 30, 32], Some([2, 6]));
        check(&[64, 8, 8, 8, 64, 64], Some([2, 6]));
        let limit = MAX_PART_EVENTS / 4 + 1;
        check(&[limit, limit, limit, limit], None);
    }

    #[test]
    fn the_number_of_parts_grows_with_the_logarithm() {
        let mut parts: Vec<u64> = Vec::new();
        let mut most = 0;
        for _ in 0..10_000 {
            parts.push(8);
            loop {
                let sizes: Vec<_> = parts
                    .iter()
                    .map(|&bytes| Size {
                        bytes,
                        events: bytes,
                        numbers: bytes,
                    })
                    .collect();
                let Some(range) = pick(&sizes) else { break };
                let sum = parts[range.clone()].iter().sum();
                parts.splice(range, [sum]);
            }
            most = most.max(parts.len());
        }
        assert!(most <= 3 * 8, "{most} parts");
    }
}
