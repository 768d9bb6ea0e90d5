//! Repair: what is left of a damaged store, as a new store.

use std::path::Path;

use durable_io::SyncMode;
use durable_io::engine::{self, RepairOptions, create_whole};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::salvage::{Salvage, Salvaged};

/// Bytes of keys and values that are written at a time; more only for one value that is larger.
const BATCH: u64 = 1 << 20;

/// What became of a damaged store in a new one: the count of its keys, and what is wrong.
pub type Repaired = engine::Repaired<Error>;

impl Options {
    /// Makes a new store in the directory `into` of all that can be believed of the damaged one in `dir`, which is
    /// read by [`salvage`](Options::salvage) and stays as it is: its medium may be failing, and what had to be given up
    /// is nowhere else. `into` must not exist, or be an empty directory; it can be on another file system, but not be
    /// the root of one. With these options the new store is made and can be opened.
    ///
    /// A value that may be older than what was lost is left out and counted, since the new store cannot tell it from
    /// the others: [`RepairOptions::take_older`] takes those, too. If the manifest is lost, that is every value.
    ///
    /// # Durability
    /// When this returns, the new store survives power loss, whatever the mode. A crash before that leaves nothing at
    /// `into`, or all of it, and perhaps a directory of that name with `.unfinished` behind it, which can be removed.
    ///
    /// # Cost
    /// That of [`salvage`](Options::salvage), and of writing all keys into a new store. Memory for every key, twice.
    ///
    /// # Errors
    /// [`Error::Disk`] of kind `DirectoryNotEmpty` if there is something in `into`, or an unfinished directory; those of
    /// [`salvage`](Options::salvage), [`open`](Options::open) and
    /// [`Bitcask::write`](crate::Bitcask::write). There is no new store then. What is wrong with the damaged store is no
    /// error of this call: see [`Repaired`].
    pub fn repair(
        self,
        dir: impl AsRef<Path>,
        into: impl AsRef<Path>,
        how: &RepairOptions,
    ) -> Result<Repaired> {
        let salvage = self.clone().salvage(dir)?;
        let disk = self.disk.clone();
        // Durable: the name of the new store, which is whole. Only now may the caller rely on it.
        create_whole(&disk, into.as_ref(), |at| fill(self, salvage, at, how))
    }
}

/// Makes a store in `at` of what `salvage` gives.
fn fill(
    mut options: Options,
    salvage: Salvage,
    at: &Path,
    how: &RepairOptions,
) -> Result<Repaired> {
    options.sync = SyncMode::Manual;
    let store = options.open(at)?;
    let (mut repaired, mut batch) = (Repaired::default(), Batch::new());
    for item in salvage {
        match item {
            Err(error) => repaired.note(error),
            Ok(Salvaged {
                key,
                value,
                may_be_older,
            }) => {
                if !repaired.takes(how, may_be_older) {
                    continue;
                }
                let size = (key.len() + value.len()) as u64;
                if !batch.is_empty() && batch.size() + size > BATCH {
                    store.write(std::mem::take(&mut batch))?;
                }
                batch = batch.put(&key, &value);
            }
        }
    }
    store.write(batch)?;
    // Durable: everything in the new store. Only now may it get its name.
    store.close()?;
    Ok(repaired)
}
