//! A store that is being tried, and what each operation asks of it.

use crashtest::content::identify;
use durable_io::sim::{Outcome, Survives};
use durable_io::{Disk, SyncMode};
use event_store::{
    Condition, Error, Event, EventStore, Expected, NewEvent, Position, Query, Subscribe, Version,
};

use super::records::{Draft, append, drafts, late};
use super::{DIR, EventSubject, Op, READER};

pub(crate) struct Store {
    pub(super) disk: Disk,
    pub(super) subject: EventSubject,
    pub(super) open: Option<EventStore>,
    /// Some of the index was lost when the judge opened the store, and was not made again since.
    pub(super) is_lost: bool,
    /// The last event of each append that the store does not call durable yet.
    pub(super) unsynced: Vec<Position>,
}

impl Store {
    /// The open store; a closed one is opened again.
    pub(super) fn store(&mut self) -> Outcome<&EventStore> {
        let is_closed = self.open.is_none();
        let store = match self.open.take() {
            Some(store) => store,
            None => self.subject.open_store(&self.disk)?,
        };
        let store = self.open.insert(store);
        // Only a read that failed may lose what was not lost before.
        if is_closed && !self.is_lost && store.recovery().lost_parts > 0 {
            return Err("parts of the index were lost".into());
        }
        Ok(store)
    }

    /// What the operation just acknowledged is promised: the store's own watermark says so, and every crash
    /// checks whether it speaks the truth. The mode's words bound how far it may lag.
    pub(super) fn promise(&mut self, op: Op) -> Outcome<Survives> {
        let stats = self.store()?.stats();
        if self.unsynced.last().is_none_or(|last| *last < stats.last) {
            self.unsynced.push(stats.last);
        }
        self.unsynced.retain(|last| *last > stats.durable);
        let allowed = match self.subject.sync {
            SyncMode::Always => 0,
            // The interval is over when the background looks.
            SyncMode::Batch { .. } if op == Op::Background => 0,
            SyncMode::Batch { writes, .. } => writes as usize - 1,
            SyncMode::Manual if matches!(op, Op::Sync | Op::Index) => 0,
            SyncMode::Manual => usize::MAX,
        };
        let unsynced = self.unsynced.len();
        if unsynced > allowed {
            return Err(format!("{unsynced} appends are not durable after {op:?}").into());
        }
        Ok(if unsynced == 0 {
            Survives::PowerLoss
        } else {
            Survives::ProcessDeath
        })
    }

    pub(super) fn write(&mut self, op: Op, n: u64) -> Outcome<()> {
        let drafts = drafts(op, n);
        let store = self.store()?;
        let append = append(&drafts, Expected::Any);
        if op == Op::Conditional {
            let everything = Condition::new(Query::new(), Position(0));
            let refused = store.write(&append.clone().condition(everything));
            let is_empty = store.stats().last == Position(0);
            match refused {
                Err(Error::ConditionFailed {
                    position: Position(1),
                }) => {}
                Ok(_) if is_empty => return Err("an append left no event".into()),
                // To an empty store it was no condition.
                Ok(_) => return Ok(()),
                Err(other) => return Err(other.into()),
            }
            let seen = store.stats().last;
            let tagged = Query::new().tags(["c"]);
            store.write(&append.condition(Condition::new(tagged, seen)))?;
            return Ok(());
        }
        let before = store.stats().last;
        let appended = store.write(&append)?;
        if appended.was_there || appended.positions.start != before.next() {
            return Err(format!("a new append after {before} was {appended:?}").into());
        }
        Ok(())
    }

    /// Two appends in flight, and an answer that rests on them: each time another one.
    pub(super) fn in_flight(&mut self, n: u64) -> Outcome<()> {
        let drafts = drafts(Op::InFlight, n);
        let (first, second) = drafts.split_at(1);
        let sync = self.subject.sync;
        let store = self.store()?;
        let info = store.stream_info("s-2")?;
        let version = info.map_or(Version(0), |info| info.version);
        let before = store.stats().last;
        let one = store.submit(&append(first, Expected::Exactly(version)))?;
        let next = Expected::Exactly(version.next());
        let other = store.submit(&append(second, next))?;
        let late = [late(n)];
        let answer = match n % 3 {
            0 => store.write(&append(first, Expected::NoStream)),
            1 => store.write(&append(&late, Expected::Exactly(version))),
            _ => {
                let tagged = Condition::new(Query::new().tags(["t"]), before);
                store.write(&append(&late, Expected::Any).condition(tagged))
            }
        };
        let durable = store.stats().durable;
        let one = one.wait()?;
        let rests_on = match (n % 3, answer) {
            (0, Ok(again)) if again.was_there && again.positions == one.positions => before.next(),
            (1, Err(Error::WrongVersion { .. })) => before.next().next(),
            (2, Err(Error::ConditionFailed { position })) if position == before.next() => position,
            (_, answer) => return Err(format!("after {one:?} came {answer:?}").into()),
        };
        if sync == SyncMode::Always && durable < rests_on {
            return Err(format!("an answer rests on {rests_on}, and {durable} is durable").into());
        }
        other.wait()?;
        Ok(())
    }

    /// An event, and the end of its stream, unless that was ended; and an append that comes too late.
    pub(super) fn end(&mut self, n: u64) -> Outcome<()> {
        let has_reserve = self.subject.reserve > 0;
        let store = self.store()?;
        let is_ended = store
            .stream_info("ended")?
            .is_some_and(|info| info.is_ended);
        if !is_ended && !has_reserve {
            store.write(&append(&drafts(Op::Tombstone, n), Expected::Any))?;
        }
        store.tombstone("ended", Expected::Any)?;
        match store.append("ended", Expected::Any, [NewEvent::new("Late", b"")]) {
            Err(Error::StreamEnded { .. }) => Ok(()),
            other => Err(format!("an ended stream took {other:?}").into()),
        }
    }

    /// The last append once more, whatever it was, with an expectation that is not met.
    pub(super) fn retry(&mut self) -> Outcome<()> {
        let store = self.store()?;
        // Also what is not durable yet.
        let mut last: Option<Event> = None;
        for name in store.streams() {
            let event = store.last_event(&name?)?;
            let is_later = |event: &Event| {
                !event.is_tombstone()
                    && last
                        .as_ref()
                        .is_none_or(|last| last.position() < event.position())
            };
            last = event.filter(is_later).or(last);
        }
        let Some(last) = last else {
            return Ok(());
        };
        let Some((n, _)) = identify(last.payload()) else {
            return Err("an event that nobody wrote".into());
        };
        let drafts = match last.kind() {
            "Append" => drafts(Op::Append, n),
            "AppendNew" => drafts(Op::AppendNew, n),
            "AppendTwo" => drafts(Op::AppendTwo, n),
            "Conditional" => drafts(Op::Conditional, n),
            "First" => drafts(Op::InFlight, n).drain(..1).collect(),
            "Ended" => drafts(Op::Tombstone, n),
            "Second" => drafts(Op::InFlight, n).split_off(1),
            _ => vec![late(n)],
        };
        let again = store.write(&append(&drafts, Expected::NoStream))?;
        if !again.was_there || again.positions.end != last.position().next() {
            return Err(format!("a retry of {last:?} was {again:?}").into());
        }
        if let (first @ [_], [_, ..]) = drafts.split_at(1) {
            check_conflict(store, first)?;
        }
        let (last, others) = drafts.split_last().expect("an append has an event");
        let changed = [others, &[last.changed()]].concat();
        check_conflict(store, &changed)
    }

    pub(super) fn acknowledge(&mut self) -> Outcome<()> {
        let store = self.store()?;
        let before = store.subscriptions().first().map_or(0, |(_, at)| at.0);
        let mut reader = store.subscribe(Subscribe::new().named(READER))?;
        let mut expected = before;
        // What is not durable yet is given to no reader.
        for is_synced in [false, true] {
            let end = if is_synced {
                store.sync()?
            } else {
                store.stats().durable
            };
            while expected < end.0 {
                expected += 1;
                let event = reader.try_next()?;
                if event.as_ref().map(|event| event.position().0) != Some(expected) {
                    return Err(format!("{event:?} came instead of {expected}").into());
                }
            }
            if let Some(event) = reader.try_next()? {
                return Err(format!("{event:?} came, but {end} is the last durable one").into());
            }
        }
        reader.acknowledge()?;
        Ok(())
    }

    pub(super) fn index(&mut self) -> Outcome<()> {
        let store = self.store()?;
        while store.run_background()? {}
        // What went wrong and spoils nothing is no error there: it is put off.
        if let Some(trouble) = store.stats().index_trouble {
            return Err(format!("the index is not kept: {trouble:?}").into());
        }
        let unindexed = store.stats().unindexed_events;
        if unindexed > 0 {
            return Err(format!("{unindexed} events are not indexed").into());
        }
        self.is_lost = false;
        Ok(())
    }

    pub(super) fn spoil_index(&mut self) -> Outcome<()> {
        // Whoever has it open has it mapped: nobody may cut that short.
        self.open = None;
        self.is_lost = true;
        let dir = self.disk.open_dir(DIR)?;
        let mut names: Vec<String> = dir.list()?.into_iter().map(|entry| entry.name).collect();
        names.retain(|name| name.strip_suffix(".part").is_some());
        names.sort_unstable();
        for (nth, name) in names.iter().enumerate() {
            let file = dir.open(name)?;
            match (nth, names.first()) {
                (0, _) => file.set_len(700)?,
                (1, _) => dir.remove(name)?,
                (_, Some(other)) => {
                    let mut bytes = [0; 600];
                    let read = dir.open(other)?.read_at(&mut bytes, 0)?;
                    file.write_all_at(
                        bytes
                            .get(..read)
                            .expect("no more is read than was asked for"),
                        0,
                    )?;
                }
                (_, None) => {}
            }
            drop(file.sync_data()?);
        }
        dir.sync()?;
        Ok(())
    }
}

/// What has ids that are there, but is not the append that they are of.
fn check_conflict(store: &EventStore, drafts: &[Draft]) -> Outcome<()> {
    match store.write(&append(drafts, Expected::Any)) {
        Err(Error::IdConflict { .. }) => Ok(()),
        other => Err(format!("with the ids of another append came {other:?}").into()),
    }
}
