//! Making the file shorter, in portions, beside readers and writers.
//!
//! A walk over all trees fills leaves; others move pages from the end of the file to free places. What they
//! do are write transactions that change where entries are, and not which there are: they have no record
//! in the log, and a crash before the next checkpoint undoes them, which costs nothing. The checkpoint
//! makes the new places durable and frees the old ones; when nobody reads at the end of the file any more,
//! it is cut off.

use std::ops::Bound;

use crate::error::Result;
use crate::pack::{Aim, Portion};
use crate::range::{Range, Source};
use crate::shrinking::{Shrinking, Stage};
use crate::stats::Shrunk;
use crate::store::{Store, add};
use crate::work::Work;

/// Pages that one transaction writes and looks at, about: as long the next writer waits.
const PORTION: Portion = Portion {
    writes: 16,
    looks: 256,
    written: 0,
};

/// So many free places are worth a walk: the way to one page that is moved is copied, too.
const WAY: usize = 8;
/// So many pages more than it must have the file may have: for the ways.
const SPARE: u32 = 16;

/// What one transaction of the work did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Did {
    /// Pages written.
    pub(crate) pages: u64,
    /// What was left behind is needed, and free after the next checkpoint.
    pub(crate) needs_checkpoint: bool,
    /// There is nothing more to do.
    pub(crate) is_done: bool,
}

impl Store {
    /// Makes the file shorter, with about `budget` bytes of pages written at most.
    pub(crate) fn shrink(&self, budget: u64) -> Result<Shrunk> {
        self.pager.health.check()?;
        let before = self.file_pages()?;
        let page_size = self.pager.page_size as u64;
        let mut left = budget / page_size;
        let mut shrunk = Shrunk::default();
        // What is given up is used again after a checkpoint: the file grows by little meanwhile.
        let between = u64::from(before / 16).max(64);
        let (mut pages, mut most) = (0, PORTION.writes);
        while left > 0 && !shrunk.is_done {
            let writes = most.min(usize::try_from(left).unwrap_or(most));
            let did = match self.shrink_once(writes, None) {
                // It works with what is free, if that is little at once.
                Err(error) if error.is_no_space() && most > 1 => {
                    most = 1;
                    self.checkpoint()?;
                    continue;
                }
                did => did?,
            };
            left = left.saturating_sub(did.pages);
            pages += did.pages;
            shrunk.moved_bytes += did.pages * page_size;
            shrunk.is_done = did.is_done;
            if did.needs_checkpoint || pages >= between {
                pages = 0;
                self.checkpoint()?;
            }
        }
        self.checkpoint_and_cut()?;
        let returned = before.saturating_sub(self.file_pages()?);
        shrunk.returned_bytes = u64::from(returned) * page_size;
        Ok(shrunk)
    }

    /// All of [`shrink`](Store::shrink), from its beginning.
    pub(crate) fn compact(&self) -> Result<Shrunk> {
        let mut writer = self.turn.take(None)?;
        writer.ledger.shrinking = Shrinking::default();
        self.turn.give(writer);
        self.shrink(u64::MAX)
    }

    /// Pages that the file has room for.
    fn file_pages(&self) -> Result<u32> {
        let writer = self.turn.take(None)?;
        let pages = writer.space.backed();
        self.turn.give(writer);
        Ok(pages)
    }

    /// One transaction of the work that is asked for, or of `other`, of about `writes` pages.
    pub(crate) fn shrink_once(&self, writes: usize, other: Option<&mut Shrinking>) -> Result<Did> {
        let mut work = self.begin(None)?;
        let mut asked = std::mem::take(&mut work.ledger.shrinking);
        let shrinking = other.unwrap_or(&mut asked);
        let mut portion = Portion { writes, ..PORTION };
        work.draft.only_moves();
        let walked = work.walk(shrinking, &mut portion);
        if matches!(walked, Ok((_, true))) {
            *shrinking = Shrinking::default();
        }
        work.ledger.shrinking = asked;
        let (needs_checkpoint, is_done) = match walked.and_then(|did| work.finish().map(|()| did)) {
            Ok(did) => did,
            Err(error) => {
                self.abort(work);
                return Err(error);
            }
        };
        let pages = portion.written as u64;
        add(&self.counters.pages_moved, pages);
        let lsn = work.ledger.head.lsn;
        if work.is_large() {
            self.commit_by_checkpoint(work)?;
        } else if work.state() == work.ledger.head.state() {
            self.abort(work);
        } else {
            let head = self.publish(work, lsn);
            // Whoever reads the old places pins them.
            self.show(&head);
        }
        Ok(Did {
            pages,
            needs_checkpoint,
            is_done,
        })
    }
}

impl Work {
    /// Goes on with the work; returns whether it needs a checkpoint, and whether all is done.
    fn walk(&mut self, at: &mut Shrinking, portion: &mut Portion) -> Result<(bool, bool)> {
        while !portion.is_over() {
            let space = &self.draft.space;
            let limit = (space.first() + space.live()).saturating_add(SPARE);
            let aim = match at.stage {
                Stage::Fill => Aim::Fill,
                Stage::Move => Aim::Below(limit),
            };
            if at.stage == Stage::Move {
                if at.is_at_begin() && !space.has_live_from(limit) {
                    return Ok((true, true));
                }
                if !space.has_below(limit, WAY) {
                    let is_over = at.has_waited || !space.has_buried_below(limit);
                    at.has_waited = true;
                    return Ok((true, is_over));
                }
            }
            let before = portion.written;
            let next = self.pack(at, aim, portion)?;
            let written = portion.written - before;
            at.written += written;
            at.has_waited &= written == 0;
            if let Some(key) = next {
                at.key = key;
                continue;
            }
            at.key.clear();
            at.table = self.table_behind(at.table.as_deref())?;
            if at.table.is_none() {
                return Ok((true, at.end_walk()));
            }
        }
        Ok((false, false))
    }

    /// Goes on in one tree; returns the key to go on with.
    fn pack(&mut self, at: &Shrinking, aim: Aim, portion: &mut Portion) -> Result<Option<Vec<u8>>> {
        let Some(name) = &at.table else {
            let mut catalog = self.state().catalog;
            let next = self.draft.pack(&mut catalog, &at.key, aim, portion);
            self.set_catalog(catalog);
            return next;
        };
        // It may have been dropped meanwhile.
        let Some(id) = self.table(name)? else {
            return Ok(None);
        };
        let mut tree = self.tree(id);
        let next = self.draft.pack(&mut tree, &at.key, aim, portion);
        self.set_tree(id, tree);
        next
    }

    /// The name of the table behind `name`, or of the first one.
    fn table_behind(&self, name: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let low = name.map_or(Bound::Unbounded, Bound::Excluded);
        let catalog = self.state().catalog.root;
        let range = (low, Bound::<&[u8]>::Unbounded);
        let mut behind = Range::new(Source::Draft(&self.draft), catalog, &range);
        Ok(behind.next().transpose()?.map(|(name, _)| name))
    }
}
