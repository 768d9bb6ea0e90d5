//! Opening a store ([format], section 7).
//!
//! [format]: crate::format

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_io::engine::{Health, Reserve, Signal, Work, open_store};
use durable_io::{Background, Dir, Disk, SyncMode};
use wal::{Lsn, Opening, Wal};

use crate::backup::check_finished;
use crate::clock::Clock;
use crate::error::Result;
use crate::ids::Position;
use crate::limits::tail_bound;
use crate::list::{Entry, Found, Indexer, List};
use crate::marks::{How, Marks};
use crate::names;
use crate::part::Part;
use crate::stats::Recovery;
use crate::store::{Counters, Head, Ids, Settings, Store};
use crate::tail::Tail;
use crate::term::Key;
use crate::view::{self, Slot};

/// What opening is asked to do.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) sync: SyncMode,
    pub(crate) segment_size: u64,
    pub(crate) index_interval: u64,
    pub(crate) reserve: u64,
    pub(crate) background: Background,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) path: PathBuf,
}

/// A store, recovered and durable.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) store: Store,
    pub(crate) recovery: Recovery,
}

/// Creates or recovers a store.
pub(crate) fn recover(request: &Request) -> Result<Recovered> {
    let Request { disk, path, .. } = request;
    // Durable: the directory's own name. Only now may anything in it be relied on.
    let store_dir = open_store(disk, path, names::LOCK)?;
    let dir = store_dir.dir();
    check_finished(dir)?;
    let log = log_options(request).look(path.join(names::EVENTS))?;
    let found = Index::look(request, dir, &log)?;
    let names = dir.list()?;
    let has_marks = names.iter().any(|entry| entry.name == names::MARKS);
    let marks = Marks::look(
        How {
            disk: disk.clone(),
            background: request.background,
            path: path.join(names::MARKS),
            segment_size: request.segment_size,
            sync: SyncMode::Always,
        },
        has_marks,
    )?;
    // Everything was read, and belongs together: only from here on anything is changed.
    let log = log.open()?;
    let mut index = found.settle(request, dir, &log)?;
    let marks = marks.open()?;
    let names = names.into_iter().map(|entry| entry.name);
    index.recovery.removed_files = index.remove_orphans(dir, names)?;
    let mut reserve = Reserve::new(dir.clone(), names::RESERVE, request.reserve);
    reserve.hold()?;
    let ids = Ids::new(disk.unique_id()?);
    let settings = Settings {
        sync_mode: request.sync,
        index_interval: request.index_interval,
        segment_size: request.segment_size,
        clock: request.clock.clone(),
        background: request.background,
        key: index.list.key,
    };
    let recovery = index.recovery;
    let expectation = log.expectation();
    let health = Health::new();
    let moved = Arc::new(Signal::new());
    health.wakes(&moved);
    let store = Store {
        disk: disk.clone(),
        dir: store_dir,
        settings,
        log,
        head: Mutex::new(Head {
            slots: index.slots,
            tail: index.tail,
            in_flight: VecDeque::new(),
            expectation,
            waiting_since: None,
        }),
        indexer: Mutex::new(Indexer {
            next_number: index.list.next_number,
            list: index.list,
        }),
        marks: Mutex::new(marks),
        reserve: Mutex::new(reserve),
        log_work: Work::new(disk, &health),
        index_work: Work::new(disk, &health),
        health,
        is_closed: AtomicBool::new(false),
        moved,
        wakers: Mutex::default(),
        projections: Mutex::default(),
        ids,
        counters: Counters::default(),
    };
    Ok(Recovered { store, recovery })
}

/// Events of one stream are here and there in the log: more of its files stay open than where it is read in order.
const OPEN_SEGMENTS: usize = 256;

fn log_options(request: &Request) -> wal::Options {
    // The interval is kept here, so that those who wait for durable events learn of its syncs.
    let sync = match request.sync {
        SyncMode::Batch { writes, .. } => SyncMode::Batch {
            writes,
            interval: Duration::MAX,
        },
        other => other,
    };
    wal::Options::new()
        .sync(sync)
        .segment_size(request.segment_size)
        .open_segments(OPEN_SEGMENTS)
        .background(request.background)
        .disk(request.disk.clone())
}

/// The index as it was found.
#[derive(Debug)]
struct Index {
    list: List,
    slots: Vec<Slot>,
    tail: Tail,
    recovery: Recovery,
}

/// What was found of the index; nothing was changed yet.
#[derive(Debug)]
struct FoundIndex {
    list: List,
    /// There was none that can be read.
    is_new: bool,
    /// What no part covers; `None` if that is so much that it counts as a lost part.
    tail: Option<Tail>,
    recovery: Recovery,
}

impl Index {
    fn look(request: &Request, dir: &Dir, log: &Opening) -> Result<FoundIndex> {
        let end = Position(log.bounds().end.0);
        let found = List::read(dir)?;
        let mut recovery = Recovery {
            events: end.previous(),
            created: found == Found::Missing && end == Position(1),
            torn_tail: log.tail() != wal::Tail::Clean,
            ..Recovery::default()
        };
        let (list, is_new) = match found {
            Found::Whole(list) => (list, false),
            Found::Missing | Found::Damaged => {
                let key = Key([request.disk.unique_id()?, request.disk.unique_id()?]);
                recovery.list_lost = !recovery.created;
                (List::new(key), true)
            }
        };
        if list.last() >= end {
            // The list was written when those events were durable.
            return Err(list.ahead_of_log(dir.path(), end.previous()));
        }
        Ok(FoundIndex {
            tail: read_tail(&list, tail_bound(request.index_interval), log)?,
            list,
            is_new,
            recovery,
        })
    }
}

/// Reads what no part covers. `None` if it is more than `bound` bytes, since the list is lost or old.
fn read_tail(list: &List, bound: u64, log: &Opening) -> Result<Option<Tail>> {
    let mut tail = Tail::new(list.key, list.last().next());
    let mut records = log.records(Lsn(tail.first().0));
    while let Some((location, payload)) = records.read()? {
        tail.push(view::decode(Position(location.lsn().0), payload.into())?);
        if tail.log_bytes() > bound {
            return Ok(None);
        }
    }
    Ok(Some(tail))
}

impl FoundIndex {
    fn settle(self, request: &Request, dir: &Dir, log: &Wal) -> Result<Index> {
        let Self {
            list,
            is_new,
            tail,
            mut recovery,
        } = self;
        if is_new {
            list.write(dir)?;
        }
        let mut slots = Vec::with_capacity(list.parts.len());
        for entry in &list.parts {
            let slot = open_part(dir, log, entry)?;
            recovery.lost_parts += u64::from(matches!(slot, Slot::Lost(_)));
            recovery.parts += 1;
            slots.push(slot);
        }
        let first = list.last().next();
        let mut index = Index {
            tail: Tail::new(list.key, first),
            list,
            slots,
            recovery,
        };
        if let Some(tail) = tail {
            index.recovery.read_events = tail.next().0 - first.0;
            index.tail = tail;
        } else {
            index.lose(request, first, Position(log.bounds().end.0).previous())?;
        }
        Ok(index)
    }
}

impl Index {
    fn lose(&mut self, request: &Request, first: Position, last: Position) -> Result<()> {
        let entry = Entry {
            number: self.list.next_number,
            id: request.disk.unique_id()?,
            first,
            last,
        };
        self.list.next_number += 1;
        self.list.parts.push(entry);
        self.slots.push(Slot::Lost(entry));
        self.recovery.lost_parts += 1;
        self.tail = Tail::new(self.list.key, last.next());
        Ok(())
    }

    /// Removes what the list does not name; returns how much that was.
    fn remove_orphans(&self, dir: &Dir, names: impl Iterator<Item = String>) -> Result<u64> {
        let listed: BTreeSet<u64> = self.list.parts.iter().map(|part| part.number).collect();
        let mut removed = 0;
        for name in names {
            let is_part = |number: u64| !listed.contains(&number);
            if names::parse_part(&name).is_some_and(is_part) || names::is_temp(&name) {
                // No directory sync: it is a cache that nothing names; if it comes back it is removed
                // again.
                dir.remove(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// The part that `entry` names, if it is what it should be and the log holds what it covers.
fn open_part(dir: &Dir, log: &Wal, entry: &Entry) -> Result<Slot> {
    let Ok(part) = Part::open(dir, entry) else {
        return Ok(Slot::Lost(*entry));
    };
    let Ok(location) = part.location(entry.last) else {
        return Ok(Slot::Lost(*entry));
    };
    // Another event there: the log was repaired or restored, and then continued.
    let is_same = match log.read(location) {
        Ok(record) => {
            let event = view::decode(Position(record.lsn.0), record.payload.into())?;
            event.position() == entry.last && event.id() == part.header().last_id
        }
        Err(wal::Error::Disk(error)) => return Err(error.into()),
        Err(_other) => false,
    };
    Ok(if is_same {
        Slot::Ready(Arc::new(part))
    } else {
        Slot::Lost(*entry)
    })
}
