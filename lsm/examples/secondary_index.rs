//! People by id, and an index by city: both are changed in one batch, so they cannot get out of step.
//!
//! `cargo run -p lsm --example secondary_index -- DIR`

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use lsm::{Batch, Keyspace, KeyspaceOptions, Lsm, Options};

struct People {
    db: Lsm,
    by_city: Keyspace,
    /// Reading the old city and writing the new one must not be interrupted by another change.
    changing: Mutex<()>,
}

impl People {
    fn open(dir: &std::ffi::OsStr) -> lsm::Result<Self> {
        let db = Options::new().open(dir)?;
        let by_city = match db.keyspace("by city") {
            Err(lsm::Error::NoKeyspace { name }) => {
                db.create_keyspace(&name, &KeyspaceOptions::new())?
            }
            other => other?,
        };
        Ok(Self {
            db,
            by_city,
            changing: Mutex::default(),
        })
    }

    /// Says where somebody lives now.
    fn moves_to(&self, id: &str, city: &str) -> lsm::Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new();
        if let Some(old) = self.db.get(id.as_bytes())? {
            batch = batch.delete_in(&self.by_city, &entry(&old, id));
        }
        let batch = batch.put(id.as_bytes(), city.as_bytes());
        self.db
            .write(batch.put_in(&self.by_city, &entry(city.as_bytes(), id), b""))
    }

    /// Who lives there.
    fn of(&self, city: &str) -> lsm::Result<Vec<String>> {
        let prefix = entry(city.as_bytes(), "");
        let keys = self.by_city.scan_prefix(&prefix)?.keys();
        keys.map(|key| {
            let key = key?;
            let id = key.get(prefix.len()..).unwrap_or_default();
            Ok(String::from_utf8_lossy(id).into_owned())
        })
        .collect()
    }
}

/// City, a zero, id.
fn entry(city: &[u8], id: &str) -> Vec<u8> {
    [city, b"\0", id.as_bytes()].concat()
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "people".into());
    let people = People::open(&dir)?;
    for (id, city) in [("ada", "London"), ("emmy", "Erlangen"), ("grace", "London")] {
        people.moves_to(id, city)?;
    }
    people.moves_to("emmy", "Göttingen")?;
    for city in ["London", "Erlangen", "Göttingen"] {
        println!("{city}: {}", people.of(city)?.join(", "));
    }
    people.db.close()?;
    Ok(())
}
