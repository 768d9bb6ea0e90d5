//! Point reads: one key, or many together.

use durable_io::engine::Value;

use crate::error::{Error, Result};
use crate::keydir::{AtVersion, Found, Spot, Wanted};
use crate::store::Store;

/// So many keys are looked for together: enough that the memory of the first ones comes while the others are
/// asked for, and few enough that it is still in the cache when it is needed.
const TOGETHER: usize = 64;

impl AtVersion {
    /// The record of `key`.
    fn find(self, key: &[u8]) -> Result<Option<Found>> {
        match self {
            Self::Was(old) => old.map_or(Ok(None), |spot| spot.read(key)),
            Self::Is(spots) => spots.find(key),
        }
    }

    /// Asks for the memory of the record that is probably the one.
    fn fetch(&self) {
        let spot = match self {
            Self::Was(old) => old.as_ref(),
            Self::Is(spots) => spots.first(),
        };
        if let Some(spot) = spot {
            spot.fetch();
        }
    }
}

impl Spot {
    /// Asks for the memory of the first lines of the record, so that it comes while something else is done.
    fn fetch(&self) {
        const LINE: usize = 64;
        if let Some(mapped) = self.file.mapped_from(self.offset) {
            for line in 0..3 {
                std::hint::black_box(mapped.get(line * LINE).copied());
            }
        }
    }
}

impl Store {
    /// The record of `key`.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Found>> {
        let hash = self.keydir.hasher.hash(key);
        if let Some(version) = self.last_good() {
            return self.find_at(hash, key, version);
        }
        let found = self.keydir.spots(hash).find(key);
        self.settle(found, hash, key)
    }

    /// What was found of `key` without a version.
    #[inline]
    fn settle(&self, found: Result<Option<Found>>, hash: u64, key: &[u8]) -> Result<Option<Found>> {
        let error = match found {
            Err(error @ Error::Corrupt { .. }) => error,
            found => return found,
        };
        match self.last_good() {
            // The failure came in between, and the kernel has dropped what was found.
            Some(version) => self.find_at(hash, key, version),
            None => Err(self.of_key_if_damaged(error, hash, key)),
        }
    }

    /// `error`, of a record that may be that of `key`, with the key if it is.
    #[cold]
    fn of_key_if_damaged(&self, error: Error, hash: u64, key: &[u8]) -> Error {
        let damaged = self.keydir.damaged_of(self.dir(), hash, Some(key));
        error.of_key(damaged.map(|_| key.to_vec()))
    }

    /// The record that `key` had at `version`.
    pub(crate) fn find_at(&self, hash: u64, key: &[u8], version: u64) -> Result<Option<Found>> {
        self.keydir.at_version(hash, key, version).find(key)
    }

    /// The values that `keys` have, or had at `version`, in their order.
    ///
    /// They are looked for in the order of the index, many together: in each step memory is waited for that
    /// does not depend on what the step finds for the key before.
    pub(crate) fn find_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        version: Option<u64>,
    ) -> Result<Vec<Option<Value>>> {
        let mut values = vec![None; keys.len()];
        let wanted = keys.iter().enumerate().map(|(place, key)| {
            let key = key.as_ref();
            let hash = self.keydir.hasher.hash(key);
            Wanted { hash, key, place }
        });
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort_unstable_by_key(|wanted| wanted.hash);
        for together in wanted.chunks(TOGETHER) {
            let version = version.or_else(|| self.last_good());
            let seen = self.keydir.look_for(together, version);
            seen.iter().for_each(AtVersion::fetch);
            for (seen, &Wanted { hash, key, place }) in seen.into_iter().zip(together) {
                let mut found = seen.find(key);
                if version.is_none() {
                    found = self.settle(found, hash, key);
                }
                let value = values.get_mut(place);
                *value.expect("a key has a place among those that were asked for") =
                    found?.and_then(Found::into_value);
            }
        }
        Ok(values)
    }
}
