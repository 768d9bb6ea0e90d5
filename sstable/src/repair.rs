//! Repair: what is left of a damaged table, as a new table.

use std::io;
use std::sync::Arc;

use durable_io::Dir;
use durable_io::engine::{self, LostKeys, RepairOptions};

use crate::entry::{Entry, Kind};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::salvage::Salvage;

/// What became of a damaged table in a new one: the count of its entries, and what is wrong.
pub type Repaired = engine::Repaired<Error>;

impl Options {
    /// Makes a new table, `name` of `into`, of all that can be believed of a damaged one, which stays as it is: its
    /// medium may be failing, and what had to be given up is nowhere else. `damaged` is of
    /// [`Table::salvage`](crate::Table::salvage), or of [`Table::salvage_as`](crate::Table::salvage_as) if header and
    /// footer are lost. The new table is made with these options, and says what the damaged one was made to say
    /// ([`property`](Options::property)), if that can be read.
    ///
    /// A value is left out, and counted, if a newer version of its key, or a range tombstone over it, may be lost: the
    /// new table cannot tell it from the others. [`RepairOptions::take_older`] takes those, too. Deletions are always
    /// taken.
    ///
    /// ```
    /// use sstable::{Options, RepairOptions, Table};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let temp = tempfile::tempdir()?;
    /// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
    /// # let mut writer = Options::new().create(&dir, "t")?;
    /// # for n in 0..1000_u32 {
    /// #     writer.put(&n.to_be_bytes(), &[7; 100])?;
    /// # }
    /// # writer.finish()?;
    /// // A disk has forgotten what was in one of the blocks.
    /// dir.open("t")?.write_all_at(&[0; 100], 20_000)?;
    /// let damaged = Table::salvage(&dir, "t")?;
    /// let repaired = Options::new().repair(damaged, &dir, "new", &RepairOptions::new())?;
    /// assert!(repaired.taken > 900 && repaired.taken < 1000);
    /// println!("{}", repaired.errors[0]); // between which keys some are lost
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Durability
    /// As [`Writer::finish`](crate::Writer::finish): the new table appears whole or not at all, and survives power loss
    /// when this returns.
    ///
    /// # Cost
    /// Reads the damaged table and writes the new one.
    ///
    /// # Errors
    /// [`Error::Disk`] of kind `AlreadyExists` if `into` has a file `name`; [`Error::Empty`] if nothing is left. Those of
    /// [`create`](Options::create), [`Writer::add`](crate::Writer::add) and [`Writer::finish`](crate::Writer::finish).
    /// There is no new table then. What is wrong with the damaged table is no error of this call: see [`Repaired`].
    pub fn repair(
        &self,
        damaged: Salvage,
        into: &Dir,
        name: &str,
        how: &RepairOptions,
    ) -> Result<Repaired> {
        if into.list()?.iter().any(|entry| entry.name == name) {
            return Err(Error::Disk(durable_io::Error::Io {
                op: durable_io::Op::Create,
                path: into.path().join(name),
                offset: None,
                source: Arc::new(io::ErrorKind::AlreadyExists.into()),
            }));
        }
        let mut options = self.clone();
        for (name, value) in damaged.properties().into_iter().flat_map(|all| &all.user) {
            options = options.property(name.clone(), value.clone());
        }
        let mut writer = options.create(into, name)?;
        for tombstone in damaged.range_tombstones() {
            writer.add_range_tombstone(tombstone)?;
        }
        let mut repaired = Repaired::default();
        // Of what came so far, and does not end before the entry that is next.
        let mut lost: Vec<LostKeys> = Vec::new();
        for item in damaged {
            let entry = match item {
                Ok(entry) => entry,
                Err(error) => {
                    if let Error::Lost(what) = &error {
                        lost.push(what.keys.clone());
                    }
                    repaired.note(error);
                    continue;
                }
            };
            lost.retain(|keys| !keys.end_before(&entry.key));
            let is_newer = || lost.iter().any(|keys| keys.contains(&entry.key));
            if repaired.takes(how, entry.kind == Kind::Put && is_newer()) {
                writer.add(Entry {
                    key: &entry.key,
                    version: entry.version,
                    kind: entry.kind,
                    value: &entry.value,
                })?;
            }
        }
        writer.finish()?;
        Ok(repaired)
    }
}
