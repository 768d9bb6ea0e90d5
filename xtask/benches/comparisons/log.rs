//! This workspace's log.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use wal::{Background, DEFAULT_SEGMENT_SIZE, Lsn, Options, SyncMode, Wal};

use crate::contender::{
    Contender, READ_FLOOR, Role, Unit, durable, durable_floor, first, kernel_floor, replay, suffix,
    unsynced,
};
use crate::measure::{
    QUICK, QUICK_SIZE, REPLAYED, Rate, SIZES, THREADS, closed_loop, first_moments, record,
};

/// Tickets that one thread keeps in flight.
const IN_FLIGHT: usize = 64;

pub(crate) fn contenders() -> Vec<Contender> {
    let batch = SyncMode::Batch {
        writes: 64,
        interval: Duration::from_millis(10),
    };
    let mut all = Vec::new();
    for real_time in [false, true] {
        for size in SIZES {
            for threads in THREADS {
                all.extend(durable_appends(size, threads, real_time));
            }
        }
        all.extend(SIZES.map(|size| pipelined(size, real_time)));
        all.push(quick("wal, Manual", SyncMode::Manual, real_time));
        all.push(quick("wal, Batch of 64 writes, 10 ms", batch, real_time));
    }
    all.extend(SIZES.map(first_appends));
    all.extend(SIZES.map(replayed));
    all
}

/// The options of a log to which `writers` append records of `size` bytes at a time: the fastest do not
/// fill one segment while they are measured, and the next one is there; so none is being made.
fn options(size: usize, writers: usize) -> Options {
    let segments = if size * writers > 64 << 10 { 2 } else { 1 };
    Options::new().segment_size(segments * DEFAULT_SEGMENT_SIZE)
}

/// A log whose first two segments are there.
fn open(dir: &Path, options: &Options) -> anyhow::Result<Wal> {
    let options = options.clone();
    let log = options.clone().background(Background::Inline).open(dir)?;
    while log.run_background()? {}
    log.close()?;
    Ok(options.open(dir)?)
}

fn durable_appends(size: usize, threads: usize, real_time: bool) -> [Contender; 2] {
    [("wal", true), ("wal, gather off", false)].map(|(name, gathers)| Contender {
        workload: durable(size, threads, real_time),
        name: name.to_owned(),
        role: if gathers {
            Role::Own
        } else {
            Role::OwnWithoutGather
        },
        unit: Unit::Operations,
        floor: durable_floor(size, real_time),
        real_time,
        run: Box::new(move |dir, time| {
            let log = open(dir, &options(size, threads).gather(gathers))?;
            let record = record(size);
            let rate = closed_loop(threads, time, |_thread| {
                Ok(|| {
                    log.append(&record)?;
                    Ok(1)
                })
            })?;
            log.close()?;
            Ok(rate)
        }),
    })
}

/// With what it costs to make the log, and without the segments that [`open`] prepares.
fn first_appends(size: usize) -> Contender {
    Contender {
        workload: first(size),
        name: "wal".to_owned(),
        role: Role::Own,
        unit: Unit::Operations,
        floor: durable_floor(size, false),
        real_time: false,
        run: Box::new(move |dir, _time| {
            let record = record(size);
            first_moments(|| {
                let log = Options::new().open(dir)?;
                Ok((log, |log: &Wal| Ok(log.append(&record).map(drop)?)))
            })
        }),
    }
}

fn pipelined(size: usize, real_time: bool) -> Contender {
    let suffix = suffix(real_time);
    Contender {
        workload: format!("pipelined durable append, {size} B, {IN_FLIGHT} in flight{suffix}"),
        name: "wal".to_owned(),
        role: Role::Own,
        unit: Unit::Operations,
        floor: durable_floor(size, real_time),
        real_time,
        run: Box::new(move |dir, time| {
            let log = open(dir, &options(size, IN_FLIGHT))?;
            let rate = pipeline(&log, size, time)?;
            log.close()?;
            Ok(rate)
        }),
    }
}

fn pipeline(log: &Wal, size: usize, time: Duration) -> anyhow::Result<Rate> {
    let record = record(size);
    closed_loop(1, time, |_thread| {
        let mut in_flight = VecDeque::new();
        let record = record.as_slice();
        Ok(move || {
            while in_flight.len() < IN_FLIGHT {
                in_flight.push_back(log.submit(&[record])?);
            }
            let Some(ticket) = in_flight.pop_front() else {
                return Ok(0);
            };
            ticket.wait()?;
            Ok(1)
        })
    })
}

fn quick(name: &str, sync: SyncMode, real_time: bool) -> Contender {
    Contender {
        workload: unsynced(real_time),
        name: name.to_owned(),
        role: Role::Own,
        unit: Unit::Operations,
        floor: kernel_floor(real_time),
        real_time,
        run: Box::new(move |dir, time| {
            let log = open(dir, &Options::new().sync(sync))?;
            let record = record(QUICK_SIZE);
            let rate = closed_loop(1, time, |_thread| {
                Ok(|| {
                    for _ in 0..QUICK {
                        log.append(&record)?;
                    }
                    Ok(QUICK)
                })
            })?;
            log.close()?;
            Ok(rate)
        }),
    }
}

fn replayed(size: usize) -> Contender {
    Contender {
        workload: replay(size),
        name: "wal".to_owned(),
        role: Role::Own,
        unit: Unit::Bytes,
        floor: READ_FLOOR.to_owned(),
        real_time: false,
        run: Box::new(move |dir, time| {
            let log = Options::new().sync(SyncMode::Manual).open(dir)?;
            let record = record(size);
            let batch = vec![record.as_slice(); (64 << 10) / size];
            for _ in 0..REPLAYED / (64 << 10) {
                log.append_batch(&batch)?;
            }
            // What is still to be written or made would be in the way.
            log.close()?;
            let log = Options::new().open(dir)?;
            let rate = closed_loop(1, time, |_thread| {
                Ok(|| {
                    let mut bytes = 0;
                    for record in log.records(Lsn(0)) {
                        bytes += record?.payload.len() as u64;
                    }
                    anyhow::ensure!(bytes == REPLAYED as u64, "{bytes} bytes were replayed");
                    Ok(bytes)
                })
            })?;
            log.close()?;
            Ok(rate)
        }),
    }
}
