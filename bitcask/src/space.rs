//! How the data files use their space.

use std::collections::BTreeSet;

use crate::data_file::DataFile;
use crate::policy::Plan;
use crate::record::Kind;
use crate::stats::{FileSpace, Why};
use crate::store::{Store, add};

impl Store {
    /// How each file uses its space, oldest first.
    pub(crate) fn explain_space(&self) -> Vec<FileSpace> {
        // A merge that somebody waits for holds the lock to its end: its files are due, then.
        let merging = self.merge.try_lock().ok();
        let merging = merging.map_or_else(BTreeSet::new, |merging| merging.inputs());
        let plan = Plan::new(&self.files(), &self.settings.policy, &merging);
        plan.files
            .into_iter()
            .map(|(file, why)| file.space(why))
            .collect()
    }
}

impl DataFile {
    pub(crate) fn live_bytes(&self) -> u64 {
        let (dead, tombstones) = self.counts.load();
        self.group_bytes().saturating_sub(dead + tombstones)
    }

    pub(crate) fn has_tombstones(&self) -> bool {
        self.counts.load().1 > 0
    }

    /// Counts the record in `bytes`, at `offset`, which the index does not name.
    pub(crate) fn note_unnamed(&self, bytes: &[u8], offset: u64) {
        let Ok(record) = self.decode(bytes, offset) else {
            return;
        };
        let counter = match record.kind {
            Kind::Put => &self.counts.dead,
            Kind::Delete => &self.counts.tombstones,
        };
        add(counter, record.size() as u64);
    }

    fn space(&self, why: Why) -> FileSpace {
        let (dead_bytes, tombstone_bytes) = self.counts.load();
        FileSpace {
            number: self.number,
            bytes: self.group_bytes(),
            live_bytes: self.live_bytes(),
            dead_bytes,
            tombstone_bytes,
            why,
        }
    }
}
