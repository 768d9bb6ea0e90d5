//! Looking for many keys together.

use super::{AtVersion, Inner, Keydir, fingerprint, shard_of};

/// A key that is looked for, and its place among those that were asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'k> {
    pub(crate) hash: u64,
    pub(crate) key: &'k [u8],
    pub(crate) place: usize,
}

impl Inner {
    /// What is to be known of a key as of `version`, or now.
    pub(super) fn seen(&self, hash: u64, key: &[u8], version: Option<u64>) -> AtVersion {
        let change = version.and_then(|version| self.first_change(hash, key, version));
        match change {
            Some(change) => AtVersion::Was(change.old.clone()),
            None => AtVersion::Is(self.spots(hash)),
        }
    }
}

impl Keydir {
    /// What is to be known of each of the keys, which are in the order of their hashes, as of `version`, or now.
    pub(crate) fn look_for(&self, wanted: &[Wanted<'_>], version: Option<u64>) -> Vec<AtVersion> {
        // The locks of all shards first: taking one in between would wait for the memory that was asked for before.
        // Always in the order of the shards, so that no readers wait for each other with writers between them.
        let is_same_shard = |a: &Wanted<'_>, b: &Wanted<'_>| shard_of(a.hash) == shard_of(b.hash);
        let runs = wanted.chunk_by(is_same_shard).filter_map(|run| {
            let shard = self.read(shard_of(run.first()?.hash))?;
            Some((shard, run))
        });
        let runs: Vec<_> = runs.collect();
        for (shard, run) in &runs {
            for wanted in *run {
                shard.table.fetch(fingerprint(wanted.hash));
            }
        }
        let seen = runs.iter().flat_map(|(shard, run)| {
            let seen = |wanted: &Wanted<'_>| shard.seen(wanted.hash, wanted.key, version);
            run.iter().map(seen)
        });
        seen.collect()
    }
}
