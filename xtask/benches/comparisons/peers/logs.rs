//! Other logs, each with its defaults unless its module says otherwise.

#[path = "fsys.rs"]
mod fsys;
#[path = "okaywal.rs"]
mod okaywal;
#[path = "raft_engine.rs"]
mod raft_engine;
#[path = "seglog.rs"]
mod seglog;
#[path = "writeahead.rs"]
mod writeahead;

use std::path::Path;
use std::time::Duration;

use crate::contender::{
    Contender, READ_FLOOR, Role, Unit, durable, durable_floor, first, kernel_floor, replay,
    unsynced,
};
use crate::measure::{QUICK, QUICK_SIZE, Rate, SIZES, THREADS, closed_loop, first_moments, record};

/// Another log, open.
trait Peer: Sized + Sync + 'static {
    const NAME: &str;

    fn open(dir: &Path) -> anyhow::Result<Self>;

    /// Appends `record`, durable when this returns. `thread` is the number of the thread that calls.
    fn append(&self, thread: usize, record: &[u8]) -> anyhow::Result<()>;

    fn close(self) -> anyhow::Result<()> {
        Ok(())
    }
}

pub(super) fn contenders() -> Vec<Contender> {
    let mut all = Vec::new();
    for real_time in [false, true] {
        for size in SIZES {
            for threads in THREADS {
                all.push(durable_append::<raft_engine::Log>(size, threads, real_time));
                all.push(durable_append::<okaywal::Log>(size, threads, real_time));
                all.push(durable_append::<seglog::Log>(size, threads, real_time));
                all.push(durable_append::<writeahead::Log>(size, threads, real_time));
                all.push(durable_append::<fsys::Log>(size, threads, real_time));
            }
        }
        all.push(quick(real_time, raft_engine::Log::append_unsynced));
        all.push(Contender {
            name: "seglog, flushed to the kernel".to_owned(),
            ..quick(real_time, seglog::Log::append_flushed)
        });
        all.push(Contender {
            name: "seglog, in its own buffer".to_owned(),
            role: Role::LesserPeer,
            ..quick(real_time, seglog::Log::append_buffered)
        });
    }
    for size in SIZES {
        all.push(first_appends::<raft_engine::Log>(size));
        all.push(first_appends::<okaywal::Log>(size));
        all.push(first_appends::<seglog::Log>(size));
        all.push(first_appends::<writeahead::Log>(size));
        all.push(first_appends::<fsys::Log>(size));
    }
    all.extend(SIZES.map(|size| replayed("raft-engine", size, raft_engine::replay)));
    all.extend(SIZES.map(|size| replayed("okaywal, recovery", size, okaywal::replay)));
    all.extend(SIZES.map(|size| replayed("seglog", size, seglog::replay)));
    all
}

fn durable_append<P: Peer>(size: usize, threads: usize, real_time: bool) -> Contender {
    Contender {
        workload: durable(size, threads, real_time),
        name: P::NAME.to_owned(),
        role: Role::Peer,
        unit: Unit::Operations,
        floor: durable_floor(size, real_time),
        real_time,
        run: Box::new(move |dir, time| {
            let log = P::open(dir)?;
            let record = record(size);
            let rate = closed_loop(threads, time, |thread| {
                let (log, record) = (&log, &record);
                Ok(move || log.append(thread, record).map(|()| 1))
            })?;
            log.close()?;
            Ok(rate)
        }),
    }
}

fn first_appends<P: Peer>(size: usize) -> Contender {
    Contender {
        workload: first(size),
        name: P::NAME.to_owned(),
        role: Role::Peer,
        unit: Unit::Operations,
        floor: durable_floor(size, false),
        real_time: false,
        run: Box::new(move |dir, _time| {
            let record = record(size);
            first_moments(|| {
                let log = P::open(dir)?;
                Ok((log, |log: &P| log.append(0, &record)))
            })
        }),
    }
}

fn quick<P: Peer>(
    real_time: bool,
    append: fn(&P, record: &[u8]) -> anyhow::Result<()>,
) -> Contender {
    Contender {
        workload: unsynced(real_time),
        name: P::NAME.to_owned(),
        role: Role::Peer,
        unit: Unit::Operations,
        floor: kernel_floor(real_time),
        real_time,
        run: Box::new(move |dir, time| {
            let log = P::open(dir)?;
            let record = record(QUICK_SIZE);
            let rate = closed_loop(1, time, |_thread| {
                Ok(|| {
                    for _ in 0..QUICK {
                        append(&log, &record)?;
                    }
                    Ok(QUICK)
                })
            })?;
            log.close()?;
            Ok(rate)
        }),
    }
}

fn replayed(
    name: &str,
    size: usize,
    run: fn(&Path, Duration, usize) -> anyhow::Result<Rate>,
) -> Contender {
    Contender {
        workload: replay(size),
        name: name.to_owned(),
        role: Role::Peer,
        unit: Unit::Bytes,
        floor: READ_FLOOR.to_owned(),
        real_time: false,
        run: Box::new(move |dir, time| run(dir, time, size)),
    }
}
