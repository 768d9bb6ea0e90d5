//! The process that is killed: it opens the store, writes with several threads while another one does
//! the chores, closes, opens again, and never ends by itself.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use durable_io::Background;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::line::{CLOSE, Line, OPEN, telling};
use super::writers::changes;
use super::{Mode, setting};
use crate::engine::{Engine, Outcome, Store};
use crate::find;

/// How many operations a planted liar holds back in its own memory.
const HELD_BACK: u64 = 8;

/// The command line of the process that is killed.
#[derive(Debug, clap::Args)]
pub struct KillChild {
    /// What is killed.
    engine: String,
    /// The store's directory.
    dir: PathBuf,
    #[arg(long, value_enum)]
    mode: Mode,
    #[arg(long)]
    seed: u64,
    /// The number each writer continues with.
    #[arg(long, value_delimiter = ',')]
    next: Vec<u64>,
    /// Acknowledge each operation before it is done.
    #[arg(long)]
    plant: bool,
}

impl KillChild {
    /// Works until it is killed. Returns only after a failure, which it has told its parent.
    ///
    /// # Errors
    /// There is no such engine.
    pub fn work(&self, engines: &[&'static dyn Engine]) -> anyhow::Result<()> {
        let engine = find(engines, &self.engine)?;
        let Err(error) = self.live(engine);
        // The parent may be gone; then there is nobody to tell.
        drop(Line::Failed(error.to_string()).say());
        Ok(())
    }

    /// The words of the command line that say this.
    pub(super) fn words(
        engine: &dyn Engine,
        dir: &Path,
        mode: Mode,
        seed: u64,
        next: &[u64],
        plant: bool,
    ) -> Vec<OsString> {
        let next: Vec<String> = next.iter().map(u64::to_string).collect();
        let mut words = vec![
            "kill-child".into(),
            engine.name().into(),
            dir.into(),
            "--mode".into(),
            mode.word().into(),
            format!("--seed={seed}").into(),
            format!("--next={}", next.join(",")).into(),
        ];
        if plant {
            words.push("--plant".into());
        }
        words
    }

    fn live(&self, engine: &dyn Engine) -> Outcome<Infallible> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut next = self.next.clone();
        let setting = setting(&self.dir, self.mode, Background::Threads);
        loop {
            let store = telling(OPEN, || engine.open(&setting))?;
            match next.first_mut() {
                Some(first) if self.plant => lie(&*store, first)?,
                _ => write(engine, &*store, &mut next, &mut rng)?,
            }
            // A store that is only dropped must be found as whole as one that is closed.
            let closes = rng.random_bool(0.5);
            telling(CLOSE, || {
                if closes {
                    store.close()
                } else {
                    drop(store);
                    Ok(())
                }
            })?;
        }
    }
}

/// One life of the store between open and close.
fn write(
    engine: &dyn Engine,
    store: &dyn Store,
    next: &mut [u64],
    rng: &mut StdRng,
) -> Outcome<()> {
    let operations = rng.random_range(50..400);
    let seed = rng.random();
    let (acked, heard) = channel();
    thread::scope(|scope| {
        let mut threads = vec![scope.spawn(move || control(engine, store, &heard, seed))];
        for (writer, next) in next.iter_mut().enumerate() {
            let acked: Sender<()> = acked.clone();
            threads.push(scope.spawn(move || {
                for _ in 0..operations {
                    store.apply(&changes(writer, *next))?;
                    Line::Ack { writer, n: *next }.say()?;
                    *next += 1;
                    if acked.send(()).is_err() {
                        // The controller has failed, and its error is the one to report.
                        break;
                    }
                }
                Ok(())
            }));
        }
        // The controller ends when the last writer has let go of its sender.
        drop(acked);
        for thread in threads {
            thread.join().map_err(|_panic| "a thread panicked")??;
        }
        Ok(())
    })
}

/// Does a chore now and then, paced by the acknowledgements it hears.
fn control(engine: &dyn Engine, store: &dyn Store, acked: &Receiver<()>, seed: u64) -> Outcome<()> {
    let chores = engine.killing().map_or(&[][..], |killing| killing.chores);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut wait = rng.random_range(5..150);
    for () in acked {
        wait -= 1;
        if wait > 0 {
            continue;
        }
        wait = rng.random_range(5..150);
        if let Some(chore) = chores.choose(&mut rng) {
            let drawn = rng.random();
            telling(chore, || store.chore(chore, drawn))?;
        }
    }
    Ok(())
}

/// The planted bug: operations are acknowledged while they are still in this process's memory.
fn lie(store: &dyn Store, next: &mut u64) -> Outcome<()> {
    for _ in 0..100 {
        let first = *next;
        *next += HELD_BACK;
        for n in first..*next {
            Line::Ack { writer: 0, n }.say()?;
        }
        for n in first..*next {
            store.apply(&changes(0, n))?;
        }
    }
    Ok(())
}
