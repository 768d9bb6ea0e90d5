//! Opening a store ([format], section 3): read, judge, and only then clean or create.
//!
//! [format]: crate::format

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use durable_io::engine::{Reserve, Work, open_store};
use durable_io::{Background, Disk, SyncMode};
use wal::{Lsn, Tail};

use crate::cache::Cache;
use crate::error::Result;
use crate::limits::DEFAULT_SEGMENT_SIZE;
use crate::names;
use crate::state::State;
use crate::stats::Recovery;
use crate::store::{Counters, Store};
use crate::waiting::Waiting;

/// What opening is asked to do.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) segment_size: Option<u64>,
    pub(crate) cache: u64,
    pub(crate) reserve: u64,
    pub(crate) background: Background,
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
    let dir = open_store(disk, path, names::LOCK)?;
    let log = log_options(request).look(path.join(names::LOG))?;
    let mut state = State::default();
    state.read(log.records(Lsn(1)), path)?;
    let bounds = log.bounds();
    let groups = state.groups.values();
    let recovery = Recovery {
        created: log.is_new(),
        groups: state.groups.len() as u64,
        entries: groups.map(|group| group.entries.len() as u64).sum(),
        records: bounds.end.0 - bounds.start.0,
        torn_tail: log.tail() != Tail::Clean,
    };
    // Everything was read, and belongs together: only from here on anything is changed.
    let log = log.open()?;
    let mut reserve = Reserve::new(dir.dir().clone(), names::RESERVE, request.reserve);
    reserve.hold()?;
    let store = Store {
        dir,
        state: Mutex::new(state),
        cache: Mutex::new(Cache::new(request.cache)),
        waiting: Waiting::default(),
        mover: Mutex::new(()),
        mover_work: Work::new(disk, log.health()),
        reserve: Mutex::new(reserve),
        is_closed: AtomicBool::new(false),
        counters: Counters::default(),
        log,
    };
    Ok(Recovered { store, recovery })
}

fn log_options(request: &Request) -> wal::Options {
    let options = wal::Options::new()
        // When something is synced, and for whom, is decided here.
        .sync(SyncMode::Manual)
        .new_segment_size(DEFAULT_SEGMENT_SIZE)
        .background(request.background)
        .disk(request.disk.clone());
    match request.segment_size {
        Some(size) => options.segment_size(size),
        None => options,
    }
}
