//! Measurements by sensor and time, of which only the newest are kept: retention is a range delete, and
//! whole tables go without being read.
//!
//! `cargo run -p lsm --example time_series -- DIR`

#![expect(clippy::print_stdout, reason = "an example talks to its user")]
#![expect(
    clippy::big_endian_bytes,
    reason = "keys in the order of their numbers"
)]

use std::error::Error;

use lsm::{Batch, Lsm, Options, SyncMode};

const SENSORS: u32 = 4;
const KEPT: u64 = 1000;

/// The sensor, then the time, so that those of one sensor are together and in order.
fn key(sensor: u32, time: u64) -> [u8; 12] {
    let mut key = [0; 12];
    let (first, second) = key.split_at_mut(4);
    first.copy_from_slice(&u32::to_be_bytes(sensor));
    second.copy_from_slice(&u64::to_be_bytes(time));
    key
}

/// All sensors at one time: all or none of them.
fn measure(db: &Lsm, time: u64) -> lsm::Result<()> {
    let batch = (0..SENSORS).fold(Batch::new(), |batch, sensor| {
        let value = (time * 7 + u64::from(sensor)) % 100;
        batch.put(&key(sensor, time), &value.to_le_bytes())
    });
    db.write(batch)
}

/// Gives up what is too old.
fn retain(db: &Lsm, now: u64) -> lsm::Result<()> {
    let oldest = now.saturating_sub(KEPT);
    let batch = (0..SENSORS).fold(Batch::new(), |batch, sensor| {
        batch.delete_range(&key(sensor, 0), &key(sensor, oldest))
    });
    db.write(batch)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "time_series".into());
    // A power cut may take the last second's measurements, but none from the middle.
    let mode = SyncMode::Batch {
        writes: 10_000,
        interval: std::time::Duration::from_secs(1),
    };
    let db = Options::new().sync(mode).open(dir)?;
    let first = match db.scan_prefix(&0_u32.to_be_bytes())?.next_back() {
        Some(newest) => {
            let (key, _) = newest?;
            let time = key.get(4..).ok_or("a key is too short")?;
            u64::from_be_bytes(time.try_into()?) + 1
        }
        None => 0,
    };
    for time in first..first + 5000 {
        measure(&db, time)?;
        if time % 500 == 499 {
            retain(&db, time)?;
        }
    }
    for sensor in 0..SENSORS {
        let (mut count, mut sum) = (0_u64, 0);
        let mut rows = db.scan_prefix(&sensor.to_be_bytes())?;
        while let Some((_, value)) = rows.read()? {
            sum += u64::from_le_bytes(value.try_into()?);
            count += 1;
        }
        println!(
            "sensor {sensor}: {count} measurements, mean {}",
            sum / count.max(1)
        );
    }
    db.close()?;
    Ok(())
}
