//! Background work: checkpoints, and the file made shorter when nobody writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durable_io::engine::{Step, Work, Worker};

use crate::error::{Error, Result};
use crate::shrinking::Shrinking;
use crate::store::checkpoint::Begin;
use crate::store::{Store, load};

/// How long nobody commits before what is left is written, and the file made shorter.
const REST: Duration = Duration::from_millis(200);
/// Pages that are moved between two checkpoints, and by one transaction.
const MOVES: u64 = 1024;
const MOVES_AT_ONCE: usize = 16;

/// Checkpoints that are asked for.
#[derive(Debug)]
pub(crate) struct Background {
    work: Arc<Work>,
    is_wanted: AtomicBool,
    /// Nothing is to be done before the next commit.
    is_at_rest: AtomicBool,
}

/// What the thread knows of a time without commits.
#[derive(Debug, Default)]
struct Rest {
    /// Commits when it looked last.
    commits: Option<u64>,
    /// Nothing is left to do since then.
    is_over: bool,
    /// Pages of the file's end are being moved, and how many were.
    walk: Option<(Shrinking, u64)>,
}

impl Background {
    pub(crate) fn new(work: Arc<Work>) -> Self {
        Self {
            work,
            is_wanted: AtomicBool::new(false),
            is_at_rest: AtomicBool::new(false),
        }
    }

    /// There was a commit.
    pub(crate) fn end_rest(&self) {
        // Most of the time nobody rests, and nothing is written here.
        if self.is_at_rest.load(Ordering::Relaxed) && self.is_at_rest.swap(false, Ordering::SeqCst)
        {
            self.work.notify();
        }
    }

    pub(crate) fn ask_for_checkpoint(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
        self.work.notify();
    }
}

impl Store {
    /// Runs one step of background work, if there is any; returns whether there was.
    pub(crate) fn run_one_step(&self) -> Result<bool> {
        if self.log.run_background()? {
            return Ok(true);
        }
        self.background.work.run_once(|| self.work_once())
    }

    /// Goes on with a checkpoint that was begun, or begins one that is wanted.
    fn work_once(&self) -> Result<Step> {
        if self.checkpoint_step(None)? {
            return Ok(Step::Done);
        }
        let is_wanted = &self.background.is_wanted;
        if !is_wanted.swap(false, Ordering::SeqCst) {
            return Ok(Step::Idle);
        }
        match self.checkpoint_step(Some(Begin::Sparing)) {
            Ok(true) => Ok(Step::Done),
            Ok(false) => Ok(Step::Idle),
            Err(error) => {
                // It is tried again.
                is_wanted.store(true, Ordering::SeqCst);
                match error {
                    // Whoever asks for a step in the middle of a transaction asks again after it.
                    Error::StillOpen => Ok(Step::Idle),
                    error => Err(error),
                }
            }
        }
    }

    /// Does what is asked for, and, if nothing is, tidies up when nobody has committed for a while.
    fn work_or_rest(&self, rest: &mut Rest) -> Result<Step> {
        let step = self.work_once()?;
        if step != Step::Idle {
            return Ok(step);
        }
        let commits = load(&self.counters.commits);
        if rest.commits != Some(commits) {
            *rest = Rest {
                commits: Some(commits),
                ..Rest::default()
            };
            return Ok(Step::Wait(REST));
        }
        if rest.is_over {
            self.background.is_at_rest.store(true, Ordering::SeqCst);
            return Ok(if load(&self.counters.commits) == commits {
                Step::Idle
            } else {
                Step::Done
            });
        }
        if let Err(error) = self.tidy_up(rest) {
            // Not tried again before the next commit: checkpoints that are asked for do not wait for it.
            rest.is_over = true;
            if !error.is_no_space() {
                return Err(error);
            }
        }
        Ok(Step::Done)
    }

    /// Writes what is left, and moves pages from the end of the file if it is much longer than it need be.
    fn tidy_up(&self, rest: &mut Rest) -> Result<()> {
        if self.turn.peek(|_| ()).is_none() {
            // Somebody is at it.
            rest.commits = None;
            return Ok(());
        }
        self.checkpoint_and_cut()?;
        let is_wasteful = self.turn.peek(|writer| writer.space.is_wasteful());
        if is_wasteful == Some(false) {
            rest.is_over = true;
            return Ok(());
        }
        let (walk, all) = rest.walk.get_or_insert_with(|| (Shrinking::moves(), 0));
        let mut pages = 0;
        while pages < MOVES && rest.commits == Some(load(&self.counters.commits)) {
            let did = self.shrink_once(MOVES_AT_ONCE, Some(walk))?;
            pages += did.pages;
            *all += did.pages;
            if did.is_done || did.needs_checkpoint {
                // What could be moved was; readers may hold the rest.
                if did.is_done {
                    rest.is_over = *all == 0;
                    rest.walk = None;
                }
                return Ok(());
            }
            if self.background.work.is_stopped() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Starts the thread that works.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Worker> {
        let store = Arc::clone(self);
        let mut rest = Rest::default();
        let work = move || store.work_or_rest(&mut rest);
        Ok(self.background.work.start("btree", work)?)
    }

    /// Why the last attempt at a checkpoint failed, if it did.
    pub(crate) fn trouble(&self) -> Option<durable_io::engine::Trouble> {
        self.background.work.trouble()
    }
}
