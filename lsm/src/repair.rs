//! Repair: what is left of a damaged store, as a new store.

use std::collections::BTreeMap;
use std::path::Path;

use durable_io::SyncMode;
use durable_io::engine::{self, RepairOptions, create_whole};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::limits::DEFAULT_KEYSPACE;
use crate::options::{KeyspaceOptions, Options};
use crate::salvage::Salvage;
use crate::salvaged_keyspace::SalvagedKeyspace;

/// Bytes of keys and values that are written at a time; more only for one value that is larger.
const BATCH: usize = 1 << 20;

/// What became of a damaged store in a new one: the count of its keys, and what is wrong.
pub type Repaired = engine::Repaired<Error>;

impl Options {
    /// Makes a new store in the directory `into` of all that can be believed of the damaged one in `dir`, which is
    /// read by [`salvage`](Options::salvage) and stays as it is: its medium may be failing, and what had to be given up
    /// is nowhere else. `into` must not exist, or be an empty directory; it can be on another file system, but not be
    /// the root of one. With these options the new store is made and can be opened.
    ///
    /// Keyspaces have their names and their options, unless [`keyspace`](Options::keyspace) gives others; one whose
    /// name is lost is called `lost keyspace 7`, after its id. A value that may be older than what was lost is left
    /// out and counted, since the new store cannot tell it from the others: [`RepairOptions::take_older`] takes those,
    /// too. If the end of the manifest is lost, that is every value. An earlier life of a keyspace that was cleared or
    /// made again is never taken. Versions begin anew.
    ///
    /// # Durability
    /// When this returns, the new store survives power loss, whatever the mode. A crash before that leaves nothing at
    /// `into`, or all of it, and perhaps a directory of that name with `.unfinished` behind it, which can be removed.
    ///
    /// # Cost
    /// That of [`salvage`](Options::salvage), and of writing all keys into a new store, within
    /// [`memory`](Options::memory).
    ///
    /// # Errors
    /// [`Error::Disk`] of kind `DirectoryNotEmpty` if there is something in `into`, or an unfinished directory; those of
    /// [`salvage`](Options::salvage), [`open`](Options::open) and [`Lsm::write`](crate::Lsm::write). There is no new store
    /// then. What is wrong with the damaged store is no error of this call: see [`Repaired`].
    pub fn repair(
        self,
        dir: impl AsRef<Path>,
        into: impl AsRef<Path>,
        how: &RepairOptions,
    ) -> Result<Repaired> {
        self.check()?;
        let salvage = self.clone().salvage(dir)?;
        let disk = self.disk.clone();
        // Durable: the name of the new store, which is whole. Only now may the caller rely on it.
        create_whole(&disk, into.as_ref(), |at| fill(self, salvage, at, how))
    }
}

/// Makes a store in `at` of what `salvage` gives.
fn fill(options: Options, salvage: Salvage, at: &Path, how: &RepairOptions) -> Result<Repaired> {
    let names = names(salvage.keyspaces());
    let given = options.keyspaces.clone();
    let made_like = |id: u32, name: &str| -> KeyspaceOptions {
        let known = salvage.options(id).filter(|known| known.is_supported());
        let like = given.get(name).or(known);
        like.map_or_else(KeyspaceOptions::new, KeyspaceOptions::clone)
    };
    let default = names.iter().find(|(_, name)| *name == DEFAULT_KEYSPACE);
    let default = made_like(default.map_or(0, |(id, _)| *id), DEFAULT_KEYSPACE);
    let db = options
        .sync(SyncMode::Manual)
        .keyspace(DEFAULT_KEYSPACE, default)
        .open(at)?;
    let mut keyspaces = BTreeMap::new();
    for (id, name) in names {
        let keyspace = if name == DEFAULT_KEYSPACE {
            db.keyspace(&name)?
        } else {
            db.create_keyspace(&name, &made_like(id, &name))?
        };
        keyspaces.insert(id, keyspace);
    }
    let (mut repaired, mut batch) = (Repaired::default(), Batch::new());
    for item in salvage {
        match item {
            Err(error) => repaired.note(error),
            Ok(salvaged) => match keyspaces.get(&salvaged.keyspace.id) {
                None => repaired.left_out += 1,
                Some(keyspace) => {
                    if repaired.takes(how, salvaged.may_be_older) {
                        batch = batch.put_in(keyspace, &salvaged.key, &salvaged.value);
                    }
                    if batch.byte_len() >= BATCH {
                        db.write(std::mem::take(&mut batch))?;
                    }
                }
            },
        }
    }
    db.write(batch)?;
    // Durable: everything in the new store. Only now may it get its name.
    db.close()?;
    Ok(repaired)
}

/// What each of the keyspaces is called in the new store. An earlier life of a name has none.
fn names(all: &[SalvagedKeyspace]) -> BTreeMap<u32, String> {
    let known = all
        .iter()
        .filter_map(|one| Some((one.name.as_deref()?, one.id)));
    // In the order of the ids: the last life of each name stays.
    let last: BTreeMap<&str, u32> = known.collect();
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    names.extend(last.iter().map(|(name, id)| (*id, (*name).to_owned())));
    for lost in all.iter().filter(|one| one.name.is_none()) {
        let is_default = lost.id == 0 && !last.contains_key(DEFAULT_KEYSPACE);
        let mut name = if is_default {
            DEFAULT_KEYSPACE.to_owned()
        } else {
            format!("lost {lost}")
        };
        while last.contains_key(&*name) {
            name.push('\'');
        }
        names.insert(lost.id, name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_life_of_a_name_has_it_and_a_lost_name_takes_none_away() {
        let keyspace = |(id, name): (u32, Option<&str>)| SalvagedKeyspace {
            id,
            name: name.map(Into::into),
        };
        let check = |all: &[(u32, Option<&str>)], expected: &[(u32, &str)]| {
            let all: Vec<_> = all.iter().copied().map(keyspace).collect();
            let expected = expected.iter().map(|(id, name)| (*id, (*name).to_owned()));
            assert_eq!(names(&all), expected.collect());
        };
        check(
            &[(0, None), (3, None)],
            &[(0, "default"), (3, "lost keyspace 3")],
        );
        check(
            &[(0, Some("default")), (2, Some("default"))],
            &[(2, "default")],
        );
        check(
            &[
                (0, None),
                (1, Some("default")),
                (2, Some("lost keyspace 0")),
            ],
            &[
                (0, "lost keyspace 0'"),
                (1, "default"),
                (2, "lost keyspace 0"),
            ],
        );
    }
}
