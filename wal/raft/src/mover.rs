//! Giving the log's front back: what of it still counts is appended again, then it is removed.
//!
//! A record is moved under the lock under which everything is written, and only while it counts: so the order
//! of the log stays that of the decisions, and whatever was decided about a record before it was moved, the
//! moved one is not older than that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::engine::{Step, Worker};
use durable_io::made_durable;
use wal::{Location, Lsn};

use crate::error::{Corruption, Error, Result};
use crate::group_state::weight;
use crate::record::{Event, Record};
use crate::state::State;
use crate::store::{RECORD_HEADER, Store};

/// About so many bytes are moved at once, while others wait.
const CHUNK: u64 = 256 << 10;

/// Records of the front that counted when they were read, and are to be moved together.
#[derive(Debug, Default)]
struct Load {
    records: Vec<(Lsn, Vec<u8>)>,
    size: u64,
}

/// How far more than twice what counts the log may take of the disk, in segments: one that is not full, one
/// that is ready, and one that is being emptied.
const SLACK: u64 = 2;
/// How much more before writers wait for it.
const BOUND: u64 = 4;

impl Store {
    /// True if there is much in the log that does not count, and it takes more of the disk than twice what
    /// counts and `slack` segments.
    fn is_over(&self, state: &State, slack: u64) -> bool {
        let segment = self.log.segment_size();
        if state.held - state.live < segment / 2 {
            return false;
        }
        self.log.stats().segment_count * segment > 2 * state.live + slack * segment
    }

    /// Lets no log grow without bound, however slow whoever moves is.
    pub(crate) fn bound_disk(&self) -> Result<()> {
        let is_over = {
            let state = self.state()?;
            let is_over = self.is_over(&state, BOUND);
            if !is_over && self.is_over(&state, SLACK) {
                self.mover_work.notify();
            }
            is_over
        };
        if is_over {
            match self.move_start() {
                // Whoever needs the space is told.
                Err(error) if !error.is_no_space() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives back a part of the log's front, if that is due; returns whether it was.
    pub(crate) fn move_start(&self) -> Result<bool> {
        // Held across I/O: another one would move what this one moves.
        let _mover = self.health().lock(&self.mover);
        let is_due = {
            let state = self.state()?;
            self.is_over(&state, SLACK)
        };
        if !is_due {
            return Ok(false);
        }
        let mut records = self.log.records(Lsn(1));
        let (mut passed, mut next) = (0, Lsn(1));
        let mut load = Load::default();
        while passed < self.log.segment_size()
            && let Some((at, payload)) = records.read()?
        {
            passed += weight(at);
            next = at.lsn().next();
            self.take(at, payload, &mut load)?;
        }
        self.put_down(&mut load)?;
        // Durable: what was moved, and then that the front is given up. Only now may its segments go, which this
        // does, too.
        let given = made_durable(|| self.log.truncate_before(next));
        if self.log.bounds().start == next {
            self.state()?.held -= passed;
        }
        given?;
        self.hold_reserve()?;
        Ok(true)
    }

    /// Takes the record `payload`, which is at `at`, if it counts.
    fn take(&self, at: Location, payload: &[u8], load: &mut Load) -> Result<()> {
        let lsn = at.lsn();
        let damaged = || Error::corrupt(self.dir.dir().path(), Corruption::Record { lsn });
        let record = Record::decode(payload).ok_or_else(damaged)?;
        let parts = {
            let state = self.state()?;
            if !state.is_live(&record, lsn) {
                return Ok(());
            }
            parts(&state, &record)
        };
        if let Some(parts) = parts {
            // In one piece: what stands between two parts makes of them nothing.
            self.put_down(load)?;
            return self.move_parts(&parts);
        }
        let size = RECORD_HEADER + payload.len() as u64;
        let limit = CHUNK.min(wal::max_batch_size(self.log.segment_size()));
        if load.size + size > limit {
            self.put_down(load)?;
        }
        load.records.push((lsn, payload.to_owned()));
        load.size += size;
        Ok(())
    }

    /// Appends what is in `load` again, as far as it still counts.
    fn put_down(&self, load: &mut Load) -> Result<()> {
        let Load { records, .. } = std::mem::take(load);
        let mut state = self.state()?;
        let decoded = records.iter().map(|(lsn, payload)| {
            let record = Record::decode(payload).expect("it was decoded when it was taken");
            (*lsn, record)
        });
        let live = decoded.filter(|(lsn, record)| state.is_live(record, *lsn));
        let live: Vec<Record<'_>> = live.map(|(_, record)| record).collect();
        if !live.is_empty() {
            self.put_for_sure(&mut state, &live)?;
            self.count(&live);
        }
        Ok(())
    }

    /// Moves the entry whose parts are at `locations`, if it still counts when they are read.
    fn move_parts(&self, locations: &[Location]) -> Result<()> {
        let mut payloads = Vec::with_capacity(locations.len());
        for location in locations {
            match self.log.read(*location).map_err(Error::from) {
                Ok(record) => payloads.push(record.payload),
                // Another one cannot move it, but it may have been given up.
                Err(error) => return Err(error),
            }
        }
        let (Some(first), Some(payload)) = (locations.first(), payloads.first()) else {
            return Ok(());
        };
        let damaged = |lsn| Error::corrupt(self.dir.dir().path(), Corruption::Record { lsn });
        let mut state = self.state()?;
        let record = Record::decode(payload).ok_or_else(|| damaged(first.lsn()))?;
        if !state.is_live(&record, first.lsn()) {
            return Ok(());
        }
        for (payload, at) in payloads.iter().zip(locations) {
            let part = Record::decode(payload).ok_or_else(|| damaged(at.lsn()))?;
            self.put_for_sure(&mut state, &[part])?;
            self.count(&[part]);
        }
        Ok(())
    }

    fn count(&self, records: &[Record<'_>]) {
        let bytes = records.iter().map(|record| record.tail().len() as u64);
        let (moved, bytes) = (records.len() as u64, bytes.sum());
        let counters = &self.counters;
        counters.moved_records.fetch_add(moved, Ordering::Relaxed);
        counters.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn mover_step(&self) -> Result<Step> {
        let did = self.move_start()?;
        Ok(if did { Step::Done } else { Step::Idle })
    }

    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        self.check()?;
        // Who waits for a sync does not wait for other work.
        if self.answer_waiting() || self.log.run_background()? {
            return Ok(true);
        }
        self.mover_work.run_once(|| self.mover_step())
    }
}

/// Where the parts are of the entry whose first part is `record`; `None` if it is no part.
fn parts(state: &State, record: &Record<'_>) -> Option<Vec<Location>> {
    let Event::Part { index, .. } = record.event else {
        return None;
    };
    let slot = state.groups.get(&record.group)?.entries.get(&index)?;
    Some(slot.place.locations().to_vec())
}

/// The thread that moves; stopped and joined when dropped.
pub(crate) fn start_mover(store: &Arc<Store>) -> Result<Worker> {
    let shared = Arc::clone(store);
    let worker = store
        .mover_work
        .start("raft-move", move || shared.mover_step())?;
    Ok(worker)
}
