//! Random operations against a plain vector, reopening at random. The seed is printed on failure;
//! `SEED=n cargo test --test model` runs that one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::time::Duration;

use durable_io::{Background, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal::{Error, Lsn, Options, Wal};

const SEEDS: u64 = 24;
const OPERATIONS: usize = 300;

/// What the log should hold.
struct Model {
    low: u64,
    payloads: Vec<Vec<u8>>,
}

impl Model {
    fn next(&self) -> u64 {
        self.low + self.payloads.len() as u64
    }

    fn check(&self, log: &Wal, from: u64) {
        assert_eq!(log.bounds(), Lsn(self.low)..Lsn(self.next()));
        let from = from.max(self.low);
        let expected: Vec<_> = (from..self.next())
            .map(|lsn| {
                (
                    lsn,
                    self.payloads[usize::try_from(lsn - self.low).unwrap()].clone(),
                )
            })
            .collect();
        let read: Vec<_> = log
            .records(Lsn(from))
            .map(|record| record.unwrap())
            .map(|record| (record.lsn.0, record.payload))
            .collect();
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

fn step(log: &Wal, model: &mut Model, rng: &mut StdRng) {
    match rng.random_range(0..100) {
        0..50 => {
            let payload = payload(rng);
            assert_eq!(log.append(&payload).unwrap(), Lsn(model.next()));
            model.payloads.push(payload);
        }
        50..65 => {
            let batch: Vec<_> = (0..rng.random_range(0..5)).map(|_| payload(rng)).collect();
            let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            match log.append_batch(&slices) {
                Ok(range) => {
                    assert_eq!(range.start, Lsn(model.next()));
                    assert_eq!(range.end.0 - range.start.0, batch.len() as u64);
                    model.payloads.extend(batch);
                }
                Err(error) => assert!(matches!(error, Error::TooLarge { .. }), "{error}"),
            }
        }
        65..72 => log.rotate().unwrap(),
        72..80 => {
            let lsn = rng.random_range(0..model.next() + 3);
            log.truncate_before(Lsn(lsn)).unwrap();
            let low = lsn.clamp(model.low, model.next());
            model
                .payloads
                .drain(..usize::try_from(low - model.low).unwrap());
            model.low = low;
        }
        80..85 => assert_eq!(log.sync().unwrap(), Lsn(model.next() - 1)),
        85..90 => assert!(log.verify().unwrap().records >= model.payloads.len() as u64),
        90..95 => {
            log.run_background().unwrap();
        }
        _ => {
            let from = rng.random_range(0..=model.next());
            model.check(log, from);
        }
    }
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
    let mut model = Model {
        low: 1,
        payloads: Vec::new(),
    };
    let mut log = options.clone().open(dir.path()).unwrap();
    for _ in 0..OPERATIONS {
        if rng.random_range(0..20) == 0 {
            if rng.random() {
                log.close().unwrap();
            } else {
                drop(log);
            }
            log = if rng.random_range(0..4) == 0 {
                options.clone().repair(dir.path()).unwrap()
            } else {
                options.clone().open(dir.path()).unwrap()
            };
            assert_eq!(log.recovery().records, model.payloads.len() as u64);
            assert_eq!(log.recovery().dropped, None);
            model.check(&log, 0);
        }
        step(&log, &mut model, &mut rng);
    }
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
