//! Checkpoints: what was committed since the last one goes to the page file, and the log is retired.
//!
//! C1. Pages are written only to places that no meta slot's tree has, and that no reader reaches.
//! C2. They are durable, and so is the log up to the record that the slot will name, before a slot is
//!     written.
//! C3. The first slot is durable before the second one is written: one of them can always be read.
//! C4. Both are durable before the log is retired, and before a page of the older tree is used again. To a
//!     crash the first one would be enough; so a slot that is damaged later costs nothing.
//!
//! C5. The file is cut only behind what both slots say it has, durably.
//!
//! A checkpoint goes in steps, so that commits go on beside it; only the first one takes the turn of a
//! writer, and does no I/O meanwhile, but for cutting the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::made_durable;
use sdd::Shared;
use wal::Lsn;

use crate::draft::Pages;
use crate::error::{Error, Result};
use crate::free_list::{self, FreeList};
use crate::meta::{SLOTS, Slot};
use crate::page::Page;
use crate::root::Root;
use crate::space::Dead;
use crate::store::{Store, add, load};
use crate::turn::Writer;
use crate::work::Work;

/// The last checkpoint, and the one that is being written.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// What both slots say, durably; or the first one alone.
    slot: Slot,
    /// The disk had no space for the second slot, where a file system copies on write: it says something
    /// older, or nothing.
    pub(crate) is_second_older: bool,
    /// Holds the pages that the slots reach.
    root: Arc<Root>,
    running: Option<Running>,
}

/// A checkpoint that is being written.
#[derive(Debug)]
struct Running {
    slot: Slot,
    root: Arc<Root>,
    /// What goes to the file, in the order of the places.
    pages: Vec<(u32, Shared<Page>)>,
    /// Bytes of records that it makes needless, since the store was opened.
    logged: u64,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write,
    Flip,
    Retire,
}

/// What of the file is given back when a checkpoint begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// A part of what is free at its end: it will be needed soon.
    Sparing,
    /// All of it, but for the reserve.
    Cutting,
}

impl Checkpoints {
    /// After opening, which made both slots durable.
    pub(crate) fn new(slot: Slot, root: Arc<Root>) -> Self {
        Self {
            slot,
            is_second_older: false,
            root,
            running: None,
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.slot.generation
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The version that the slots reach.
    pub(crate) fn version(&self) -> u64 {
        self.root.version
    }
}

/// `pages` in the order of their places.
fn in_order(pages: Pages) -> Vec<(u32, Shared<Page>)> {
    let mut pages: Vec<_> = pages.into_iter().collect();
    pages.sort_unstable_by_key(|(number, _)| *number);
    pages
}

impl Store {
    /// Writes everything committed so far to the page file and retires the log.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.pager.health.check()?;
        // One that was begun may hold pages that this one needs.
        while self.checkpoint_step(None)? {}
        while self.checkpoint_step(Some(Begin::Sparing))? {}
        Ok(())
    }

    /// As [`checkpoint`](Store::checkpoint), and gives back all of the file's end that is free.
    pub(crate) fn checkpoint_and_cut(&self) -> Result<()> {
        self.pager.health.check()?;
        while self.checkpoint_step(None)? {}
        while self.checkpoint_step(Some(Begin::Cutting))? {}
        Ok(())
    }

    /// Does one step of a checkpoint; begins one, if none is begun and there is something to write, as
    /// `begin` says. Returns whether there was something to do.
    pub(crate) fn checkpoint_step(&self, begin: Option<Begin>) -> Result<bool> {
        self.pager.health.check()?;
        {
            // Held across I/O: one checkpoint at a time.
            let mut checkpoints = self.lock(&self.checkpoints);
            if checkpoints.running.is_some() {
                self.go_on(&mut checkpoints)?;
                return Ok(true);
            }
        }
        let Some(begin) = begin else {
            return Ok(false);
        };
        // The turn of a writer comes before the lock, since a large commit has it already.
        let mut writer = self.turn.take(None)?;
        let begun = self.begin_checkpoint(&mut writer, begin == Begin::Sparing);
        self.turn.give(writer);
        begun
    }

    /// Fixes what is to be written: the last committed state. If it `spares`, the file stays a little longer
    /// than it must be.
    fn begin_checkpoint(&self, writer: &mut Writer, spares: bool) -> Result<bool> {
        let mut checkpoints = self.lock(&self.checkpoints);
        let Writer { space, ledger } = writer;
        space.settle(&self.pager);
        let root = Arc::clone(&ledger.head);
        if checkpoints.running.is_some() {
            return Ok(true);
        }
        self.end_leases(space, checkpoints.version());
        // What the slots do not name any more is given back, if it is at the end of the file.
        let spare = if spares { space.growth() } else { 0 };
        space.cut(&self.pager, checkpoints.slot.end, spare)?;
        // A version has another place for something, if no other contents.
        if root.version == checkpoints.root.version {
            return Ok(false);
        }
        let stamp = ledger.base.wrapping_add(ledger.take_version());
        let list = free_list::make(&self.pager, space, &ledger.free_list, stamp)?;
        let slot = Slot {
            generation: checkpoints.slot.generation + 1,
            lsn: root.lsn,
            state: root.state(),
            end: list.end,
            free_list: list.first,
            ..checkpoints.slot
        };
        for page in std::mem::take(&mut ledger.free_list) {
            // It is read until the slots say something else.
            let birth = checkpoints.root.version;
            space.bury(&self.pager, Dead { page, birth }, root.version);
        }
        ledger.free_list = list.pages.iter().map(|(number, _)| *number).collect();
        let mut pages = std::mem::take(&mut ledger.dirty);
        pages.extend(list.pages);
        checkpoints.running = Some(Running {
            slot,
            root,
            pages: in_order(pages),
            logged: load(&self.counters.logged),
            step: Step::Write,
        });
        Ok(true)
    }

    fn go_on(&self, checkpoints: &mut Checkpoints) -> Result<()> {
        let running = checkpoints.running.as_mut();
        let running = running.expect("the caller has looked");
        match running.step {
            Step::Write => {
                self.write_pages(&running.pages)?;
                running.step = Step::Flip;
            }
            Step::Flip => {
                let slot = running.slot;
                self.flip(checkpoints, &slot)?;
                let running = checkpoints.running.as_mut();
                let running = running.expect("it is still running");
                // The log was synced, too.
                self.set_durable(&running.root);
                for (number, page) in std::mem::take(&mut running.pages) {
                    self.pager.set_clean(number, &page);
                }
                running.step = Step::Retire;
                checkpoints.slot = running.slot;
                // The older tree's pages are free from here on.
                checkpoints.root = Arc::clone(&running.root);
            }
            Step::Retire => {
                let (lsn, logged) = (running.slot.lsn, running.logged);
                self.retire(lsn)?;
                self.counters.checkpointed.store(logged, Ordering::Relaxed);
                checkpoints.running = None;
            }
        }
        Ok(())
    }

    fn write_pages(&self, pages: &[(u32, Shared<Page>)]) -> Result<()> {
        add(&self.counters.pages_written, pages.len() as u64);
        let written = self.pager.write(pages);
        written.map_err(|error| self.pager.health.note(error))
    }

    /// Makes what was written durable, and both slots say so; or the first one alone, if the disk is full then.
    fn flip(&self, checkpoints: &mut Checkpoints, slot: &Slot) -> Result<()> {
        let health = &self.pager.health;
        let poison = |error: Error| health.poison(error);
        if checkpoints.is_second_older {
            // What the first slot says, before that one is written over. The sync is that of the pages.
            let second = checkpoints.slot.write(&self.pager.file, SLOTS[1]);
            second.map_err(|error| health.note(error.into()))?;
        }
        // Durable: the log, up to the record that the slot names. Only now may a slot name it.
        made_durable(|| self.log.sync()).map_err(|error| poison(error.into()))?;
        let file = &self.pager.file;
        // Durable: the pages of the new tree. Only now may a slot refer to them.
        drop(file.sync_data().map_err(|error| poison(error.into()))?);
        checkpoints.is_second_older = false;
        let [first, second] = SLOTS;
        // Where there is no space for it, the second one speaks for itself, and this one is written again.
        slot.write(file, first)
            .map_err(|error| health.note(error.into()))?;
        // Durable: the first slot. Only now may the second one, which was good, be written over.
        drop(file.sync_data().map_err(|error| poison(error.into()))?);
        match slot.write(file, second) {
            // The first one is enough to a crash.
            Err(error) if error.is_no_space() => checkpoints.is_second_older = true,
            other => other.map_err(|error| poison(error.into()))?,
        }
        // Redundant: a crash that tears the second slot or leaves it old finds the first one, which is
        // newer and whole; and the next checkpoint makes it durable with its pages, before it writes over
        // the first one. It is done all the same: from here on neither slot leads to the log that is
        // retired and to the older tree's pages, so that a damaged slot costs nothing after a crash, too.
        drop(file.sync_data().map_err(|error| poison(error.into()))?);
        self.generation.store(slot.generation, Ordering::Release);
        add(&self.counters.checkpoints, 1);
        Ok(())
    }

    /// Gives up the records that the slots make needless.
    fn retire(&self, lsn: Lsn) -> Result<()> {
        self.log
            .truncate_before(lsn.next())
            .map_err(|error| self.pager.health.note(error.into()))
    }

    // ---- transactions that are too large for the log

    /// Commits a transaction by a checkpoint: nothing of it is in the log. It is durable when this
    /// returns.
    pub(crate) fn commit_by_checkpoint(&self, work: Work) -> Result<()> {
        // Held until the flip: what the next checkpoint builds on is what this one leaves. Whoever has it
        // does not wait for the writer's turn, which is ours.
        let mut checkpoints = self.lock(&self.checkpoints);
        match self.try_commit_by_checkpoint(&mut checkpoints, work) {
            Ok(root) => {
                drop(checkpoints);
                self.set_durable(&root);
                self.show(&root);
                Ok(())
            }
            Err((error, work)) => {
                drop(checkpoints);
                if let Some(work) = work {
                    self.abort(*work);
                }
                Err(error)
            }
        }
    }

    fn try_commit_by_checkpoint(
        &self,
        checkpoints: &mut Checkpoints,
        mut work: Work,
    ) -> Result<Arc<Root>, (Error, Option<Box<Work>>)> {
        let prepared = self.prepare_large(checkpoints, &mut work);
        let (slot, list) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Err((error, Some(Box::new(work)))),
        };
        if let Err(error) = self.flip(checkpoints, &slot) {
            for (page, _) in list.pages {
                work.draft.space.give_back(&self.pager, page);
            }
            return Err((error, Some(Box::new(work))));
        }
        add(&self.counters.large_commits, 1);
        let mut writer = work.publish(slot.lsn, self.disk.now());
        let Writer { space, ledger } = &mut writer;
        for (number, page) in std::mem::take(&mut ledger.dirty) {
            self.pager.set_clean(number, &page);
        }
        let root = Arc::clone(&ledger.head);
        for page in std::mem::take(&mut ledger.free_list) {
            let birth = checkpoints.root.version;
            space.bury(&self.pager, Dead { page, birth }, root.version);
        }
        ledger.free_list = list.pages.iter().map(|(number, _)| *number).collect();
        checkpoints.slot = slot;
        checkpoints.root = Arc::clone(&root);
        let logged = load(&self.counters.logged);
        self.end_turn(writer);
        self.counters.checkpointed.store(logged, Ordering::Relaxed);
        // The transaction is durable. If the log cannot be made shorter now, the next checkpoint does it.
        match self.retire(slot.lsn) {
            Err(error) if !error.is_no_space() => Err((error, None)),
            _ => Ok(root),
        }
    }

    /// Writes everything to the file: the pages of the transaction, what was committed before and is not
    /// there yet, and the list of what will be free.
    fn prepare_large(
        &self,
        checkpoints: &mut Checkpoints,
        work: &mut Work,
    ) -> Result<(Slot, FreeList)> {
        while checkpoints.running.is_some() {
            self.go_on(checkpoints)?;
        }
        self.end_leases(&mut work.draft.space, checkpoints.version());
        work.ledger.pass(work.draft.version());
        let version = work.ledger.take_version();
        let stamp = work.draft.stamp_of(version);
        let dropped: Vec<u32> = work.draft.dropped.iter().map(|dead| dead.page).collect();
        let more = [&*dropped, &work.ledger.free_list].concat();
        let list = free_list::make(&self.pager, &mut work.draft.space, &more, stamp)?;
        let mut pages = work.ledger.dirty.clone();
        pages.extend(work.draft.in_memory());
        for page in &dropped {
            pages.remove(page);
        }
        pages.extend(list.pages.iter().map(|(n, page)| (*n, page.clone())));
        let pages = in_order(pages);
        if let Err(error) = self.write_pages(&pages) {
            for (page, _) in list.pages {
                work.draft.space.give_back(&self.pager, page);
            }
            return Err(error);
        }
        let slot = Slot {
            generation: checkpoints.slot.generation + 1,
            lsn: work.ledger.head.lsn,
            state: work.state(),
            end: list.end,
            free_list: list.first,
            ..checkpoints.slot
        };
        Ok((slot, list))
    }
}
