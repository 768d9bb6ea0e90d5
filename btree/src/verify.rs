//! Verification: every page is read, and the numbered invariants of the format are checked.
//!
//! V1. Every page has its checksum, and is the one that its reference names.
//! V2. A child is one level below its parent; leaves are level 0.
//! V3. Keys are in order, and lie between the separators that lead to them.
//! V4. A table has as many entries as the catalog says.
//! V5. Every page between the meta slots and the end has one owner: a tree, the list of free pages, or
//!     nobody, and then it is free or will be. None is leaked, none is owned twice.
//! V6. Both meta slots say what the last checkpoint wrote; the first one alone, if it met a full disk then.
//! V7. The log is whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::TableEntry;
use crate::error::{Corruption, Error, Result};
use crate::meta;
use crate::node::{self, Kind, Node, Ref};
use crate::overflow::{self, Stored};
use crate::page::PageRef;
use crate::pager::Pager;
use crate::root::{Root, Tree};
use crate::stats::Verified;
use crate::store::Store;

/// The keys that a page may have: from the first on, and below the second.
type Limits<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

struct Walk<'a> {
    pager: &'a Pager,
    owned: BTreeSet<u32>,
    pages: std::ops::Range<u32>,
    used: u64,
    nodes: u64,
    verified: Verified,
}

impl Store {
    pub(crate) fn verify(&self) -> Result<Verified> {
        self.pager.health.check()?;
        let mut writer = self.turn.take(None)?;
        writer.space.settle(&self.pager);
        let root = Arc::clone(&writer.ledger.head);
        let _kept = self.keep(&root);
        let unused = writer.space.unused();
        let list = writer.ledger.free_list.clone();
        let pages = writer.space.first()..writer.space.end();
        let twice = writer.space.free_pages() + writer.space.buried_pages() - unused.len();
        self.turn.give(writer);

        let mut walk = Walk {
            pager: &self.pager,
            owned: BTreeSet::new(),
            pages,
            used: 0,
            nodes: 0,
            verified: Verified::default(),
        };
        walk.everything(&root)?;
        walk.verified.tree_pages = walk.owned.len() as u64;
        walk.verified.free_list_pages = list.len() as u64;
        walk.verified.unused_pages = unused.len() as u64;
        for page in list.into_iter().chain(unused) {
            walk.own(page)?;
        }
        if twice > 0 {
            return Err(self.pager.corrupt(0, Corruption::DoublyOwned { page: 0 }));
        }
        let leaked = walk.pages.clone().find(|page| !walk.owned.contains(page));
        if let Some(page) = leaked {
            return Err(self.pager.corrupt(page, Corruption::Leaked { page }));
        }
        walk.verified.fill_permille = walk.used * 1000 / walk.nodes.max(1);
        self.verify_slots()?;
        walk.verified.log_records = self.log.verify()?.records;
        Ok(walk.verified)
    }

    fn verify_slots(&self) -> Result<()> {
        // Held across I/O: the slots are not written meanwhile.
        let checkpoints = self.lock(&self.checkpoints);
        let (slot, are_equal) = meta::read(&self.pager.file)?;
        let is_second_right = are_equal || checkpoints.is_second_older;
        if !is_second_right || slot != *checkpoints.slot() {
            return Err(self.pager.corrupt(0, Corruption::Slots));
        }
        Ok(())
    }
}

impl Walk<'_> {
    fn corrupt(&self, page: u32, reason: Corruption) -> Error {
        self.pager.corrupt(page, reason)
    }

    fn own(&mut self, page: u32) -> Result<()> {
        if !self.pages.contains(&page) {
            return Err(self.corrupt(page, Corruption::Outside { page }));
        }
        if !self.owned.insert(page) {
            return Err(self.corrupt(page, Corruption::DoublyOwned { page }));
        }
        Ok(())
    }

    /// A page as it is in the file; one that is not there yet, as it is in memory.
    fn page(&mut self, r: Ref) -> Result<PageRef> {
        self.own(r.page)?;
        self.read(r)
    }

    fn read(&self, r: Ref) -> Result<PageRef> {
        let page = self.pager.read(r)?;
        if page.is_dirty() {
            return Ok(PageRef::Shared(page));
        }
        let bytes = self.pager.read_from_file(r)?;
        // The checksum is made when a page is written; in memory it may be missing.
        if bytes.get(4..) != page.bytes().get(4..) {
            return Err(self.corrupt(r.page, Corruption::StalePage));
        }
        Ok(PageRef::Shared(page))
    }

    fn everything(&mut self, root: &Root) -> Result<()> {
        let mut entries = Vec::new();
        self.tree(root.catalog, &mut |walk, value| {
            let entry = TableEntry::decode(value);
            entries.push(entry.ok_or_else(|| walk.corrupt(0, Corruption::Record))?);
            Ok(())
        })?;
        for entry in entries {
            self.verified.tables += 1;
            self.verified.entries += entry.tree.len;
            self.tree(entry.tree, &mut |_, _| Ok(()))?;
        }
        Ok(())
    }

    fn tree(
        &mut self,
        tree: Tree,
        each: &mut dyn FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut count = 0;
        let Some(root) = tree.root else {
            return Ok(());
        };
        self.node(root, None, (None, None), &mut count, each)?;
        if count != tree.len {
            let expected = tree.len;
            return Err(self.corrupt(root.page, Corruption::Count { expected }));
        }
        Ok(())
    }

    fn node(
        &mut self,
        r: Ref,
        parent: Option<u8>,
        limits: Limits<'_>,
        count: &mut u64,
        each: &mut dyn FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let page = self.page(r)?;
        if !matches!(node::kind(&page), Some(Kind::Leaf | Kind::Branch)) {
            return Err(self.corrupt(r.page, Corruption::Kind));
        }
        let node = Node::new(&page);
        if parent.is_some_and(|level| node.level() + 1 != level) {
            return Err(self.corrupt(r.page, Corruption::Kind));
        }
        node::check(&page).map_err(|reason| self.corrupt(r.page, reason))?;
        self.used += node.used() as u64;
        self.nodes += page.len() as u64;
        let keys: Vec<_> = (0..node.count())
            .map(|index| node.key(index).to_vec())
            .collect();
        let is_below = keys
            .first()
            .zip(limits.0)
            .is_some_and(|(key, low)| &**key < low);
        let is_above = keys
            .last()
            .zip(limits.1)
            .is_some_and(|(key, high)| &**key >= high);
        if is_below || is_above {
            return Err(self.corrupt(r.page, Corruption::Order));
        }
        if node.is_leaf() {
            *count += node.count() as u64;
            for index in 0..node.count() {
                self.value(node.payload(index), each)?;
            }
            return Ok(());
        }
        let lows = std::iter::once(limits.0).chain(keys.iter().map(|key| Some(&**key)));
        let highs = keys.iter().map(|key| Some(&**key)).chain([limits.1]);
        for (index, limits) in lows.zip(highs).enumerate() {
            let child = node.child(index);
            self.node(child, Some(node.level()), limits, count, each)?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        payload: &[u8],
        each: &mut dyn FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<()> {
        match overflow::stored(payload) {
            Stored::Inline(value) => each(self, value),
            Stored::Indirect { len, first } => {
                // All that the catalog says of a table stands in one page.
                let (mut chain, mut begin) = (Vec::new(), Vec::new());
                let read = |r| self.read(r);
                overflow::walk(self.pager, read, len, first, |r, data| {
                    if chain.is_empty() {
                        begin.extend_from_slice(data);
                    }
                    chain.push(r);
                })?;
                chain.into_iter().try_for_each(|r| self.own(r.page))?;
                each(self, &begin)
            }
        }
    }
}
