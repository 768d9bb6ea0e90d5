//! The event store before the judge. A key is a stream, its value that of the last event; an event says that
//! the key is gone.

mod specimens;
mod subject;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use crashtest::{
    AnyTrial, Change, Contents, Engine, Killing, Outcome, Place, Refusal, Salvaged, Setting,
    Specimen, Store,
};
use event_store::{
    Append, Error, Event, EventStore, Expected, NewEvent, Options, Position, Projected,
    RepairOptions, Version,
};

use subject::Total;

pub(crate) const EVENT_STORE: EventStoreEngine = EventStoreEngine;

const PUT: &str = "Put";
const REMOVED: &str = "Removed";

#[derive(Debug)]
pub(crate) struct EventStoreEngine;

fn options(setting: &Setting) -> Options {
    Options::new()
        .sync(setting.sync)
        .segment_size(setting.size)
        .index_interval(setting.size / 4)
        .reserve(setting.reserve)
        .background(setting.background)
        .disk(setting.disk.clone())
}

impl Engine for EventStoreEngine {
    fn name(&self) -> &'static str {
        "event-store"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        let store = options(setting).open(&setting.dir)?;
        subject::check_marks(&store)?;
        Ok(Box::new(Opened {
            total: subject::total(&store, setting.background)?,
            unsynced: Mutex::default(),
            store,
        }))
    }

    fn damage(&self, error: &Refusal) -> Option<Place> {
        match error.downcast_ref()? {
            Error::Corrupt { path, offset, .. } => Some(Place::at(path, *offset)),
            Error::UnsupportedVersion(error) => Some(Place::file(&error.path)),
            _ => None,
        }
    }

    fn trials(&self) -> Vec<AnyTrial> {
        subject::trials()
    }

    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        specimens::all()
    }

    fn salvage(&self, setting: &Setting) -> Option<Outcome<Salvaged>> {
        Some(subject::salvage(setting))
    }

    fn rebuild(&self, setting: &Setting, into: &Path) -> Outcome<Option<Box<dyn Store>>> {
        options(setting).repair(&setting.dir, into, &RepairOptions::new())?;
        // A reader that has diverged is no damage.
        Ok(Some(Box::new(Opened {
            total: None,
            store: options(setting).open(into)?,
            unsynced: Mutex::default(),
        })))
    }

    fn killing(&self) -> Option<Killing> {
        Some(Killing {
            kills: 30,
            acknowledged: 8000,
            chores: &["acknowledge", "verify"],
            phases: &["acknowledge", "verify"],
        })
    }

    fn weight(&self) -> u64 {
        2
    }
}

struct Opened {
    /// Where there are threads.
    total: Option<Projected<Total>>,
    store: EventStore,
    /// The last event of each append that the store does not call durable yet.
    unsynced: Mutex<Vec<Position>>,
}

fn stream(key: &[u8]) -> String {
    let hex = key.iter().map(|byte| format!("{byte:02x}"));
    ["key-".to_owned()].into_iter().chain(hex).collect()
}

fn key(stream: &str) -> Outcome<Vec<u8>> {
    let hex = stream.strip_prefix("key-").ok_or("a stream of nobody")?;
    let digits = hex.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair)?;
        Ok(u8::from_str_radix(pair, 16)?)
    });
    digits.collect()
}

fn value(event: &Event) -> Option<Vec<u8>> {
    (event.kind() == PUT).then(|| event.payload().to_vec())
}

impl Store for Opened {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        // The last change of a key counts.
        let last: BTreeMap<String, Option<&Vec<u8>>> = changes
            .iter()
            .map(|(key, value)| (stream(key), value.as_ref()))
            .collect();
        let mut append = Append::new();
        for (stream, value) in &last {
            let removed = NewEvent::new(REMOVED, &[]);
            let event = value.map_or(removed, |value| NewEvent::new(PUT, value));
            append = append.stream(stream, Expected::Any, [event.tag("change")]);
        }
        let appended = self.store.write(&append)?;
        self.unsynced
            .lock()
            .map_err(|_poisoned| "a writer panicked")?
            .push(appended.positions.end.previous());
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        if let Some(total) = &self.total {
            subject::check_total(&self.store, total)?;
        }
        let mut contents = Contents::new();
        for name in self.store.streams() {
            let name = name?;
            let backward = self.store.read_stream_backward(&name, Version(u64::MAX));
            let backward = backward.collect::<event_store::Result<Vec<_>>>()?;
            let forward = self.store.read_stream(&name, Version(1));
            let forward = forward.collect::<event_store::Result<Vec<_>>>()?;
            if !forward.iter().rev().eq(&backward) {
                return Err(format!("stream {name} differs backward").into());
            }
            if let Some(value) = backward.first().and_then(value) {
                contents.insert(key(&name)?, value);
            }
        }
        Ok(contents)
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let (mut contents, mut errors) = (Contents::new(), Vec::new());
        let listed = self.store.streams().map(|name| key(&name?));
        for key in listed.chain(specimens::KEYS.map(|key| Ok(key.into()))) {
            match key.and_then(|key| Ok((self.store.last_event(&stream(&key))?, key))) {
                Ok((last, key)) => {
                    contents.extend(last.as_ref().and_then(value).map(|value| (key, value)));
                }
                Err(error) => errors.push(error),
            }
        }
        (contents, errors)
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.store.verify()?.damage.into_iter();
        Ok(damage.map(Into::into).collect())
    }

    fn sync(&self) -> Outcome<()> {
        self.store.sync()?;
        Ok(())
    }

    fn unsynced(&self) -> u64 {
        let durable = self.store.stats().durable;
        let Ok(mut unsynced) = self.unsynced.lock() else {
            return u64::MAX;
        };
        unsynced.retain(|last| *last > durable);
        unsynced.len() as u64
    }

    fn maintain(&self) -> Outcome<bool> {
        Ok(self.store.run_background()?)
    }

    fn chore(&self, chore: &str, drawn: u64) -> Outcome<()> {
        if chore == "verify" {
            let damage = self.store.verify()?.damage.pop();
            return damage.map_or(Ok(()), |damage| Err(damage.into()));
        }
        if chore == "project" {
            return subject::save(&self.store);
        }
        subject::acknowledge(&self.store, drawn)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        drop(self.total);
        Ok(self.store.close()?)
    }
}
