//! Random appends, mirrored in a model, with index work, lost index parts and reopening in between.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::path::Path;

use durable_io::Disk;
use event_store::{
    Append, Condition, Error, EventStore, Expected, NewEvent, Position, Query, Version,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{Expectation, Model, assert_holds, fast_dir, options, seed, settle};

struct Mirror<'a> {
    path: &'a Path,
    store: Option<EventStore>,
    model: Model,
    rng: StdRng,
    next_id: u128,
}

const STREAMS: [&str; 6] = ["s-1", "s-2", "t-1", "t-2", "u", "s-3"];

impl Mirror<'_> {
    fn store(&self) -> &EventStore {
        self.store.as_ref().unwrap()
    }

    fn open(&mut self) {
        self.store = None;
        self.store = Some(options().open(self.path).unwrap());
    }

    fn events(&mut self, stream: &str) -> Vec<Expectation> {
        let count = self.rng.random_range(1..4);
        (0..count)
            .map(|_| {
                self.next_id += 1;
                let tags = ["x", "y", "z"].into_iter();
                let tags = tags.filter(|_| self.rng.random_range(0..3) == 0);
                let tags = tags.map(str::to_owned).collect();
                let len = match self.rng.random_range(0..20) {
                    0 => 900,
                    n => n,
                };
                Expectation {
                    id: self.next_id,
                    stream: stream.to_owned(),
                    version: 0,
                    kind: ["A", "B", "C"][self.rng.random_range(0..3)].to_owned(),
                    tags,
                    payload: (0..len).map(|_| self.rng.random()).collect(),
                    is_tombstone: false,
                }
            })
            .collect()
    }

    fn stream(&mut self) -> &'static str {
        STREAMS[self.rng.random_range(0..STREAMS.len())]
    }

    fn expected(&mut self, stream: &str) -> Expected {
        let version = self.model.version(stream);
        match self.rng.random_range(0..5) {
            0 => Expected::NoStream,
            1 => Expected::StreamExists,
            2 => Expected::Exactly(Version(version)),
            3 => Expected::Exactly(Version(version + 1)),
            _ => Expected::Any,
        }
    }

    fn is_met(&self, stream: &str, expected: Expected) -> bool {
        let version = self.model.version(stream);
        match expected {
            Expected::Any => true,
            Expected::NoStream => version == 0,
            Expected::StreamExists => version > 0,
            Expected::Exactly(Version(expected)) => version == expected,
        }
    }

    fn append(&mut self) {
        let stream = self.stream();
        let mut drafts = vec![(stream, self.expected(stream), self.events(stream))];
        let other = self.stream();
        if other != stream && self.rng.random_range(0..3) == 0 {
            drafts.push((other, self.expected(other), self.events(other)));
        }
        let after = self.rng.random_range(0..=self.model.events.len());
        let condition = (self.rng.random_range(0..3) == 0).then_some(after);
        let appended = write(self.store(), &drafts, condition);
        let is_ended = drafts
            .iter()
            .any(|(stream, ..)| self.model.is_ended(stream));
        let is_met = drafts
            .iter()
            .all(|(stream, expected, _)| self.is_met(stream, *expected));
        let is_excluded = condition.is_some_and(|after| {
            let later = self.model.events.iter().skip(after);
            later
                .clone()
                .any(|event| event.tags.contains(&"x".to_owned()))
        });
        match appended {
            Ok(appended) => {
                assert!(!is_ended && is_met && !is_excluded && !appended.was_there);
                assert_eq!(
                    appended.positions.start.0,
                    self.model.events.len() as u64 + 1
                );
                for (_, _, events) in &drafts {
                    for event in events {
                        self.model.push(event.clone());
                    }
                }
                if self.rng.random_range(0..4) == 0 {
                    let again = write(self.store(), &drafts, condition).unwrap();
                    assert!(again.was_there);
                    assert_eq!(again.positions, appended.positions);
                    assert_eq!(again.versions, appended.versions);
                }
            }
            Err(Error::StreamEnded { .. }) => assert!(is_ended),
            Err(Error::WrongVersion { .. }) => assert!(!is_met),
            Err(Error::ConditionFailed { .. }) => assert!(is_excluded),
            Err(other) => panic!("{other}"),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..70 => self.append(),
            70..72 => {
                let stream = self.stream();
                let was_ended = self.model.is_ended(stream);
                let appended = self.store().tombstone(stream, Expected::Any).unwrap();
                assert_eq!(appended.was_there, was_ended);
                if !was_ended {
                    self.model.push(Expectation {
                        id: 0,
                        stream: stream.to_owned(),
                        version: 0,
                        kind: String::new(),
                        tags: Vec::new(),
                        payload: Vec::new(),
                        is_tombstone: true,
                    });
                }
            }
            72..85 => drop(self.store().run_background().unwrap()),
            85..88 => settle(self.store()),
            88..91 => {
                self.store.take().unwrap().close().unwrap();
                self.open();
            }
            91..93 => self.open(),
            93..96 => {
                self.store = None;
                self.spoil();
                self.open();
            }
            _ => {
                self.store().sync().unwrap();
                assert_holds(self.store(), &self.model);
            }
        }
    }

    /// Damages or removes one file of the index.
    fn spoil(&mut self) {
        let dir = Disk::os().open_dir(self.path).unwrap();
        let mut names: Vec<String> = dir.list().unwrap().into_iter().map(|e| e.name).collect();
        names.retain(|name| name.strip_suffix(".part").is_some() || name == "index");
        names.sort_unstable();
        if names.is_empty() {
            return;
        }
        let name = &names[self.rng.random_range(0..names.len())];
        let file = dir.open(name).unwrap();
        let len = file.len().unwrap();
        match self.rng.random_range(0..3) {
            0 => dir.remove(name).unwrap(),
            1 => file.set_len(self.rng.random_range(0..len)).unwrap(),
            _ => {
                let at = self.rng.random_range(0..len);
                file.write_all_at(&[self.rng.random()], at).unwrap();
            }
        }
    }
}

fn write(
    store: &EventStore,
    drafts: &[(&str, Expected, Vec<Expectation>)],
    condition: Option<usize>,
) -> event_store::Result<event_store::Appended> {
    let mut append = Append::new();
    for (stream, expected, events) in drafts {
        let new = |event: &'_ Expectation| {
            let new = NewEvent::new(
                Box::leak(event.kind.clone().into_boxed_str()),
                Box::leak(event.payload.clone().into_boxed_slice()),
            );
            let tags = event
                .tags
                .iter()
                .map(|tag| &*Box::leak(tag.clone().into_boxed_str()));
            tags.fold(new.id(event.id), NewEvent::tag)
        };
        append = append.stream(stream, *expected, events.iter().map(new));
    }
    if let Some(after) = condition {
        let query = Query::new().tags(["x"]);
        append = append.condition(Condition::new(query, Position(after as u64)));
    }
    store.write(&append)
}

#[test]
fn a_store_is_what_the_model_says() {
    let seed = seed();
    for round in 0..12 {
        let dir = fast_dir();
        let path = dir.path().join("store");
        let mut mirror = Mirror {
            path: &path,
            store: None,
            model: Model::default(),
            rng: StdRng::seed_from_u64(seed.wrapping_add(round)),
            next_id: 0,
        };
        eprintln!("SEED={}", seed.wrapping_add(round));
        mirror.open();
        for _ in 0..400 {
            mirror.step();
        }
        mirror.store().sync().unwrap();
        assert_holds(mirror.store(), &mirror.model);
    }
}
