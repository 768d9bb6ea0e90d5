//! A projection that is at work: it takes events from the log, adds them to its state, and saves that.

use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durable_io::engine::{Signal, Step, Work, Worker};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::Position;
use crate::marks::Mark;
use crate::marks::snapshot::{Header, Key};
use crate::projection::{Failure, Project, Run};
use crate::read::Feed;
use crate::stats::ProjectionStats;
use crate::store::{Runs, Store};

/// How many events are added before others may look at the state.
const STEP: usize = 256;

/// What is done with a `T`.
pub(crate) struct How<T> {
    pub(crate) apply: fn(&mut T, &Event) -> Result<(), Failure>,
    /// `None` if the state is kept elsewhere.
    pub(crate) encoding: Option<Encoding<T>>,
}

/// How a `T` becomes bytes.
pub(crate) struct Encoding<T> {
    pub(crate) version: u32,
    pub(crate) encode: fn(&T) -> Vec<u8>,
}

/// A projection, as its handle, its thread and the store share it.
pub(crate) struct Running<T> {
    pub(crate) name: String,
    pub(crate) what: Project,
    how: How<T>,
    /// Held while events are added, and across I/O: whoever looks at the state sees it between two events.
    progress: Mutex<Progress<T>>,
    status: Mutex<Status>,
    /// Where those wait who wait for it.
    moved: Arc<Signal>,
    work: Arc<Work>,
    worker: Mutex<Option<Worker>>,
}

/// A state, and how far it has come.
pub(crate) struct Progress<T> {
    pub(crate) state: T,
    feed: Feed,
    /// Every event that is meant is in the state, up to here.
    at: Position,
    /// Where it was last saved, or 0.
    saved: Position,
    /// Events that were added since.
    unsaved: u64,
    /// By the store's clock.
    saved_at_micros: u64,
}

/// What is reported of it while it is at work.
#[derive(Clone, Debug, Default)]
struct Status {
    at: Position,
    saved: Position,
    saved_bytes: u64,
    failed: Option<Error>,
    save_error: Option<Error>,
}

/// Where a projection begins.
pub(crate) struct Begin<T> {
    pub(crate) state: T,
    pub(crate) at: Position,
    /// What was saved at `at`, in bytes; 0 if nothing was.
    pub(crate) saved_bytes: u64,
}

thread_local! {
    /// True while this thread adds an event to a projection: what that appends waits for no other one, which may
    /// wait for it.
    static IS_APPLYING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller is called by a projection.
pub(crate) fn is_applying() -> bool {
    IS_APPLYING.get()
}

/// As long as it lives this thread is called by a projection.
struct Applying(bool);

impl Applying {
    fn begin() -> Self {
        Self(IS_APPLYING.replace(true))
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        IS_APPLYING.set(self.0);
    }
}

/// Does `work`, which is not ours; a panic is an error.
pub(crate) fn guarded<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<R, Failure> {
    let _applying = Applying::begin();
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(text.map_or("a panic".into(), |text| format!("a panic: {text}").into()))
    })
}

impl<T: Send + 'static> Running<T> {
    pub(crate) fn new(
        store: &Store,
        name: &str,
        what: Project,
        how: How<T>,
        begin: Begin<T>,
    ) -> Self {
        let moved = Arc::new(Signal::new());
        store.health.wakes(&moved);
        let saved = if begin.saved_bytes > 0 {
            begin.at
        } else {
            Position(0)
        };
        Self {
            name: name.to_owned(),
            how,
            status: Mutex::new(Status {
                at: begin.at,
                saved,
                saved_bytes: begin.saved_bytes,
                ..Status::default()
            }),
            progress: Mutex::new(Progress {
                state: begin.state,
                feed: Feed::new(what.query.clone(), begin.at.next()),
                at: begin.at,
                saved,
                unsaved: 0,
                saved_at_micros: store.settings.clock.now(),
            }),
            what,
            moved,
            work: Work::new(&store.disk, &store.health),
            worker: Mutex::new(None),
        }
    }

    /// Shows `look` the state.
    pub(crate) fn read<R>(&self, store: &Store, look: impl FnOnce(&T) -> R) -> Result<R> {
        let progress = self.progress();
        self.check(store)?;
        let _applying = Applying::begin();
        Ok(look(&progress.state))
    }

    /// Adds every event that is durable; returns how far it has come.
    pub(crate) fn catch_up(&self, store: &Store) -> Result<Position> {
        store.check_open()?;
        let mut progress = self.progress();
        // What comes meanwhile is no part of it: somebody may append faster.
        let end = store.durable_end();
        while !self.advance(store, &mut progress, end)? {}
        Ok(progress.at)
    }

    /// Saves the state as it is.
    pub(crate) fn save(&self, store: &Store) -> Result<Position> {
        let mut progress = self.progress();
        self.check(store)?;
        // Also where there is nothing new: what is not durable is not seen after a failure.
        store.check()?;
        self.save_progress(store, &mut progress)?;
        Ok(progress.at)
    }

    /// Waits until every event up to `position` is in the state; false if that takes longer than `timeout`.
    pub(crate) fn wait_for(
        &self,
        store: &Store,
        position: Position,
        timeout: Duration,
    ) -> Result<bool> {
        let is_over = || {
            let status = store.health.lock(&self.status);
            status.at >= position || status.failed.is_some() || store.check().is_err()
        };
        self.moved.wait_until(is_over, Some(timeout));
        self.check(store)?;
        let is_there = store.health.lock(&self.status).at >= position;
        if !is_there {
            store.check()?;
        }
        Ok(is_there)
    }

    pub(crate) fn at(&self, store: &Store) -> Position {
        store.health.lock(&self.status).at
    }

    /// Makes the state anew of all events, while the old one is shown and continues, and puts it in its place,
    /// durably.
    pub(crate) fn rebuild(&self, store: &Store, empty: T) -> Result<Position> {
        store.check()?;
        let mut anew = Progress {
            state: empty,
            feed: Feed::new(self.what.query.clone(), Position(1)),
            at: Position(0),
            saved: Position(0),
            unsaved: 0,
            saved_at_micros: store.settings.clock.now(),
        };
        let end = store.durable_end();
        while !self.add(store, &mut anew, end, STEP)? {}
        // Whoever waits for this lock waits for the events that have come meanwhile.
        let mut progress = self.progress();
        let end = store.durable_end();
        while !self.add(store, &mut anew, end, STEP)? {}
        self.save_progress(store, &mut anew)?;
        *progress = anew;
        store.health.lock(&self.status).failed = None;
        self.report(store, &progress);
        Ok(progress.at)
    }

    fn progress(&self) -> MutexGuard<'_, Progress<T>> {
        // A panic of what is not ours is caught, but for that of whoever looks at the state, which changes
        // nothing.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Error::Stopped`], or what else it has stopped for.
    fn check(&self, store: &Store) -> Result<()> {
        let failed = store.health.lock(&self.status).failed.clone();
        failed.map_or(Ok(()), Err)
    }

    /// Adds some events, and saves the state if that is due; true if none is left before `end`.
    fn advance(&self, store: &Store, progress: &mut Progress<T>, end: Position) -> Result<bool> {
        self.check(store)?;
        let until_due = self.what.every.saturating_sub(progress.unsaved).max(1);
        let most = usize::try_from(until_due).map_or(STEP, |events| events.min(STEP));
        let added = self.add(store, progress, end, most);
        self.report(store, progress);
        if let Err(error) = &added {
            store.health.lock(&self.status).failed = Some(error.clone());
            self.moved.wake();
        }
        if added? {
            self.save_if_late(store, progress);
            return Ok(true);
        }
        if progress.unsaved >= self.what.every {
            self.try_save(store, progress);
        }
        Ok(false)
    }

    /// Adds at most `most` events; true if none is left before `end`.
    fn add(
        &self,
        store: &Store,
        progress: &mut Progress<T>,
        end: Position,
        most: usize,
    ) -> Result<bool> {
        for _ in 0..most {
            let Some(event) = progress.feed.next(store, end)? else {
                progress.at = progress.at.max(end.previous());
                return Ok(true);
            };
            let state = &mut progress.state;
            guarded(|| (self.how.apply)(state, &event))
                .map_err(|reason| self.stopped(event.position(), reason))?;
            progress.at = event.position();
            progress.unsaved += 1;
        }
        Ok(false)
    }

    fn stopped(&self, position: Position, reason: Failure) -> Error {
        Error::Stopped {
            name: self.name.clone(),
            position,
            reason: reason.into(),
        }
    }

    fn save_if_late(&self, store: &Store, progress: &mut Progress<T>) {
        if progress.unsaved > 0 && self.due_in(store, progress) == Some(Duration::ZERO) {
            self.try_save(store, progress);
        }
    }

    /// How long until it is to be saved; `None` if that depends on no time.
    fn due_in(&self, store: &Store, progress: &Progress<T>) -> Option<Duration> {
        let now = store.settings.clock.now();
        let since = Duration::from_micros(now.saturating_sub(progress.saved_at_micros));
        Some(self.what.after?.saturating_sub(since))
    }

    /// Saves the state, or notes why not: it is tried again when that is due again.
    fn try_save(&self, store: &Store, progress: &mut Progress<T>) {
        let saved = self.save_progress(store, progress);
        progress.unsaved = 0;
        progress.saved_at_micros = store.settings.clock.now();
        store.health.lock(&self.status).save_error = saved.err();
    }

    fn save_progress(&self, store: &Store, progress: &mut Progress<T>) -> Result<()> {
        let Some(Encoding { version, encode }) = &self.how.encoding else {
            return Ok(());
        };
        if progress.at == progress.saved {
            return Ok(());
        }
        let state = guarded(|| Ok(encode(&progress.state)))
            .map_err(|reason| self.stopped(progress.at, reason))?;
        let mark = Mark {
            position: progress.at,
            id: store.event(progress.at)?.id(),
        };
        let header = Header {
            key: Key::new(&self.name, ""),
            version: *version,
            mark,
        };
        let bytes = store.save_state(header, &state)?;
        progress.saved = progress.at;
        progress.unsaved = 0;
        progress.saved_at_micros = store.settings.clock.now();
        let mut status = store.health.lock(&self.status);
        status.saved = progress.at;
        status.saved_bytes = bytes;
        status.save_error = None;
        Ok(())
    }

    fn report(&self, store: &Store, progress: &Progress<T>) {
        store.health.lock(&self.status).at = progress.at;
        self.moved.wake();
    }

    /// Starts its thread.
    pub(crate) fn start(self: &Arc<Self>, store: &Arc<Store>) -> Result<()> {
        let (running, shared) = (Arc::clone(self), Arc::clone(store));
        let name = format!("projection-{}", self.name);
        let worker = self
            .work
            .start(&name, move || Ok::<_, Error>(running.step(&shared)))?;
        *store.health.lock(&self.worker) = Some(worker);
        Ok(())
    }

    /// A step of its thread. What it fails with is returned to whoever asks, and in the statistics.
    fn step(&self, store: &Store) -> Step {
        let mut progress = self.progress();
        match self.advance(store, &mut progress, store.durable_end()) {
            Ok(false) => Step::Done,
            Ok(true) if progress.unsaved > 0 => {
                self.due_in(store, &progress).map_or(Step::Idle, Step::Wait)
            }
            Ok(true) | Err(_) => Step::Idle,
        }
    }
}

impl<T: Send + 'static> Runs for Running<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self) -> Run {
        self.what.run
    }

    fn run_inline(&self, store: &Store) {
        // Also what it has appended itself. Others who append wait for it, so this has an end.
        while let Ok(at) = self.catch_up(store)
            && at.next() < store.durable_end()
        {}
    }

    fn notify(&self) {
        self.work.notify();
        // Those who wait for it learn of the end of the store, too.
        self.moved.wake();
    }

    fn run_once(&self, store: &Store) -> Result<bool> {
        let before = self.at(store);
        self.work.run_once(|| {
            let step = self.step(store);
            // To come to the end of what is there is something done.
            let has_moved = self.at(store) > before;
            Ok(if has_moved { Step::Done } else { step })
        })
    }

    fn stop(&self, store: &Store) {
        let worker = store.health.lock(&self.worker).take();
        // Joined without the lock.
        drop(worker);
    }

    fn stats(&self, store: &Store) -> ProjectionStats {
        let status = store.health.lock(&self.status).clone();
        let last = store.durable_end().previous();
        ProjectionStats {
            name: self.name.clone(),
            run: self.what.run,
            position: status.at,
            lag: last.0.saturating_sub(status.at.0),
            saved: status.saved,
            saved_bytes: status.saved_bytes,
            stopped: status.failed,
            save_error: status.save_error,
        }
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("name", &self.name)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}
