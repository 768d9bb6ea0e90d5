//! [`Projected`]: a projection at work, and what the store does with all of them.

use std::sync::Arc;
use std::time::Duration;

use durable_io::{Background, SyncMode};

use crate::append::{check_name, invalid};
use crate::error::{Error, Result};
use crate::event_store::EventStore;
use crate::ids::Position;
use crate::marks::snapshot::{Header, Key, Saved};
use crate::projection::{Handler, Project, Projection, Run};
use crate::running::{Begin, Encoding, How, Running, guarded, is_applying};
use crate::stats::ProjectionStats;
use crate::store::{Runs, Store};

/// A projection, or a handler, that is at work as long as this lives. Made by [`EventStore::project`] and
/// [`EventStore::handle`].
///
/// It is given the durable events that it is of, in their order, each once. If what it does with one fails or
/// panics, it stops: every later answer is [`Error::Stopped`], until it is begun again, or
/// [rebuilt](Projected::rebuild). Its state is in [`Stats::projections`](crate::Stats::projections).
///
/// Dropping it ends its thread. It saves nothing: what was added since the last time is added again.
#[derive(Debug)]
pub struct Projected<T: Send + 'static> {
    store: Arc<Store>,
    running: Arc<Running<T>>,
}

impl<T: Send + 'static> Projected<T> {
    /// Shows `look` the state, between two events. What that appends waits for no projection.
    ///
    /// # Cost
    /// Waits while events are added, some hundred at a time.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what else has stopped it.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> Result<R> {
        self.running.read(&self.store, look)
    }

    /// Adds every event that is durable now, whoever else may do so; returns how far it has come.
    ///
    /// # Errors
    /// [`Error::Stopped`]; [`Error::Corrupt`], [`Error::Disk`]: an event cannot be read, and it stops.
    /// [`Error::Closed`].
    pub fn catch_up(&self) -> Result<Position> {
        self.running.catch_up(&self.store)
    }

    /// How far it has come: every event that it is of, up to here, is in the state.
    pub fn position(&self) -> Position {
        self.running.at(&self.store)
    }

    /// Waits until every event up to `position` is in the state, for at most `timeout`; false if it is not by
    /// then.
    ///
    /// # Errors
    /// As [`read`](Projected::read); [`Error::Poisoned`], [`Error::Closed`]: it will not be.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<bool> {
        self.running.wait_for(&self.store, position, timeout)
    }
}

impl<P: Projection> Projected<P> {
    /// Saves the state as it is; returns the position that it is of.
    ///
    /// # Durability
    /// When this returns, no crash takes that back: a restart continues after it.
    ///
    /// # Cost
    /// One record in a log of its own, and a sync; now and then that log is written anew.
    ///
    /// # Errors
    /// As [`read`](Projected::read); [`Error::TooLarge`]: the state does not fit into a segment of that log, or
    /// there are too many projections. [`Error::Disk`] with [`NoSpace`](durable_io::Error::NoSpace): nothing
    /// has changed. Any other `Error::Disk`, [`Error::Poisoned`]: it may or may not have been written.
    pub fn save(&self) -> Result<Position> {
        self.running.save(&self.store)
    }

    /// Makes the state anew of all events, as after a change of [`apply`](Projection::apply), or to continue after
    /// it has stopped. Until that is done the old state answers, and continues; then the new one takes its place,
    /// and is saved.
    ///
    /// # Durability
    /// As [`save`](Projected::save).
    ///
    /// # Cost
    /// Reads every event that it is of, in the thread of the caller, and holds two states.
    ///
    /// # Errors
    /// As [`catch_up`](Projected::catch_up) and [`save`](Projected::save); the old state stays.
    pub fn rebuild(&self) -> Result<Position> {
        self.running.rebuild(&self.store, P::default())
    }
}

impl<T: Send + 'static> Drop for Projected<T> {
    fn drop(&mut self) {
        self.running.stop(&self.store);
        let running: Arc<dyn Runs> = Arc::<Running<T>>::clone(&self.running);
        let mut all = self.store.health.lock(&self.store.projections);
        all.retain(|other| !Arc::ptr_eq(other, &running));
    }
}

impl EventStore {
    /// Begins the projection `P`, at what it has saved last, or at the first event.
    ///
    /// # Errors
    /// [`Diverged`](Error::Diverged): the log does not hold the event that the saved state is of; see
    /// [`forget_projection`](EventStore::forget_projection). [`Invalid`](Error::Invalid): a projection of this
    /// name is at work; it is to run [inline](Run::Inline), and the mode is not [`SyncMode::Always`]; or that is
    /// no name. [`Corrupt`](Error::Corrupt), [`Disk`](Error::Disk), [`Thread`](Error::Thread),
    /// [`Closed`](Error::Closed). If it runs inline, those of [`catch_up`](Projected::catch_up).
    pub fn project<P: Projection>(&self, what: Project) -> Result<Projected<P>> {
        self.check_projection(P::NAME, what.run)?;
        let key = Key::new(P::NAME, "");
        let begin = match self.store.saved::<P>(&key)? {
            Some((saved, state)) => {
                let mark = saved.mark;
                self.store.check_start(mark.position, Some(mark.id))?;
                Begin {
                    state,
                    at: mark.position,
                    saved_bytes: saved.bytes(),
                }
            }
            None => Begin {
                state: P::default(),
                at: Position(0),
                saved_bytes: 0,
            },
        };
        let how = How {
            apply: P::apply,
            encoding: Some(Encoding {
                version: P::VERSION,
                encode: P::encode,
            }),
        };
        self.begin(P::NAME, what, how, begin)
    }

    /// Begins `handler` where it says that it is. What `what` says of saving does not count.
    ///
    /// # Errors
    /// As [`project`](EventStore::project); [`Stopped`](Error::Stopped) if it cannot say where it is.
    pub fn handle<H: Handler>(&self, what: Project, mut handler: H) -> Result<Projected<H>> {
        let name = handler.name().to_owned();
        self.check_projection(&name, what.run)?;
        let stands = handler.position().map_err(|reason| Error::Stopped {
            name: name.clone(),
            position: Position(0),
            reason: reason.into(),
        })?;
        let at = stands.map_or(Position(0), |(position, _)| position);
        self.store.check_start(at, stands.map(|(_, id)| id))?;
        let how = How {
            apply: H::apply,
            encoding: None,
        };
        let begin = Begin {
            state: handler,
            at,
            saved_bytes: 0,
        };
        self.begin(&name, what, how, begin)
    }

    /// Forgets the states that were saved under `name`, of a projection and of streams: it begins anew.
    ///
    /// # Durability
    /// As [`Projected::save`].
    ///
    /// # Errors
    /// As [`Projected::save`]; [`Invalid`](Error::Invalid): a projection of this name is at work.
    pub fn forget_projection(&self, name: &str) -> Result<()> {
        self.store.check()?;
        check_name("a projection's name", name)?;
        // Held across I/O: nothing is saved meanwhile.
        let mut marks = self.store.health.lock(&self.store.marks);
        check_free(&self.store.health.lock(&self.store.projections), name)?;
        let forgotten = marks.forget_projection(name);
        forgotten.map_err(|error| self.store.note(error))
    }

    fn check_projection(&self, name: &str, run: Run) -> Result<()> {
        self.store.check_open()?;
        check_name("a projection's name", name)?;
        if run == Run::Inline && self.store.settings.sync_mode != SyncMode::Always {
            return Err(invalid(
                "a projection that runs inline",
                "the store's mode is `Always`",
            ));
        }
        Ok(())
    }

    fn begin<T: Send + 'static>(
        &self,
        name: &str,
        what: Project,
        how: How<T>,
        begin: Begin<T>,
    ) -> Result<Projected<T>> {
        let store = &self.store;
        let run = what.run;
        let running = Arc::new(Running::new(store, name, what, how, begin));
        {
            let mut all = store.health.lock(&store.projections);
            check_free(&all, name)?;
            all.push(Arc::<Running<T>>::clone(&running));
        }
        // From now on its end gives the name back.
        let projected = Projected {
            store: Arc::clone(store),
            running,
        };
        match (run, store.settings.background) {
            (Run::Inline, _) => drop(projected.catch_up()?),
            (Run::Live, Background::Threads) => projected.running.start(store)?,
            (Run::Live, Background::Inline) | (Run::Pull, _) => {}
        }
        Ok(projected)
    }
}

fn check_free(all: &[Arc<dyn Runs>], name: &str) -> Result<()> {
    if all.iter().any(|other| other.name() == name) {
        return Err(invalid("a projection's name", "one has it at a time"));
    }
    Ok(())
}

impl Store {
    /// The state that was saved under `key`, if it can be used.
    pub(crate) fn saved<P: Projection>(&self, key: &Key) -> Result<Option<(Saved, P)>> {
        let mut marks = self.health.lock(&self.marks);
        let Some(saved) = marks.snapshots.get(key) else {
            return Ok(None);
        };
        if saved.version != P::VERSION {
            return Ok(None);
        }
        // Held across I/O: it is not given up meanwhile.
        let bytes = marks.state(&saved)?;
        drop(marks);
        // Whatever keeps it from being read, the events say the same.
        match guarded(|| Ok(P::decode(&bytes))) {
            Ok(Some(state)) => Ok(Some((saved, state))),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// Saves `state`, durably; returns how many bytes that took.
    pub(crate) fn save_state(&self, header: Header, state: &[u8]) -> Result<u64> {
        self.check()?;
        // Held across I/O: records are written one at a time, in their order.
        let mut marks = self.health.lock(&self.marks);
        let key = header.key.clone();
        let saved = marks.save(header, state);
        saved.map_err(|error| self.note(error))?;
        let bytes = marks.snapshots.get(&key).map_or(0, |saved| saved.bytes());
        match marks.compact() {
            // It is saved; that log is written anew when there is space.
            Err(error) if error.is_no_space() => Ok(bytes),
            other => other.map(|()| bytes).map_err(|error| self.note(error)),
        }
    }

    fn all_projections(&self, run: Run) -> Vec<Arc<dyn Runs>> {
        let all = self.health.lock(&self.projections);
        let those = all.iter().filter(|one| one.run() == run);
        those.map(Arc::clone).collect()
    }

    /// Wakes the threads of projections: there may be events.
    pub(crate) fn notify_projections(&self) {
        let all = self.health.lock(&self.projections);
        all.iter().for_each(|one| one.notify());
    }

    /// Brings those up to date that run inline: what was just appended is durable.
    pub(crate) fn project_inline(&self) {
        if is_applying() {
            // It may wait for one that waits for it.
            return;
        }
        for one in self.all_projections(Run::Inline) {
            one.run_inline(self);
        }
    }

    /// A step of one that has no thread; returns whether there was something to do.
    pub(crate) fn project_once(&self) -> Result<bool> {
        for one in self.all_projections(Run::Live) {
            if one.run_once(self)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn stop_projections(&self) {
        // Without the lock: each waits for its thread.
        let all = self.health.lock(&self.projections).clone();
        for one in all {
            one.stop(self);
        }
    }

    pub(crate) fn projection_stats(&self) -> Vec<ProjectionStats> {
        let all = self.health.lock(&self.projections).clone();
        all.iter().map(|one| one.stats(self)).collect()
    }
}
