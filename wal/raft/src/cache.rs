//! [`Cache`]: recent entries, so that replication reads nothing from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use wal::Lsn;

/// Entries by the LSN of their record, the latest up to a number of bytes. A position is never given to two
/// records while the log is open, so nothing in it is ever wrong; what counts no more is dropped with time.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: BTreeMap<Lsn, Arc<[u8]>>,
    bytes: u64,
    limit: u64,
}

/// What an entry costs beside its data, about.
const OVERHEAD: u64 = 64;

impl Cache {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
            limit,
        }
    }

    pub(crate) fn put(&mut self, lsn: Lsn, data: &[u8]) {
        let size = data.len() as u64 + OVERHEAD;
        if size > self.limit {
            return;
        }
        self.bytes += size;
        self.entries.insert(lsn, data.into());
        while self.bytes > self.limit
            && let Some((_, oldest)) = self.entries.pop_first()
        {
            self.bytes -= oldest.len() as u64 + OVERHEAD;
        }
    }

    pub(crate) fn get(&self, lsn: Lsn) -> Option<Arc<[u8]>> {
        self.entries.get(&lsn).cloned()
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
        let kept: Vec<u64> = cache.entries.keys().map(|lsn| lsn.0).collect();
        assert_eq!(kept, [2, 3]);
        assert_eq!(cache.bytes(), 2 * (OVERHEAD + 10));
        assert!(cache.get(Lsn(1)).is_none() && cache.get(Lsn(2)).is_some());
    }
}
