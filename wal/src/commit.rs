//! The write path: groups, rotation, acknowledgement.

use std::io::IoSlice;
use std::sync::atomic::Ordering;

use durable_io::{Member, SyncMode};

use crate::delivery::Due;
use crate::error::{Error, Result};
use crate::frame::{GROUP_HEADER_SIZE, GroupHeader, Layout, align_group, place};
use crate::item::Item;
use crate::limits::MAX_IN_FLIGHT;
use crate::location::Location;
use crate::log::{Log, add};
use crate::lsn::Lsn;
use crate::results::{Results, Tally};
use crate::segment::offset_in_segment;
use crate::writer::Writer;
use crate::writer::Written;

const GROUP_HEADER: u64 = GROUP_HEADER_SIZE as u64;

impl Log {
    /// Appends `item`, together with whatever other threads append, and returns where its first record
    /// is.
    pub(crate) fn append(&self, item: Item) -> Result<Location> {
        // With no sync to share, and nobody there, the queue is a detour; but what this thread has
        // submitted comes first.
        if self.gate.mode() != SyncMode::Always
            && self.submitted.load(Ordering::Relaxed) == 0
            && let Ok(mut writer) = self.writer.try_lock()
        {
            let items = &mut [item];
            return self.commit(&mut writer, items).first(0);
        }
        let (results, index) = self.leading(|lead| self.queue.commit(item, lead));
        results.first(index)
    }

    /// Appends `item` without waiting for it, unless too much is in flight.
    pub(crate) fn submit(&self, item: Item) -> Member<Results> {
        let size = item.size();
        let before = self.submitted.fetch_add(size, Ordering::Relaxed);
        let member = self.queue.submit(item.submitted());
        if before + size > MAX_IN_FLIGHT {
            self.wait(&member);
        }
        member
    }

    /// As [`submit`](Log::submit), but wakes no thread to commit it.
    pub(crate) fn submit_lazily(&self, item: Item) -> Member<Results> {
        let size = item.size();
        let before = self.submitted.fetch_add(size, Ordering::Relaxed);
        let member = self.queue.submit_lazily(item.submitted());
        if before + size > MAX_IN_FLIGHT {
            self.wait(&member);
        }
        member
    }

    /// As [`submit`](Log::submit), if not too much is in flight then.
    pub(crate) fn try_submit(&self, item: Item) -> Result<Member<Results>> {
        let size = item.size();
        // One that is larger than all that may be in flight is taken when nothing is.
        let take = |before: u64| {
            let after = before + size;
            (before == 0 || after <= MAX_IN_FLIGHT).then_some(after)
        };
        let order = Ordering::Relaxed;
        match self.submitted.fetch_update(order, order, take) {
            Ok(_) => Ok(self.queue.submit(item.submitted())),
            Err(_) => Err(Error::Full),
        }
    }

    /// Waits for what `member` is part of.
    pub(crate) fn wait(&self, member: &Member<Results>) -> Results {
        self.leading(|lead| self.queue.wait(member, lead))
    }

    /// Commits what nobody waits for; returns whether there was something.
    pub(crate) fn commit_submitted(&self) -> bool {
        self.leading(|lead| self.queue.lead_once(lead))
    }

    /// Calls `commit` with what leads a group, and then the callbacks that are due: only when the next
    /// group can be led, so that a callback may append.
    fn leading<T>(&self, commit: impl FnOnce(&mut dyn FnMut(&mut [Item]) -> Results) -> T) -> T {
        let mut size = 0;
        let committed = commit(&mut |items| {
            let submitted = items.iter().filter(|item| item.is_submitted());
            size = submitted.map(Item::size).sum();
            self.lead(items)
        });
        // Only when their tickets return: an append that passes the queue by is behind them.
        if size > 0 {
            self.submitted.fetch_sub(size, Ordering::Relaxed);
        }
        self.delivery.call_all();
        committed
    }

    /// Writes `items`, makes them durable if the mode says so, and acknowledges them: the results in
    /// their order. The writer is held across the writes and the sync: this is the order of the log.
    fn commit(&self, writer: &mut Writer, items: &mut [Item]) -> Results {
        let failure = self.write_and_sync(writer, items).err();
        // After a failure, of this commit or of a sync beside it, only what a returned sync covered is
        // known to be there.
        let next = match &failure {
            Some(_) if self.is_poisoned() => self.durable().next(),
            _ => writer.next,
        };
        let mut tally = Tally::default();
        let results = Results::of(items, |item| match (item.outcome(), &failure) {
            (Some(Ok(first)), _) if first.lsn.plus(item.count()) <= next => {
                tally.add(item);
                Ok(*first)
            }
            (Some(Err(refused)), _) => Err(refused.clone()),
            (_, failure) => Err(failure
                .clone()
                .expect("without a failure every item is written")),
        });
        self.publish(next, writer.refusals, tally);
        self.make_due(items, &results);
        results
    }

    /// Commits `items`, which are those of many threads.
    fn lead(&self, items: &mut [Item]) -> Results {
        let committed = self
            .health
            .catch(|| self.commit(&mut self.health.lock(&self.writer), items));
        // A panic is an error to every member of the group: none of them waits in vain.
        committed.unwrap_or_else(|poisoned| {
            let results = Results::of(items, |_| Err(poisoned.clone().into()));
            self.make_due(items, &results);
            results
        })
    }

    /// Makes the callbacks of `items` due, which became `results`.
    fn make_due(&self, items: &mut [Item], results: &Results) {
        let due = items.iter_mut().enumerate().filter_map(|(index, item)| {
            let callback = item.take_callback()?;
            let result = results.appended(index, item.count());
            Some(Due { callback, result })
        });
        self.delivery.add(due);
    }

    /// Writes `items`, as far as it can, and makes them durable if the mode says so.
    fn write_and_sync(&self, writer: &mut Writer, items: &mut [Item]) -> Result<()> {
        let first = writer.next;
        let wants_sync = items.iter().any(Item::is_sync);
        let written = self.write_items(writer, items);
        if (wants_sync || writer.next > first) && !self.is_poisoned() {
            self.sync_as_promised(writer, wants_sync)?;
        }
        written?;
        self.check_healthy()
    }

    /// Writes `items` in groups.
    fn write_items(&self, writer: &mut Writer, items: &mut [Item]) -> Result<()> {
        self.check_healthy()?;
        let mut rest = items;
        while let Some(first) = rest.first_mut() {
            let found = writer.expectation();
            let first_size = first.size();
            if first.is_sync() {
                first.pass(writer.next);
                (_, rest) = rest.split_at_mut(1);
                continue;
            }
            if !first.accepts(found) {
                // What was built on it expects the same number of refusals. If that is lower than the
                // present one it is refused, too; else it could get its position by chance.
                writer.refusals += u64::from(first.refuse(found));
                (_, rest) = rest.split_at_mut(1);
                continue;
            }
            let n = writer.fitting(rest);
            let made_room = self.clear(writer).and_then(|()| {
                if n == 0 {
                    return self.make_room(writer, first_size);
                }
                let group = rest.iter().take(n).map(Item::size).sum::<u64>();
                self.reach(writer.offset + GROUP_HEADER + group)
            });
            if let Err(error) = made_room {
                return self.refuse(writer, rest, error);
            }
            if n == 0 {
                continue;
            }
            let (group, _) = rest.split_at_mut(n);
            if let Err(error) = self.write_group(writer, group) {
                return self.refuse(writer, rest, error);
            }
            let (group, later) = rest.split_at_mut(n);
            let records = group.iter().map(Item::count).sum();
            writer.next = writer.next.plus(records);
            writer.writes += group.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Refuses `items`, for which there is no room by `error`.
    fn refuse(&self, writer: &mut Writer, items: &mut [Item], error: Error) -> Result<()> {
        if self.is_poisoned() {
            return Err(error);
        }
        // Whatever was built on one of them is refused.
        writer.refusals += 1;
        for item in items {
            if item.is_sync() {
                item.pass(writer.next);
            } else {
                item.fail(error.clone());
            }
        }
        Ok(())
    }

    /// Gives the active segment space and zeros up to `end`.
    fn reach(&self, end: u64) -> Result<()> {
        self.edge
            .reach(&self.health, end)
            .map_err(|error| self.poison_unless_full(error))
    }

    /// Zeros what a write left behind that the disk had no space for.
    ///
    /// Not by the next group itself: of that one a power loss can leave any sectors, and where those of the
    /// other one be between them their records can pass for its own.
    pub(crate) fn clear(&self, writer: &mut Writer) -> Result<()> {
        if writer.left_over == 0 {
            return Ok(());
        }
        let zeros = writer.left_over - writer.offset;
        let zeroed = writer.active.held().write_zeros(writer.offset, zeros);
        zeroed.map_err(|error| self.poison_unless_full(error))?;
        // Durable: the zeros. Only now may a group be written there, or the segment be left.
        self.sync_written(self.queue.site(), || Written {
            is_cleared: true,
            ..writer.written()
        })?;
        writer.left_over = 0;
        Ok(())
    }

    /// Writes `items` as one group.
    ///
    /// # Errors
    /// Of the disk. If it is full they are not written, but a part of them may be left after the last group.
    fn write_group(&self, writer: &mut Writer, items: &mut [Item]) -> Result<()> {
        let number = writer.active.number;
        let mut offset = writer.offset + GROUP_HEADER;
        let mut lsn = writer.next;
        for item in items.iter_mut() {
            let first = Location {
                lsn,
                segment: number,
                offset: offset_in_segment(offset),
                len: 0,
                epoch: writer.epochs.current,
                group: offset_in_segment(writer.offset),
            };
            item.bind(self.id, first);
            offset += item.size();
            lsn = lsn.plus(item.count());
        }
        let fits = |n: u64| u32::try_from(n).expect("a group is not larger than a segment");
        let header = GroupHeader {
            bytes: fits(offset - writer.offset - GROUP_HEADER),
            count: fits(lsn.0 - writer.next.0),
            epoch: writer.epochs.current,
            first_lsn: writer.next,
            durable_lsn: self.durable(),
            time: self.clock.tick(),
        };
        let time = header.time;
        let layout = writer.active.header.layout;
        let header = header.encode(place(self.id, number, writer.offset), layout);
        let file = writer.active.held();
        // One write. No padding is written: the segment is zeros already.
        let written = if let [only] = items {
            file.write_all_at(only.group(&header), writer.offset)
        } else {
            let mut slices = Vec::with_capacity(1 + items.len());
            slices.push(IoSlice::new(&header));
            slices.extend(items.iter().map(|item| IoSlice::new(item.bytes())));
            file.write_all_vectored_at(&mut slices, writer.offset)
        };
        if let Err(error) = written {
            // Zeros are there, which are no space where a file system copies on write.
            writer.left_over = offset;
            return Err(self.poison_unless_full(error));
        }
        add(&self.counters.groups, 1);
        if layout != Layout::Plain {
            writer.active.has_newest(time);
        }
        writer.offset = align_group(offset);
        self.prepare(writer);
        Ok(())
    }

    /// Syncs what was written if the mode promises that before the acknowledgement, or if it is asked for.
    fn sync_as_promised(&self, writer: &Writer, is_requested: bool) -> Result<()> {
        if !is_requested && !self.gate.must_sync(writer.writes) {
            return Ok(());
        }
        self.sync_written(self.queue.site(), || writer.written())
    }

    /// Shows readers everything below `next`.
    fn publish(&self, next: Lsn, refusals: u64, acknowledged: Tally) {
        let mut view = self.view();
        view.next = view.next.max(next);
        view.refusals = refusals;
        view.appended += acknowledged;
        drop(view);
        self.gate.acknowledged(next.previous().0);
        // A sync may have covered what nobody could see yet.
        self.gate.moved().wake();
    }
}

/// The error for an item that no segment of the log can hold.
pub(crate) fn too_large(what: &'static str, size: u64, limit: u64) -> Error {
    Error::TooLarge { what, size, limit }
}
