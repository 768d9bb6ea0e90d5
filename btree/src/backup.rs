//! Backups: the store as it is at one moment, in a directory of its own.
//!
//! Pages are written in place by both sides, so each is copied, and by what refers to it: in the order of the
//! keys, children before their parents, from the first place of a new file on. What is free in the store takes
//! no space in its backup. All pages get one new stamp, and the file an id of its own. The order on the disk:
//! the log, and only then the page file, without which the directory is no store.

use std::path::Path;

use durable_io::engine::open_empty_store;
use durable_io::{Background, File, SyncMode, Temp, made_durable, publish_temp};
use sdd::Shared;

use crate::catalog::TableEntry;
use crate::error::{Corruption, Result};
use crate::meta::{FIRST_GENERATION, META_SIZE, SLOTS, Slot, first_page};
use crate::names;
use crate::node::{self, HEADER, Kind, Node, Ref};
use crate::overflow::{self, Stored};
use crate::page::{Page, copy_of};
use crate::pager::Pager;
use crate::root::{Root, State, Tree};
use crate::space::{Growth, Purpose, Space};
use crate::stats::Backup;
use crate::store::Store;

/// Pages that are written at a time.
const RUN: usize = 64;

impl Store {
    /// Makes a backup in the directory `path`.
    pub(crate) fn backup(&self, path: &Path) -> Result<Backup> {
        self.pager.health.check()?;
        // Durable: the directory's own name. Only now may anything in it be relied on.
        // Redundant: the directory of the log is made in it, and that syncs this name too.
        let target = open_empty_store(&self.disk, path, names::LOCK)?;
        // As long as this is there, no page that it reaches is used for anything else.
        let (root, _kept) = self.keep_last_durable()?;
        let log = wal::Options::new()
            .sync(SyncMode::Always)
            .background(Background::Inline)
            .disk(self.disk.clone())
            .segment_size(self.log.segment_size())
            .first_lsn(root.lsn.next());
        // Durable: a log that begins behind what the pages hold. Only now may there be pages that need it.
        made_durable(|| log.open(path.join(names::LOG))?.close())?;
        let pages = Temp::create(target.dir(), names::PAGES)?;
        let ids = [self.disk.unique_id()?, self.disk.unique_id()?];
        let backup = NewFile::of(&self.pager, pages.file(), ids)?.everything(&root)?;
        // Durable: the page file, whole, and its name. Only now is there a store.
        publish_temp(pages)?;
        Ok(backup)
    }
}

/// A page file that is being made of another one.
struct NewFile<'a> {
    from: &'a Pager,
    to: Pager,
    space: Space,
    /// Of all of its pages.
    stamp: u64,
    /// Pages that are not written yet, in the order of their places.
    pages: Vec<(u32, Shared<Page>)>,
    done: Backup,
}

/// What the leaves of a tree hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Tables,
    Entries,
}

impl<'a> NewFile<'a> {
    /// An empty one in `file`.
    fn of(from: &'a Pager, file: &File, [store_id, stamp]: [u64; 2]) -> Result<Self> {
        let page_size = u32::try_from(from.page_size).expect("at most 32 KiB");
        let first = first_page(page_size);
        let to = Pager::new(file.clone(), page_size, store_id, 0);
        // A full disk is met here and where the space grows, before the file counts for anything.
        file.allocate(0, META_SIZE.max(to.offset(first)))?;
        let limits = Growth {
            step: u32::try_from(RUN).expect("a few"),
            reserve: 0,
        };
        Ok(Self {
            from,
            to,
            space: Space::new(
                first,
                first,
                first,
                std::collections::BTreeSet::new(),
                limits,
            ),
            stamp,
            pages: Vec::new(),
            done: Backup::default(),
        })
    }

    /// Copies everything that is in `root`, and says so in both slots.
    fn everything(mut self, root: &Root) -> Result<Backup> {
        let catalog = self.tree(root.catalog, Holds::Tables)?;
        self.write()?;
        let slot = Slot {
            page_size: u32::try_from(self.to.page_size).expect("at most 32 KiB"),
            store_id: self.to.store_id,
            generation: FIRST_GENERATION,
            lsn: root.lsn,
            state: State {
                catalog,
                next_table: root.next_table,
            },
            end: self.space.end(),
            free_list: None,
        };
        self.space.cut(&self.to, slot.end, 0)?;
        for offset in SLOTS {
            slot.write(&self.to.file, offset)?;
        }
        self.done.bytes = self.to.offset(slot.end);
        Ok(self.done)
    }

    fn tree(&mut self, tree: Tree, holds: Holds) -> Result<Tree> {
        let Some(root) = tree.root else {
            return Ok(tree);
        };
        let mut count = 0;
        let copy = self.node(root, None, holds, &mut count)?;
        if count != tree.len {
            let expected = tree.len;
            return Err(self.from.corrupt(root.page, Corruption::Count { expected }));
        }
        Ok(Tree {
            root: Some(copy),
            ..tree
        })
    }

    /// Copies a leaf or a branch and all that is below it, and adds its entries to `count`. `parent` is the level
    /// of the branch that it is below.
    fn node(&mut self, r: Ref, parent: Option<u8>, holds: Holds, count: &mut u64) -> Result<Ref> {
        let page = self.from.must_be_node(r, self.from.read_once(r)?)?;
        let mut bytes = copy_of(&page);
        let node = Node::new(&page);
        // A tree that goes down level by level cannot go round in circles.
        if parent.is_some_and(|level| node.level() + 1 != level) {
            return Err(self.from.corrupt(r.page, Corruption::Kind));
        }
        if node.is_leaf() {
            *count += node.count() as u64;
            for index in 0..node.count() {
                if let Some(payload) = self.payload(r, node.payload(index), holds)? {
                    let is_replaced = node::replace(&mut bytes, index, &payload);
                    debug_assert!(is_replaced, "both payloads have one length");
                }
            }
        } else {
            for index in 0..node.children() {
                let child = self.node(node.child(index), Some(node.level()), holds, count)?;
                node::set_child(&mut bytes, index, child);
            }
        }
        let number = self.take()?;
        self.put(number, bytes)
    }

    /// Copies what the payload of an entry of the leaf `r` refers to; returns the payload that refers to the copy,
    /// if that is another one.
    fn payload(&mut self, r: Ref, payload: &[u8], holds: Holds) -> Result<Option<Vec<u8>>> {
        let long = match overflow::stored(payload) {
            Stored::Inline(_) => None,
            Stored::Indirect { len, first } => {
                let from = self.from;
                Some(overflow::read(from, |r| from.read_once(r), len, first)?)
            }
        };
        if holds == Holds::Entries {
            self.done.entries += 1;
            return long.map(|value| self.value(&value)).transpose();
        }
        let value = long.as_deref().or(payload.get(2..));
        let entry = value.and_then(TableEntry::decode);
        let mut entry = entry.ok_or_else(|| self.from.corrupt(r.page, Corruption::Record))?;
        entry.tree = self.tree(entry.tree, Holds::Entries)?;
        self.done.tables += 1;
        let entry = entry.encode();
        match long {
            Some(_) => self.value(&entry).map(Some),
            None => Ok(Some(overflow::inline(&entry))),
        }
    }

    /// Writes a value to pages of its own, one behind the other, and returns the payload for its leaf.
    fn value(&mut self, value: &[u8]) -> Result<Vec<u8>> {
        let parts = value.chunks(self.to.page_size - HEADER);
        let numbers = parts.clone().map(|_| self.take());
        let numbers: Vec<u32> = numbers.collect::<Result<_>>()?;
        let refer = |number: &u32| Ref {
            page: *number,
            stamp: self.stamp,
        };
        let refs: Vec<Ref> = numbers.iter().map(refer).collect();
        for (nth, part) in parts.enumerate() {
            let mut bytes = vec![0; self.to.page_size].into_boxed_slice();
            let next = refs.get(nth + 1).copied();
            node::build_chained(&mut bytes, Kind::Overflow, next, part);
            let here = refs.get(nth).expect("a place for each part");
            self.put(here.page, bytes)?;
        }
        let first = refs.first().expect("a value of its own is not empty");
        Ok(overflow::indirect(value.len() as u64, *first))
    }

    /// The next place.
    fn take(&mut self) -> Result<u32> {
        self.space.take(&self.to, Purpose::Grow)
    }

    /// Puts a page at a place that was taken, behind all others.
    fn put(&mut self, number: u32, mut bytes: Box<[u8]>) -> Result<Ref> {
        node::set_stamp(&mut bytes, self.stamp);
        self.pages.push((number, Shared::new(Page::new(bytes))));
        if self.pages.len() == RUN {
            self.write()?;
        }
        Ok(Ref {
            page: number,
            stamp: self.stamp,
        })
    }

    fn write(&mut self) -> Result<()> {
        self.to.write(&self.pages)?;
        self.pages.clear();
        Ok(())
    }
}
