//! [`Space`]: which pages of the file are free, and which will be once nobody can see them any more.
//!
//! A page lives from the version that made it to the version that dropped it. Versions that somebody
//! holds are *pinned*: the last one, the last durable one, those of the meta slots, that of a checkpoint
//! that is being written, those of open readers. One rule frees pages: a dead page is free when no
//! pinned version lies within its life.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::pager::Pager;
use crate::root::{Lease, Released};

/// A page that is no part of the last version any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) page: u32,
    /// The version that made it.
    pub(crate) birth: u64,
}

/// A dead page, and the version that dropped it.
#[derive(Clone, Copy, Debug)]
struct Buried {
    dead: Dead,
    death: u64,
}

/// What is known of a version that is pinned.
#[derive(Debug)]
struct Pin {
    /// When it was committed.
    at: Duration,
    /// When the next one was: no reader begins with it much later.
    followed: Option<Duration>,
    lease: Lease,
}

#[derive(Debug)]
pub(crate) struct Space {
    /// The first page behind the meta slots.
    first: u32,
    /// Pages from this one on were never used.
    end: u32,
    /// The file has room for pages below this one.
    backed: u32,
    free: BTreeSet<u32>,
    /// The pinned versions.
    pins: BTreeMap<u64, Pin>,
    /// Dead pages, by the newest pinned version within their life.
    buried: BTreeMap<u64, Vec<Buried>>,
    released: Arc<Released>,
    limits: Growth,
}

/// How the file grows, in pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// By at least so many.
    pub(crate) step: u32,
    /// So many are kept for what frees others.
    pub(crate) reserve: u32,
}

/// Who asks for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It holds more.
    Grow,
    /// It is needed to free others: the reserve may be used.
    Free,
    /// It holds what another one held, which is given up: the file does not become longer for it.
    Move,
}

impl Space {
    pub(crate) fn new(
        first: u32,
        end: u32,
        backed: u32,
        free: BTreeSet<u32>,
        limits: Growth,
    ) -> Self {
        Self {
            first,
            end,
            backed: backed.max(end),
            free,
            pins: BTreeMap::new(),
            buried: BTreeMap::new(),
            released: Arc::default(),
            limits,
        }
    }

    pub(crate) fn released(&self) -> &Arc<Released> {
        &self.released
    }

    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    pub(crate) fn backed(&self) -> u32 {
        self.backed
    }

    /// Pages that can be had without making the file longer.
    pub(crate) fn room(&self) -> u32 {
        let free = u32::try_from(self.free.len()).expect("pages have 32-bit numbers");
        free + (self.backed - self.end)
    }

    /// Whether so little is left that pages which are only pinned by the meta slots should be freed.
    pub(crate) fn is_short(&self) -> bool {
        self.room() < self.limits.reserve
    }

    /// A page to write to.
    ///
    /// # Errors
    /// [`NoSpace`](durable_io::Error::NoSpace) if there is none and the file cannot grow.
    pub(crate) fn take(&mut self, pager: &Pager, purpose: Purpose) -> Result<u32> {
        if purpose == Purpose::Move
            && let Some(page) = self.free.pop_first()
        {
            return Ok(page);
        }
        if self.room() <= self.limits.reserve {
            let grown = self.grow(pager);
            let may_go_on = purpose != Purpose::Grow && self.room() > 0;
            match grown {
                Err(error) if error.is_no_space() && may_go_on => {}
                other => other?,
            }
        }
        if let Some(page) = self.free.pop_first() {
            return Ok(page);
        }
        let page = self.end;
        self.end += 1;
        Ok(page)
    }

    /// Makes the file so long that there is a reserve, if the disk has room for it.
    pub(crate) fn make_reserve(&mut self, pager: &Pager) -> Result<()> {
        if self.room() > self.limits.reserve {
            return Ok(());
        }
        match self.grow(pager) {
            // What is there can be read, and what frees pages may do with less.
            Err(error) if error.is_no_space() => Ok(()),
            other => other,
        }
    }

    /// Makes the file longer: by an eighth, or as much as is needed if that does not fit.
    fn grow(&mut self, pager: &Pager) -> Result<()> {
        let needed = self.limits.reserve + 1 - self.room();
        let wanted = self.growth().max(needed);
        for pages in [wanted, needed] {
            let backed = self.backed.saturating_add(pages);
            let len = pager.offset(backed) - pager.offset(self.backed);
            match pager.file.allocate(pager.offset(self.backed), len) {
                Ok(()) => {
                    self.backed = backed;
                    return Ok(());
                }
                Err(durable_io::Error::NoSpace { .. }) if pages > needed => {}
                Err(error) => return Err(pager.health.note(error.into())),
            }
        }
        Ok(())
    }

    /// Pages that the last version reaches, with those of the list of free pages.
    pub(crate) fn live(&self) -> u32 {
        let unused = self.free.len() + self.buried_pages();
        let unused = u32::try_from(unused).expect("pages have 32-bit numbers");
        self.end - self.first - unused
    }

    /// Whether more pages than an eighth of those that are needed could be given back to the disk.
    pub(crate) fn is_wasteful(&self) -> bool {
        let live = self.live();
        let kept = live + live / 8 + 2 * (self.limits.reserve + self.limits.step);
        self.backed - self.first > kept
    }

    /// Whether at least `count` pages below `limit` are free.
    pub(crate) fn has_below(&self, limit: u32, count: usize) -> bool {
        let last = count.checked_sub(1);
        last.is_none_or(|last| self.free.range(..limit).nth(last).is_some())
    }

    /// Whether the last version reaches pages from `limit` on.
    pub(crate) fn has_live_from(&self, limit: u32) -> bool {
        let buried = self.buried.values().flatten();
        let buried = buried.filter(|buried| buried.dead.page >= limit).count();
        let unused = self.free.range(limit..).count() + buried;
        self.end > limit && (self.end - limit) as usize > unused
    }

    /// Whether pages below `limit` are dead, and pinned.
    pub(crate) fn has_buried_below(&self, limit: u32) -> bool {
        let mut buried = self.buried.values().flatten();
        buried.any(|buried| buried.dead.page < limit)
    }

    /// Cuts the file behind the last page that is used, or that a meta slot says is in the file: those are
    /// the pages below `named`, which both slots say durably. The reserve stays, and `spare` pages more; if
    /// little could be cut, nothing is.
    pub(crate) fn cut(&mut self, pager: &Pager, named: u32, spare: u32) -> Result<()> {
        while self.end > self.first && self.free.last() == Some(&(self.end - 1)) {
            self.free.pop_last();
            self.end -= 1;
        }
        let free = u32::try_from(self.free.len()).expect("pages have 32-bit numbers");
        let reserve = (self.limits.reserve + 1).saturating_sub(free);
        let kept = (self.end + reserve).max(named).saturating_add(spare);
        if self.backed <= kept.saturating_add(spare) {
            return Ok(());
        }
        let cut = pager.file.set_len(pager.offset(kept));
        cut.map_err(|error| pager.health.note(error.into()))?;
        self.backed = kept;
        Ok(())
    }

    /// By how much the file grows at a time.
    pub(crate) fn growth(&self) -> u32 {
        (self.end / 8).max(self.limits.step)
    }

    /// Makes `page` free at once: nobody but the transaction that took it has seen it.
    pub(crate) fn give_back(&mut self, pager: &Pager, page: u32) {
        pager.table.clear(page);
        let is_new = self.free.insert(page);
        debug_assert!(is_new, "page {page} is freed twice");
    }

    /// Holds everything that version `version`, the newest one, reaches, until it is [released](Released) or its
    /// lease, which is returned, ends.
    pub(crate) fn pin(&mut self, version: u64, at: Duration) -> Lease {
        if let Some(mut last) = self.pins.last_entry() {
            last.get_mut().followed.get_or_insert(at);
        }
        let lease = Lease::default();
        let pin = Pin {
            at,
            followed: None,
            lease: lease.clone(),
        };
        self.pins.insert(version, pin);
        lease
    }

    /// Ends the lease of each version that pins pages and was followed by a newer one before `limit`, but for those
    /// that are `needed`; returns how many there were.
    pub(crate) fn end_leases(&mut self, pager: &Pager, limit: Duration, needed: &[u64]) -> u64 {
        let is_over = |pin: &Pin| pin.followed.is_some_and(|followed| followed < limit);
        let over: Vec<u64> = self
            .pins
            .iter()
            .filter(|(version, pin)| is_over(pin) && !needed.contains(version))
            .map(|(&version, _)| version)
            .filter(|&version| self.pinned_by(version) > 0)
            .collect();
        for version in &over {
            // Before any of its pages is free: whoever reads what comes to their places knows why.
            if let Some(pin) = self.pins.get(version) {
                pin.lease.end();
            }
            self.unpin(pager, *version);
        }
        over.len() as u64
    }

    /// Version `death` has dropped a page.
    pub(crate) fn bury(&mut self, pager: &Pager, dead: Dead, death: u64) {
        let newest = self.pins.range(..death).next_back();
        match newest {
            Some((&pin, _)) if pin >= dead.birth => {
                self.buried
                    .entry(pin)
                    .or_default()
                    .push(Buried { dead, death });
            }
            _ => self.give_back(pager, dead.page),
        }
    }

    /// Frees what only versions have held that nobody holds any more.
    pub(crate) fn settle(&mut self, pager: &Pager) {
        for version in self.released.take() {
            self.unpin(pager, version);
        }
    }

    fn unpin(&mut self, pager: &Pager, version: u64) {
        self.pins.remove(&version);
        let unpinned = self.buried.remove(&version);
        for buried in unpinned.into_iter().flatten() {
            self.bury(pager, buried.dead, buried.death);
        }
    }

    /// Every page that the last version does not reach, in order.
    pub(crate) fn unused(&self) -> BTreeSet<u32> {
        let dead = self
            .buried
            .values()
            .flatten()
            .map(|buried| buried.dead.page);
        dead.chain(self.free.iter().copied()).collect()
    }

    pub(crate) fn free_pages(&self) -> usize {
        self.free.len()
    }

    /// Dead pages that are still pinned.
    pub(crate) fn buried_pages(&self) -> usize {
        self.buried.values().map(Vec::len).sum()
    }

    /// Dead pages that version `version` reaches.
    pub(crate) fn pinned_by(&self, version: u64) -> usize {
        let later = self.buried.range(version..).flat_map(|(_, buried)| buried);
        later.filter(|buried| buried.dead.birth <= version).count()
    }

    /// The oldest version that somebody holds, other than `known`, and when it was committed.
    pub(crate) fn oldest_pin(&self, known: &[u64]) -> Option<(u64, Duration)> {
        let pins = self.pins.iter().map(|(&version, pin)| (version, pin.at));
        pins.into_iter()
            .find(|(version, _)| !known.contains(version))
    }
}
