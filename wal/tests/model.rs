//! Random operations against a plain vector, reopening at random. The seed is printed on failure;
//! `SEED=n cargo test --test model` runs that one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;
use std::time::Duration;

use durable_io::{Background, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal::{Appended, Error, Location, Lsn, Options, Ticket, Wal};

const SEEDS: u64 = 24;
const OPERATIONS: usize = 300;

/// What the log should hold.
struct Model {
    low: u64,
    payloads: Vec<Vec<u8>>,
    checkpoint: u64,
    /// What was submitted and not waited for, and the position that it should get.
    tickets: Vec<(u64, u64, Ticket)>,
}

impl Model {
    fn new() -> Self {
        Self {
            low: 1,
            payloads: Vec::new(),
            checkpoint: 0,
            tickets: Vec::new(),
        }
    }

    /// Waits for all tickets, in some order.
    fn wait(&mut self, rng: &mut StdRng) {
        while !self.tickets.is_empty() {
            let any = rng.random_range(0..self.tickets.len());
            let (first, count, ticket) = self.tickets.swap_remove(any);
            assert_eq!(
                ticket.wait().unwrap().lsns(),
                Lsn(first)..Lsn(first + count)
            );
        }
    }

    fn truncate_before(&mut self, lsn: u64) {
        let low = lsn.clamp(self.low, self.next());
        let dead = usize::try_from(low - self.low).unwrap();
        self.payloads.drain(..dead);
        self.low = low;
    }

    fn truncate_after(&mut self, lsn: u64) {
        let next = (lsn + 1).clamp(self.low, self.next());
        self.payloads
            .truncate(usize::try_from(next - self.low).unwrap());
        self.checkpoint = self.checkpoint.min(next - 1);
    }

    fn checkpoint(&mut self, lsn: u64) {
        self.checkpoint = self.checkpoint.max(lsn.min(self.next() - 1));
    }

    fn next(&self) -> u64 {
        self.low + self.payloads.len() as u64
    }

    fn check(&self, log: &Wal, from: u64) {
        assert_eq!(log.bounds(), Lsn(self.low)..Lsn(self.next()));
        assert_eq!(log.checkpointed(), Lsn(self.checkpoint));
        let replayed = self.next() - self.low.max(self.checkpoint + 1).min(self.next());
        assert_eq!(log.replay().count() as u64, replayed);
        let from = from.max(self.low);
        let expected: Vec<_> = (from..self.next())
            .map(|lsn| {
                (
                    lsn,
                    self.payloads[usize::try_from(lsn - self.low).unwrap()].clone(),
                )
            })
            .collect();
        let mut records = log.records(Lsn(from));
        let mut read = Vec::new();
        while let Some((location, payload)) = records.read().unwrap() {
            read.push((location.lsn().0, payload.to_vec()));
            let alone = log.read(location).unwrap();
            assert_eq!(
                read.last(),
                Some(&(alone.lsn.0, alone.payload)),
                "from {from}"
            );
            if location.lsn().0 % 13 > 0 {
                continue;
            }
            let left = usize::try_from(self.next() - location.lsn().0).unwrap();
            let run = log.records_at(location).unwrap();
            let run: Vec<_> = run.take(3).map(|record| record.unwrap().lsn).collect();
            let lsns = (location.lsn().0..).map(Lsn).take(left.min(3));
            assert!(run.into_iter().eq(lsns), "from {from}");
        }
        assert_eq!(read, expected, "from {from}");
    }
}

fn payload(rng: &mut StdRng) -> Vec<u8> {
    let len = match rng.random_range(0..10) {
        0 => 0,
        1..=6 => rng.random_range(1..40),
        7..=8 => rng.random_range(200..600),
        _ => rng.random_range(1500..=1944),
    };
    (0..len).map(|_| rng.random()).collect()
}

fn check_appended(log: &Wal, model: &Model, batch: &[&[u8]], appended: Appended) {
    let end = model.next() + batch.len() as u64;
    assert_eq!(appended.lsns(), Lsn(model.next())..Lsn(end));
    let lens = batch.iter().map(|payload| payload.len());
    let locations: Vec<_> = appended.locations(lens).collect();
    assert_eq!(appended.first(), locations.first().copied());
    for (location, payload) in locations.iter().zip(batch) {
        assert_eq!(location.payload_len() as usize, payload.len());
        assert_eq!(log.read(*location).unwrap().payload, *payload);
    }
}

/// Appends a few records as a batch, waiting or not.
fn step_batch(log: &Wal, model: &mut Model, rng: &mut StdRng) {
    let batch: Vec<_> = (0..rng.random_range(0..5)).map(|_| payload(rng)).collect();
    let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    let count = batch.len() as u64;
    let appended = if rng.random() && count > 0 {
        let submitted = log.submit(&slices);
        submitted.map(|ticket| model.tickets.push((model.next(), count, ticket)))
    } else {
        // An empty one is told where the log ends, which may be before what is in flight.
        if count == 0 {
            model.wait(rng);
        }
        log.append_batch(&slices)
            .map(|appended| check_appended(log, model, &slices, appended))
    };
    appended.unwrap();
    model.payloads.extend(batch);
}

fn step(log: &Wal, model: &mut Model, rng: &mut StdRng) {
    let any = |rng: &mut StdRng, model: &Model| rng.random_range(0..model.next() + 3);
    match rng.random_range(0..100) {
        0..35 => {
            let payload = payload(rng);
            assert_eq!(log.append(&payload).unwrap().lsn(), Lsn(model.next()));
            model.payloads.push(payload);
            return;
        }
        35..60 => return step_batch(log, model, rng),
        _ => model.wait(rng),
    }
    match rng.random_range(0..40) {
        0..6 => log.rotate().unwrap(),
        6..12 => {
            let lsn = any(rng, model);
            log.truncate_before(Lsn(lsn)).unwrap();
            model.truncate_before(lsn);
        }
        12..18 => {
            let lsn = any(rng, model);
            log.truncate_after(Lsn(lsn)).unwrap();
            model.truncate_after(lsn);
        }
        18..22 => {
            let lsn = any(rng, model);
            log.checkpoint(Lsn(lsn)).unwrap();
            model.checkpoint(lsn);
        }
        22..26 => assert_eq!(log.sync().unwrap(), Lsn(model.next() - 1)),
        26..30 => assert!(log.verify().unwrap().records >= model.payloads.len() as u64),
        30..35 => {
            log.run_background().unwrap();
        }
        _ => {
            let from = rng.random_range(0..=model.next());
            model.check(log, from);
        }
    }
}

/// Opens the log, and looks whether it shows the records from some position on, once each.
fn open_and_replay(options: &Options, dir: &Path, model: &Model, rng: &mut StdRng) -> Wal {
    let from = rng.random_range(0..model.next() + 3);
    let mut next = from.max(model.low);
    let mut locations = Vec::new();
    let visit = |location: Location, payload: &[u8]| {
        assert_eq!(location.lsn(), Lsn(next));
        let at = usize::try_from(next - model.low).unwrap();
        assert_eq!(payload, model.payloads[at]);
        locations.push(location);
        next += 1;
        Ok::<_, Error>(())
    };
    let options = options.clone();
    let log = options.open_and_replay(dir, Lsn(from), visit).unwrap();
    assert_eq!(
        next.max(model.next()),
        model.next().max(from.max(model.low))
    );
    for location in locations {
        assert_eq!(log.read(location).unwrap().lsn, location.lsn());
    }
    log
}

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mode = match seed % 3 {
        0 => SyncMode::Always,
        1 => SyncMode::Batch {
            writes: 4,
            interval: Duration::from_millis(1),
        },
        _ => SyncMode::Manual,
    };
    let background = if seed.is_multiple_of(2) {
        Background::Inline
    } else {
        Background::Threads
    };
    let options = Options::new()
        .segment_size(2048)
        .sync(mode)
        .background(background);
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let mut log = options.clone().open(dir.path()).unwrap();
    for _ in 0..OPERATIONS {
        if rng.random_range(0..20) == 0 {
            if rng.random() {
                log.close().unwrap();
            } else {
                drop(log);
            }
            log = match rng.random_range(0..4) {
                0 => options.clone().repair(dir.path()).unwrap(),
                1 => options.clone().open(dir.path()).unwrap(),
                _ => open_and_replay(&options, dir.path(), &model, &mut rng),
            };
            assert_eq!(log.recovery().records, model.payloads.len() as u64);
            assert_eq!(log.recovery().dropped, None);
            // Committed before the log was let go.
            assert!(model.tickets.iter().all(|(_, _, own)| own.poll().is_some()));
            model.wait(&mut rng);
            model.check(&log, 0);
        }
        step(&log, &mut model, &mut rng);
    }
    model.wait(&mut rng);
    model.check(&log, 0);
    log.close().unwrap();
}

#[test]
fn random_operations_agree_with_a_vector() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap()..=seed.parse().unwrap(),
        Err(_) => 0..=SEEDS,
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "SEED={seed}");
    }
}
