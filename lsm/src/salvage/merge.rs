//! The tables and the log of one keyspace as one: of each key the newest that can be read.

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::iter::Peekable;
use std::ops::Bound;

use durable_io::engine::LostKeys;
use sstable::compaction::Retention;
use sstable::{Kind, RangeTombstone, Table, covering};

use crate::error::{Error, Lost};
use crate::salvage::log::{Log, Operation};
use crate::salvage::manifest::Edits;
use crate::salvage::tables::{Found, Tables};
use crate::salvage::{Newer, Salvaged};
use crate::salvaged_keyspace::SalvagedKeyspace;

/// What is left of one keyspace.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) keyspace: SalvagedKeyspace,
    log: Peekable<btree_map::IntoIter<Vec<u8>, Operation>>,
    chains: Vec<Chain>,
    /// The chains stand on their first entries.
    has_begun: bool,
    /// Fragments, of everything.
    range_tombstones: Vec<RangeTombstone>,
    /// What is lost, and does not end before the key that is next.
    lost: Vec<Newer>,
    /// Nothing says what else there was.
    is_partial: bool,
}

/// Tables of which each begins where the one before has ended.
#[derive(Debug, Default)]
struct Chain {
    rest: VecDeque<Found>,
    open: Option<(Found, sstable::Salvage)>,
    head: Option<sstable::Salvaged>,
}

/// What is found of a key.
struct Newest {
    version: u64,
    rank: usize,
    value: Option<Vec<u8>>,
}

/// Every keyspace that something is known of.
pub(super) fn keyspaces(
    manifest: &Edits,
    mut tables: BTreeMap<u32, Tables>,
    mut log: Log,
) -> Vec<Merged> {
    let known = manifest.root.iter().flat_map(|root| root.keyspaces.keys());
    let known = known.chain(tables.keys()).chain(log.operations.keys());
    let mut ids: Vec<u32> = known.copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let keyspace = |id| {
        let Tables {
            found,
            range_tombstones: mut ranges,
            mut lost,
        } = std::mem::take(tables.entry(id).or_default());
        let operations = log.operations.remove(&id);
        let flushed = manifest.whole().and_then(|root| root.keyspaces.get(&id));
        if flushed.is_none_or(|keyspace| log.lost > keyspace.flushed.0) && log.lost > 0 {
            lost.push(Newer {
                keys: LostKeys::ALL,
                version: log.lost,
                rank: 0,
            });
        }
        let (mut newest, mut of_log) = (BTreeMap::new(), Vec::new());
        if let Some(operations) = operations {
            (newest, of_log) = (operations.newest, operations.range_tombstones);
        }
        ranges.append(&mut of_log);
        Merged {
            keyspace: manifest.keyspace(id),
            log: newest.into_iter().peekable(),
            chains: chains(found),
            has_begun: false,
            // Nobody reads older versions here.
            range_tombstones: Retention::new().fragments(ranges),
            lost,
            is_partial: !manifest.is_whole,
        }
    };
    ids.into_iter().map(keyspace).collect()
}

/// As few chains as there can be.
fn chains(mut tables: Vec<Found>) -> Vec<Chain> {
    let first = |table: &Found| table.range.as_ref().map(|(first, _)| first.clone());
    tables.sort_by_key(first);
    let mut chains: Vec<(Chain, Option<Bound<Vec<u8>>>)> = Vec::new();
    for table in tables {
        let (first, last) = match &table.range {
            Some((first, last)) => (first.clone(), Some(last.clone())),
            // Where it begins is not known, nor where it ends.
            None => (Vec::new(), None),
        };
        let is_before = |end: &Option<Bound<Vec<u8>>>| match end {
            Some(Bound::Included(end)) => *end < first,
            Some(Bound::Excluded(end)) => *end <= first,
            _ => false,
        };
        if let Some((chain, end)) = chains.iter_mut().find(|(_, end)| is_before(end)) {
            chain.rest.push_back(table);
            *end = last;
        } else {
            let mut chain = Chain::default();
            chain.rest.push_back(table);
            chains.push((chain, last));
        }
    }
    chains.into_iter().map(|(chain, _)| chain).collect()
}

impl Merged {
    /// The next key that has a value; what is wrong before it is told.
    pub(super) fn next(&mut self, told: &mut VecDeque<Error>) -> Option<Salvaged> {
        if !std::mem::replace(&mut self.has_begun, true) {
            for chain in &mut self.chains {
                chain.advance(&self.keyspace, &mut self.lost, told);
            }
        }
        loop {
            let key = self.next_key()?;
            let newest = self.take(&key, told);
            self.lost.retain(|lost| !lost.keys.end_before(&key));
            let covered = covering(&self.range_tombstones, &key, u64::MAX);
            let Some(Newest {
                version,
                rank,
                value: Some(value),
            }) = newest.filter(|newest| covered.is_none_or(|by| by < newest.version))
            else {
                continue;
            };
            let is_newer = |lost: &Newer| {
                lost.version > version && lost.rank <= rank && lost.keys.contains(&key)
            };
            return Some(Salvaged {
                keyspace: self.keyspace.clone(),
                may_be_older: self.is_partial || self.lost.iter().any(is_newer),
                key,
                value,
            });
        }
    }

    fn next_key(&mut self) -> Option<Vec<u8>> {
        let heads = self.chains.iter().filter_map(|chain| chain.head.as_ref());
        let heads = heads.map(|head| &head.key);
        heads
            .chain(self.log.peek().map(|(key, _)| key))
            .min()
            .cloned()
    }

    /// Takes all that there is of `key`: the newest of it.
    fn take(&mut self, key: &[u8], told: &mut VecDeque<Error>) -> Option<Newest> {
        let of_log = self.log.next_if(|(next, _)| next == key);
        let mut newest = of_log.map(|(_, Operation { version, value })| Newest {
            version,
            rank: 0,
            value,
        });
        for chain in &mut self.chains {
            while let Some(head) = chain.head.take_if(|head| head.key == key) {
                let rank = chain.rank();
                if newest
                    .as_ref()
                    .is_none_or(|newest| newest.version < head.version)
                {
                    newest = Some(Newest {
                        version: head.version,
                        rank,
                        value: (head.kind == Kind::Put).then_some(head.value),
                    });
                }
                chain.advance(&self.keyspace, &mut self.lost, told);
            }
        }
        newest
    }
}

impl Chain {
    /// The rank of the table that is open.
    fn rank(&self) -> usize {
        self.open.as_ref().map_or(0, |(table, _)| table.rank)
    }

    /// Goes to the next entry; what is lost before it is told, and noted.
    fn advance(
        &mut self,
        keyspace: &SalvagedKeyspace,
        lost: &mut Vec<Newer>,
        told: &mut VecDeque<Error>,
    ) {
        let mut to = Told {
            keyspace,
            lost,
            errors: told,
        };
        loop {
            let Some((table, salvage)) = &mut self.open else {
                let Some(table) = self.rest.pop_front() else {
                    return;
                };
                let opened = match table.file_id {
                    Some(id) => Table::salvage_as(&table.dir, &table.name, id),
                    None => Table::salvage(&table.dir, &table.name),
                };
                match opened {
                    Ok(salvage) => self.open = Some((table, salvage)),
                    Err(error) => to.lose(&table, "entries", table.keys(), error.into()),
                }
                continue;
            };
            match salvage.next() {
                None => self.open = None,
                Some(Ok(entry)) => {
                    self.head = Some(entry);
                    return;
                }
                Some(Err(sstable::Error::Lost(its))) => {
                    to.lose(table, its.what, its.keys, its.source.into());
                }
                Some(Err(error)) => to.errors.push_back(error.into()),
            }
        }
    }
}

/// Where what is lost goes.
struct Told<'a> {
    keyspace: &'a SalvagedKeyspace,
    lost: &'a mut Vec<Newer>,
    errors: &'a mut VecDeque<Error>,
}

impl Told<'_> {
    fn lose(&mut self, table: &Found, what: &'static str, keys: LostKeys, source: Error) {
        self.lost.push(Newer {
            keys: keys.clone(),
            version: table.newest,
            rank: table.rank,
        });
        self.errors.push_back(Error::Lost(Box::new(Lost {
            keyspace: self.keyspace.clone(),
            what,
            keys,
            source,
        })));
    }
}
