//! [`Cache`]: recent entries, so that replication reads nothing from the log.

use std::collections::VecDeque;
use std::sync::Arc;

use wal::Lsn;

/// Entries by the LSN of their record, ascending, the latest up to a number of bytes. A position is never given to
/// two records while the log is open, so nothing in it is ever wrong; what counts no more is dropped with time.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: VecDeque<(Lsn, Arc<[u8]>)>,
    bytes: u64,
    limit: u64,
}

/// What an entry costs beside its data, about.
const OVERHEAD: u64 = 64;

impl Cache {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Puts the entry of the record at `lsn`, which was written after all that are here.
    pub(crate) fn put(&mut self, lsn: Lsn, data: &[u8]) {
        let size = data.len() as u64 + OVERHEAD;
        if size > self.limit {
            return;
        }
        self.bytes += size;
        self.entries.push_back((lsn, data.into()));
        while self.bytes > self.limit
            && let Some((_, oldest)) = self.entries.pop_front()
        {
            self.bytes -= oldest.len() as u64 + OVERHEAD;
        }
    }

    pub(crate) fn get(&self, lsn: Lsn) -> Option<Arc<[u8]>> {
        let at = self.entries.binary_search_by_key(&lsn, |(lsn, _)| *lsn);
        let (_, data) = self.entries.get(at.ok()?)?;
        Some(Arc::clone(data))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_what_is_too_large_is_not_taken() {
        let mut cache = Cache::new(2 * (OVERHEAD + 10));
        for lsn in 1..=3 {
            cache.put(Lsn(lsn), &[0; 10]);
        }
        cache.put(Lsn(4), &[0; 1000]);
        let kept: Vec<u64> = cache.entries.iter().map(|(lsn, _)| lsn.0).collect();
        assert_eq!(kept, [2, 3]);
        assert_eq!(cache.bytes(), 2 * (OVERHEAD + 10));
        assert!(cache.get(Lsn(1)).is_none() && cache.get(Lsn(2)).is_some());
    }
}
