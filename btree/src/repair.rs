//! Repair: what is left of a damaged store, as a new store.

use std::iter::{self, Peekable};
use std::path::Path;

use durable_io::SyncMode;
use durable_io::engine::{self, RepairOptions, create_whole};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::salvage::Salvage;
use crate::salvaged_table::SalvagedTable;

/// What became of a damaged store in a new one: the count of its entries, and what is wrong.
pub type Repaired = engine::Repaired<Error>;

impl Options {
    /// Makes a new store in the directory `into` of all that can be believed of the damaged one in `dir`, which is
    /// read by [`salvage`](Options::salvage) and stays as it is: its medium may be failing, and what had to be given up
    /// is nowhere else. `into` must not exist, or be an empty directory; it can be on another file system, but not be
    /// the root of one. With these options the new store is made and can be opened; it has the page size of the
    /// damaged one, unless [`page_size`](Options::page_size) gives another.
    ///
    /// Tables have their names; one whose name is lost, or that has the same as another one, is called `lost table 7`,
    /// after its id. A value that may be older than what was lost is left out and counted, since the new store cannot
    /// tell it from the others: [`RepairOptions::take_older`] takes those, too. If a transaction is lost, that is every
    /// entry that no later one has changed.
    ///
    /// # Durability
    /// When this returns, the new store survives power loss, whatever the mode. A crash before that leaves nothing at
    /// `into`, or all of it, and perhaps a directory of that name with `.unfinished` behind it, which can be removed.
    ///
    /// # Cost
    /// That of [`salvage`](Options::salvage), and of a [bulk load](crate::TableMut::bulk_load) of each table.
    ///
    /// # Errors
    /// [`Error::Disk`] of kind `DirectoryNotEmpty` if there is something in `into`, or an unfinished directory; those of
    /// [`salvage`](Options::salvage), [`open`](Options::open) and
    /// [`bulk_load`](crate::TableMut::bulk_load). There is no new store then. What is wrong with the damaged store is no
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
    options.page_size = options.page_size.or(salvage.page_size());
    let store = options.sync(SyncMode::Manual).open(at)?;
    let names = names(salvage.tables());
    let (mut repaired, mut items) = (Repaired::default(), salvage.peekable());
    for (id, name) in names {
        let mut write = store.begin_write()?;
        let mut table = write.create_table(&name)?;
        table.bulk_load(iter::from_fn(|| next(id, &mut items, &mut repaired, how)))?;
        write.commit()?;
    }
    items
        .filter_map(Result::err)
        .for_each(|error| repaired.note(error));
    // Durable: everything in the new store. Only now may it get its name.
    store.close()?;
    Ok(repaired)
}

/// The next entry of table `id` that is taken; none if the next one is of another table.
fn next(
    id: u64,
    items: &mut Peekable<Salvage>,
    repaired: &mut Repaired,
    how: &RepairOptions,
) -> Option<(Vec<u8>, Vec<u8>)> {
    loop {
        let is_of_table = |item: &Result<_>| {
            let of: Option<&crate::Salvaged> = item.as_ref().ok();
            of.is_none_or(|salvaged| salvaged.table.id == id)
        };
        match items.next_if(is_of_table)? {
            Err(error) => repaired.note(error),
            Ok(salvaged) => {
                if repaired.takes(how, salvaged.may_be_older) {
                    return Some((salvaged.key, salvaged.value));
                }
            }
        }
    }
}

/// What each of the tables is called in the new store, in their order.
fn names(all: &[SalvagedTable]) -> Vec<(u64, String)> {
    let has = |name: &str| {
        all.iter()
            .filter(|one| one.name.as_deref() == Some(name))
            .count()
    };
    let called = |table: &SalvagedTable| match &table.name {
        // If two have it, one of them lost it by a record that is lost.
        Some(name) if has(name) == 1 => name.to_string(),
        _ => {
            let mut name = format!("lost table {}", table.id);
            while has(&name) > 0 {
                name.push('\'');
            }
            name
        }
    };
    all.iter().map(|table| (table.id, called(table))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_only_if_it_is_that_of_one_table() {
        let check = |all: &[(u64, Option<&str>)], expected: &[&str]| {
            let table = |&(id, name): &(u64, Option<&str>)| SalvagedTable {
                id,
                name: name.map(Into::into),
            };
            let all: Vec<_> = all.iter().map(table).collect();
            let called: Vec<_> = names(&all).into_iter().map(|(_, name)| name).collect();
            assert_eq!(called, expected);
        };
        check(&[(1, Some("a")), (2, None)], &["a", "lost table 2"]);
        check(
            &[(1, Some("a")), (2, Some("b")), (3, Some("a"))],
            &["lost table 1", "b", "lost table 3"],
        );
        check(
            &[(1, None), (2, Some("lost table 1"))],
            &["lost table 1'", "lost table 1"],
        );
    }
}
