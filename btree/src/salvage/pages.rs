//! What is left of the page file: the slots, and the catalog of one of them.

use std::collections::{BTreeMap, VecDeque};

use durable_io::Dir;

use crate::catalog::TableEntry;
use crate::error::{Corruption, Error, Lost, Result};
use crate::meta::{SLOTS, Slot, read_slot};
use crate::names;
use crate::pager::Pager;
use crate::salvage::Known;
use crate::salvage::walk::Walk;

/// The slot that is believed, and the pages; `None` if there is no such slot.
///
/// # Errors
/// [`Error::UnsupportedVersion`].
pub(super) fn find(dir: &Dir, told: &mut VecDeque<Error>) -> Result<Option<(Slot, Pager)>> {
    let file = match dir.open_read_only(names::PAGES) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => {
            let path = dir.path().join(names::PAGES);
            told.push_back(Error::corrupt(&path, 0, Corruption::PagesLost));
            return Ok(None);
        }
        Err(error) => {
            told.push_back(error.into());
            return Ok(None);
        }
    };
    let mut slots = Vec::new();
    for offset in SLOTS {
        match read_slot(&file, offset) {
            Ok(Some(slot)) => slots.push(slot),
            Ok(None) => told.push_back(Error::corrupt(file.path(), offset, Corruption::Checksum)),
            Err(newer @ Error::UnsupportedVersion(_)) => return Err(newer),
            Err(error) => told.push_back(error),
        }
    }
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.generation));
    let pager = |slot: Slot| {
        // Nothing is kept in memory.
        let pager = Pager::new(file.clone(), slot.page_size, slot.store_id, 0);
        (slot, pager)
    };
    if let [newer, older] = *slots
        && newer != older
        && !is_whole(&pager(newer))
        && is_whole(&pager(older))
    {
        return Ok(Some(pager(older)));
    }
    let Some(newest) = slots.first() else {
        told.push_back(Error::corrupt(file.path(), 0, Corruption::Slots));
        return Ok(None);
    };
    Ok(Some(pager(*newest)))
}

/// True if everything of the slot can be read.
fn is_whole((slot, pager): &(Slot, Pager)) -> bool {
    let (mut tables, mut told) = (BTreeMap::new(), VecDeque::new());
    read_catalog(pager, slot, &mut tables, &mut told);
    let is_whole = |known: &Known| {
        let mut walk = Walk::new(known.entry.and_then(|entry| entry.tree.root));
        std::iter::from_fn(|| walk.next(pager)).all(|item| item.is_ok())
    };
    told.is_empty() && tables.values().all(is_whole)
}

/// The tables that `slot` leads to, by id.
pub(super) fn read_catalog(
    pager: &Pager,
    slot: &Slot,
    tables: &mut BTreeMap<u64, Known>,
    told: &mut VecDeque<Error>,
) {
    let mut walk = Walk::new(slot.state.catalog.root);
    while let Some(item) = walk.next(pager) {
        let entry = match item {
            Ok(entry) => entry,
            Err(missing) => {
                told.push_back(Error::Lost(Box::new(Lost {
                    table: None,
                    what: "tables",
                    keys: missing.keys,
                    source: missing.source,
                })));
                continue;
            }
        };
        let Some(table) = TableEntry::decode(&entry.value) else {
            told.push_back(pager.corrupt(0, Corruption::Record));
            continue;
        };
        let known = Known {
            name: Some(String::from_utf8_lossy(&entry.key).into()),
            entry: Some(table),
            ..Known::default()
        };
        tables.insert(table.id, known);
    }
}
