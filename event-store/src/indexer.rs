//! Keeping the index: parts for what has become many, fewer parts where there are many, and new ones for
//! those that are lost.

use std::ops::Range;
use std::sync::Arc;

use crate::build::{self, Merged, NewFile};
use crate::error::{Error, Result};
use crate::ids::Position;
use crate::list::{Entry, Indexer};
use crate::names;
use crate::part::Part;
use crate::policy::{self, Size};
use crate::store::{Store, add};
use crate::view::Slot;

/// How many events are dropped from memory before others may look at it.
const STEP: u64 = 256;

/// What is to be done next.
enum Job {
    /// The slot is lost.
    Restore(usize),
    /// Memory holds more than the interval.
    Build(Position),
    Merge(Range<usize>),
}

impl Store {
    /// Does one job for the index; returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Disk`]: a full disk changes nothing; a failed write or sync poisons the store.
    pub(crate) fn index_once(&self) -> Result<bool> {
        // Held across I/O: one at a time changes the list.
        let mut indexer = self.health.lock(&self.indexer);
        let Some(job) = self.next_job() else {
            return Ok(false);
        };
        self.check()?;
        let done = match job {
            Job::Restore(nth) => self.make_again(&mut indexer, nth),
            Job::Build(first) => self.build(&mut indexer, first),
            Job::Merge(range) => self.merge(&mut indexer, range),
        };
        done.map_err(|error| self.note(error))
    }

    fn next_job(&self) -> Option<Job> {
        let head = self.health.lock(&self.head);
        let lost = |slot: &Slot| matches!(slot, Slot::Lost(_));
        if let Some(nth) = head.slots.iter().position(lost) {
            return Some(Job::Restore(nth));
        }
        if head.tail.log_bytes() >= self.settings.index_interval {
            return Some(Job::Build(head.tail.first()));
        }
        let sizes: Vec<Size> = head.slots.iter().map(size).collect();
        policy::pick(&sizes).map(Job::Merge)
    }

    /// Makes the part `number` again, if it is lost still: somebody needs it.
    pub(crate) fn restore(&self, number: u64) -> Result<()> {
        // Held across I/O: as above.
        let mut indexer = self.health.lock(&self.indexer);
        self.check()?;
        let nth = {
            let mut head = self.health.lock(&self.head);
            let is_it = |slot: &Slot| slot.entry().number == number;
            let Some(nth) = head.slots.iter().position(is_it) else {
                // Somebody has made it again, or merged it.
                return Ok(());
            };
            if let Some(slot) = head.slots.get_mut(nth) {
                *slot = Slot::Lost(slot.entry());
            }
            nth
        };
        let made = self.make_again(&mut indexer, nth);
        made.map(drop).map_err(|error| self.note(error))
    }

    fn make_again(&self, indexer: &mut Indexer, nth: usize) -> Result<bool> {
        let Some(entry) = self.health.lock(&self.head).slots.get(nth).map(Slot::entry) else {
            return Ok(false);
        };
        let mut made = Made::new(self);
        let mut next = entry.first;
        while next <= entry.last {
            next = made.build(indexer, (next, entry.last))?.last.next();
        }
        self.install(indexer, nth..nth + 1, made)?;
        add(&self.counters.parts_restored, 1);
        Ok(true)
    }

    fn build(&self, indexer: &mut Indexer, first: Position) -> Result<bool> {
        // Durable: the log. Only now may a part name its events.
        let last = self.sync_log()?;
        if last < first {
            return Ok(false);
        }
        let mut made = Made::new(self);
        made.build(indexer, (first, last))?;
        let end = self.health.lock(&self.head).slots.len();
        self.install(indexer, end..end, made)?;
        add(&self.counters.parts_built, 1);
        Ok(true)
    }

    fn merge(&self, indexer: &mut Indexer, range: Range<usize>) -> Result<bool> {
        let parts: Vec<Arc<Part>> = {
            let head = self.health.lock(&self.head);
            let slots = head.slots.get(range.clone());
            let slots = slots.expect("whoever holds the list is the only one to change the parts");
            let ready = |slot: &Slot| match slot {
                Slot::Ready(part) => Some(Arc::clone(part)),
                Slot::Lost(_) => None,
            };
            slots.iter().filter_map(ready).collect()
        };
        if parts.len() != range.len() {
            return Ok(true);
        }
        let mut made = Made::new(self);
        let file = made.new_file(indexer)?;
        match build::from_parts(self.dir.dir(), file, &parts)? {
            Merged::Written(entry) => made.entries.push(entry),
            Merged::Damaged(number) => {
                let mut head = self.health.lock(&self.head);
                for slot in &mut head.slots {
                    if slot.entry().number == number {
                        *slot = Slot::Lost(slot.entry());
                    }
                }
                return Ok(true);
            }
        }
        self.install(indexer, range, made)?;
        add(&self.counters.parts_merged, 1);
        Ok(true)
    }

    /// Puts the parts that were made in the place of those in `range`.
    fn install(
        &self,
        indexer: &mut Indexer,
        range: Range<usize>,
        mut made: Made<'_>,
    ) -> Result<()> {
        let open = |entry: &Entry| {
            Part::open(self.dir.dir(), entry)
                .map(Arc::new)
                .map(Slot::Ready)
        };
        let slots: Vec<Slot> = made.entries.iter().map(open).collect::<Result<_>>()?;
        let mut list = indexer.list.clone();
        let old: Vec<Entry> = list
            .parts
            .splice(range.clone(), made.entries.iter().copied())
            .collect();
        list.next_number = indexer.next_number;
        let dir = self.dir.dir();
        // Durable: the names of the parts. Only now may the list name them, instead of others that cover
        // the same events.
        dir.sync()?;
        let written = list.write(dir);
        // After a failure that list may be there all the same: its parts stay, and the next open removes
        // what is in none. A full disk has renamed nothing, and needs the space.
        made.is_listed = !matches!(&written, Err(error) if error.is_no_space());
        written?;
        let covered = list.last();
        indexer.list = list;
        self.health.lock(&self.head).slots.splice(range, slots);
        self.trim(covered.next());
        for entry in old {
            // Best effort: what is not in the list is removed by the next open. Who reads it still holds
            // it open.
            drop(dir.remove(&names::part(entry.number)));
        }
        Ok(())
    }

    /// Drops from memory what is before `first`: the parts have it.
    fn trim(&self, first: Position) {
        loop {
            let mut head = self.health.lock(&self.head);
            let begin = head.tail.first();
            if begin >= first {
                return;
            }
            head.tail.begin_at(first.min(Position(begin.0 + STEP)));
        }
    }
}

fn size(slot: &Slot) -> Size {
    match slot {
        Slot::Ready(part) => {
            let header = part.header();
            Size {
                bytes: header.log_bytes,
                events: header.entry.events(),
                numbers: header.postings + header.terms,
            }
        }
        // Not merged before it is made again.
        Slot::Lost(_) => Size {
            bytes: u64::from(u32::MAX),
            events: u64::from(u32::MAX),
            numbers: u64::from(u32::MAX),
        },
    }
}

/// Parts that were written, and go again unless they are listed.
struct Made<'a> {
    store: &'a Store,
    entries: Vec<Entry>,
    /// One that is being written.
    begun: Option<u64>,
    is_listed: bool,
}

impl<'a> Made<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            entries: Vec::new(),
            begun: None,
            is_listed: false,
        }
    }

    fn new_file(&mut self, indexer: &mut Indexer) -> Result<NewFile, Error> {
        let id = self.store.disk.unique_id()?;
        let number = indexer.next_number;
        indexer.next_number += 1;
        self.begun = Some(number);
        Ok(NewFile { number, id })
    }

    fn build(
        &mut self,
        indexer: &mut Indexer,
        range: (Position, Position),
    ) -> Result<Entry, Error> {
        let file = self.new_file(indexer)?;
        let Store {
            log, dir, settings, ..
        } = self.store;
        let entry = build::from_log(
            log,
            dir.dir(),
            file,
            settings.key,
            range,
            settings.index_interval,
        )?;
        self.entries.push(entry);
        Ok(entry)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if self.is_listed {
            return;
        }
        let numbers = self.entries.iter().map(|entry| entry.number);
        for number in numbers.chain(self.begun) {
            // Best effort: what is not in the list is removed by the next open.
            drop(self.store.dir.dir().remove(&names::part(number)));
        }
    }
}
