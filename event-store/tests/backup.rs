//! What a backup promises: it is the store as it was, whatever continues meanwhile, and a crash costs an earlier one
//! nothing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::thread;

use durable_io::sim::{Fault, FaultKind, SimDisk};
use event_store::{
    Append, Background, Error, Event, EventStore, Expected, Failure, NewEvent, Options, Position,
    Project, Projection, Subscribe, SyncMode, Version,
};
use support::{options, put};

/// The disk is full, or so it says.
const ENOSPC: i32 = 28;

/// How many events there are.
#[derive(Default)]
struct Count(u64);

impl Projection for Count {
    const NAME: &'static str = "count";
    const VERSION: u32 = 1;

    fn apply(&mut self, _event: &Event) -> Result<(), Failure> {
        self.0 += 1;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.to_le_bytes().into()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(state.try_into().ok()?)))
    }
}

fn on(sim: &SimDisk) -> Options {
    options().sync(SyncMode::Always).disk(sim.disk())
}

fn events(store: &EventStore) -> Vec<Event> {
    store.read_all(Position(1)).map(Result::unwrap).collect()
}

fn acknowledge_all(store: &EventStore, name: &str) {
    let mut reader = store.subscribe(Subscribe::new().named(name)).unwrap();
    while reader.try_next().unwrap().is_some() {}
    reader.acknowledge().unwrap();
}

/// Saves the state of everything, and of stream `s`.
fn save(store: &EventStore) {
    let count = store.project::<Count>(Project::new()).unwrap();
    count.catch_up().unwrap();
    count.save().unwrap();
    store.save(&store.load::<Count>("s").unwrap()).unwrap();
}

/// Where the readers and the projection of a store stand, and the saved state of stream `s`.
fn stands(store: &EventStore) -> (Vec<(String, Position)>, Position, u64) {
    let count = store.project::<Count>(Project::new()).unwrap();
    let at = count.position();
    assert_eq!(count.read(|count| count.0).unwrap(), at.0);
    let loaded = store.load::<Count>("s").unwrap();
    (
        store.subscriptions(),
        at,
        loaded.version().0 - loaded.replayed(),
    )
}

#[test]
fn it_is_the_store_as_it_was_and_only_what_is_new_is_copied() {
    let sim = SimDisk::new();
    let store = on(&sim).open("/store").unwrap();
    let mut last = 0;
    for round in 1..=4 {
        for n in 0..20 {
            put(
                &store,
                if n % 3 == 0 { "s" } else { "t" },
                "A",
                round * 100 + n,
            );
        }
        let event = || NewEvent::new("Large", &[7; 3000]);
        let several = Append::new().stream("u", Expected::Any, [event()]).stream(
            "v",
            Expected::Any,
            [event()],
        );
        store.write(&several).unwrap();
        match round {
            1 => acknowledge_all(&store, "one"),
            2 => {
                acknowledge_all(&store, "two");
                save(&store);
            }
            3 => {
                store.forget_subscription("one").unwrap();
                store.forget_projection("count").unwrap();
            }
            _ => store.save(&store.load::<Count>("s").unwrap()).unwrap(),
        }
        let backup = store.backup("/backup").unwrap();
        let now = store.last_position();
        assert_eq!((backup.position, backup.copied), (now, now.0 - last));
        assert_eq!(store.backup("/backup").unwrap().copied, 0);
        last = now.0;
        // It opens, and is used, and is still a backup of it.
        let copy = on(&sim).open("/backup").unwrap();
        assert_eq!(events(&copy), events(&store));
        assert_eq!(stands(&copy), stands(&store));
        assert!(copy.verify().unwrap().damage.is_empty());
        support::settle(&copy);
    }
}

#[test]
fn what_is_no_backup_of_it_is_left_alone() {
    let sim = SimDisk::new();
    let store = on(&sim).open("/store").unwrap();
    put(&store, "s", "A", 1);
    put(&store, "s", "A", 2);
    for (path, ids) in [("/other", 7..=8), ("/longer", 1..=3)] {
        let other = on(&sim).open(path).unwrap();
        for id in ids {
            put(&other, "s", "A", id);
        }
        let before = events(&other);
        let locked = store.backup(path).unwrap_err();
        assert!(
            matches!(locked, Error::Disk(durable_io::Error::Locked { .. })),
            "{locked}"
        );
        other.close().unwrap();
        let diverged = store.backup(path).unwrap_err();
        assert!(matches!(diverged, Error::Diverged { .. }), "{diverged}");
        assert_eq!(events(&on(&sim).open(path).unwrap()), before);
    }
    let own = store.backup("/store").unwrap_err();
    assert!(
        matches!(own, Error::Disk(durable_io::Error::Locked { .. })),
        "{own}"
    );
    put(&store, "s", "A", 3);
}

#[test]
fn one_that_fails_is_no_store_until_it_is_tried_again_and_costs_the_store_nothing() {
    let sim = SimDisk::new();
    let store = on(&sim).open("/store").unwrap();
    for n in 1..=5 {
        put(&store, "s", "A", n);
    }
    let mut failed = 0;
    for call in 0.. {
        let path = format!("/backup-{call}");
        let kind = FaultKind::Errno(ENOSPC);
        let (at, sticky) = (sim.calls() + call, true);
        sim.inject(Fault {
            call: at,
            kind,
            sticky,
        });
        let backup = store.backup(&path);
        sim.clear_fault();
        if backup.is_err() {
            failed += 1;
            let opened = on(&sim).open(&path);
            match opened {
                Err(Error::Unfinished { .. }) => {
                    let read = on(&sim).open_read_only(&path).unwrap_err();
                    assert!(matches!(read, Error::Unfinished { .. }), "{read}");
                }
                // It has not begun, or was not told that all of it is done.
                Ok(new) => assert!(matches!(new.last_position().0, 0 | 5), "call {call}"),
                Err(other) => panic!("call {call}: {other}"),
            }
            store.backup(&path).unwrap();
        }
        let copy = on(&sim).open(&path).unwrap();
        assert_eq!(events(&copy), events(&store), "call {call}");
        if backup.is_ok() {
            break;
        }
    }
    assert!(failed > 5, "{failed}");
    put(&store, "s", "A", 6);
}

#[test]
fn it_is_made_while_others_append_acknowledge_and_save() {
    let dir = support::fast_dir();
    let threads = || {
        options()
            .sync(SyncMode::Always)
            .background(Background::Threads)
    };
    let store = threads().open(dir.path().join("store")).unwrap();
    let count = store
        .project::<Count>(Project::new().live().save_every(20))
        .unwrap();
    let backups = thread::scope(|scope| {
        for writer in 0..3 {
            let store = &store;
            scope.spawn(move || {
                let stream = format!("s-{writer}");
                for _ in 0..200 {
                    let event = || NewEvent::new("A", b"payload");
                    store
                        .append(&stream, Expected::Any, [event(), event()])
                        .unwrap();
                }
            });
        }
        let reader = scope.spawn(|| {
            let mut reader = store.subscribe(Subscribe::new().named("reader")).unwrap();
            for _ in 0..600 {
                reader
                    .next(std::time::Duration::from_secs(60))
                    .unwrap()
                    .unwrap();
                reader.acknowledge().unwrap();
            }
        });
        let mut backups = Vec::new();
        for n in 0.. {
            let is_last = reader.is_finished();
            let path = dir.path().join(format!("backup-{}", n % 2));
            backups.push((path.clone(), store.backup(&path).unwrap().position));
            // The position of each reader and projection is in it, and no append in part.
            let copy = threads().open(&path).unwrap();
            assert_eq!(copy.last_position(), backups[n].1);
            assert_eq!(copy.last_position().0 % 2, 0);
            let again = copy.project::<Count>(Project::new()).unwrap();
            let at = again.position();
            assert_eq!(again.read(|count| count.0).unwrap(), at.0);
            drop(copy.subscribe(Subscribe::new().named("reader")).unwrap());
            if is_last {
                break;
            }
        }
        backups
    });
    assert!(
        count
            .wait_for(Position(1200), std::time::Duration::from_secs(60))
            .unwrap()
    );
    let (path, position) = backups.last().unwrap();
    let copy = threads().open(path).unwrap();
    let kept: Vec<Event> = events(&store)
        .into_iter()
        .take(usize::try_from(position.0).unwrap())
        .collect();
    assert_eq!(events(&copy), kept);
    assert!(
        copy.read_stream("s-0", Version(1))
            .all(|event| event.is_ok())
    );
}

#[test]
fn it_survives_the_loss_of_power_when_it_returns() {
    let mut sim = SimDisk::new();
    for n in 1..=4 {
        let store = on(&sim).open("/store").unwrap();
        put(&store, "s", "A", n);
        acknowledge_all(&store, "reader");
        save(&store);
        store.backup("/backup").unwrap();
        let world = sim.world().lose_unsynced();
        let (all, stood) = (events(&store), stands(&store));
        drop(store);
        sim = SimDisk::boot(world);
        let copy = on(&sim).open("/backup").unwrap();
        assert_eq!((events(&copy), stands(&copy)), (all, stood));
    }
}
