//! Records that are damaged: whose they are, as far as something intact says so. Then they are superseded as
//! any other; else they are nobody's, and stay reported.

use durable_io::Dir;

use crate::batch::Superseded;
use crate::data_file::DataFile;
use crate::error::Error;
use crate::hint::Hint;
use crate::keydir::{Keydir, Spot};
use crate::record::RECORD_HEADER_SIZE;
use crate::store::Store;

impl DataFile {
    /// The hash of the key of the record at `offset`, as the hint has it.
    pub(crate) fn hinted_hash(&self, dir: &Dir, offset: u64) -> Option<u64> {
        Hint::load(dir, self.sealed.as_ref()?)?.hash_at(offset)
    }
}

impl Spot {
    /// The damaged record here, if it is that of the key with this hash: the index has named it for 38 bits
    /// of the hash, so it is if the bytes of the key are still there, or the hint has all 64.
    fn damaged_of(&self, dir: &Dir, hash: u64, key: Option<&[u8]>) -> Option<Superseded> {
        let (its, size) = self
            .file
            .unchecked(self.offset)
            .unwrap_or((Vec::new(), RECORD_HEADER_SIZE as u64));
        let is_same = key == Some(&*its) || self.file.hinted_hash(dir, self.offset) == Some(hash);
        is_same.then(|| Superseded {
            spot: self.clone(),
            size,
        })
    }
}

impl Keydir {
    /// Among the records that may be that of a key with this hash, one that cannot be read and is.
    pub(crate) fn damaged_of(
        &self,
        dir: &Dir,
        hash: u64,
        key: Option<&[u8]>,
    ) -> Option<Superseded> {
        let spots = self.spots(hash).into_iter();
        let mut damaged = spots.filter(|spot| spot.key().is_err());
        damaged.find_map(|spot| spot.damaged_of(dir, hash, key))
    }
}

impl Store {
    /// `error`, met at `spot`, with the key whose record that is, if its bytes still say so.
    pub(crate) fn name_key(&self, error: Error, file: &DataFile, offset: u64) -> Error {
        let key = file.unchecked(offset).map(|(key, _)| key);
        let loc = crate::table::Loc::new(file.slot, offset);
        let named = key.filter(|key| self.keydir.names(self.keydir.hasher.hash(key), loc));
        error.of_key(named)
    }
}
