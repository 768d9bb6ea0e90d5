//! A node that is being tried: a log and a state machine.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crashtest::content::payload;
use durable_io::sim::{Outcome, SimDisk, Survives};
use durable_io::{Background, Disk};
use durable_raft::machine::{Options, SnapshotData, StateMachine};
use durable_raft::{Entry, Error, Group, LogPoint, LogStore};

use super::{AHEAD, Op, State};

const LOG: &str = "/node/log";
const MACHINE: &str = "/node/machine";
const GROUP: u64 = 1;
/// Each entry writes one of so many keys.
const KEYS: u64 = 4;

pub(crate) struct Node {
    disk: Disk,
    open: Option<(LogStore, Group, StateMachine)>,
    has_failed: bool,
}

fn point(index: u64) -> LogPoint {
    LogPoint {
        index,
        term: index / 2 + 1,
        leader: payload(index, 1, 20),
    }
}

/// What entry `index` puts: some of it over two sectors, so that a few fill a memtable.
fn value(index: u64) -> Vec<u8> {
    payload(index, 0, if index.is_multiple_of(3) { 700 } else { 40 })
}

fn entry(index: u64) -> Entry {
    Entry {
        index,
        term: point(index).term,
        data: value(index),
    }
}

fn apply(machine: &StateMachine, entry: &Entry) -> Outcome<()> {
    let key = (entry.index % KEYS).to_le_bytes();
    // The first one is a change of the membership.
    let membership = (entry.index == 1).then_some(&b"all of us"[..]);
    Ok(machine.apply(&point(entry.index), membership, |changes| {
        changes.put(&key, &entry.data);
        Ok(())
    })?)
}

fn open_machine(disk: &Disk) -> Outcome<StateMachine> {
    let store = lsm::Options::new()
        .memtable_size(1300)
        .memory(1 << 20)
        .block_cache(4 << 10)
        .table_size(1024)
        .log_segment_size(2048)
        .manifest_segment_size(1024)
        .reserve(0);
    Ok(Options::new()
        .store(store)
        .background(Background::Inline)
        .disk(disk.clone())
        .open(MACHINE)?)
}

/// What another node that has applied entries up to `last` sends.
fn snapshot_of_another(last: u64) -> Outcome<(String, Vec<u8>)> {
    type Built = BTreeMap<u64, (String, Vec<u8>)>;
    static BUILT: LazyLock<Mutex<Built>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = built.get(&last) {
        return Ok(known.clone());
    }
    let machine = open_machine(&SimDisk::new().disk())?;
    for index in 1..=last {
        apply(&machine, &entry(index))?;
    }
    let snapshot = machine.build_snapshot()?;
    let made = (snapshot.id, read(snapshot.data)?);
    built.insert(last, made.clone());
    Ok(made)
}

fn read(mut data: SnapshotData) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(data.len()?)?];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match data.read_at(rest, at as u64)? {
            0 => return Err("a snapshot ends too early".into()),
            read => at += read,
        }
    }
    Ok(bytes)
}

impl Node {
    pub(super) fn open(disk: &Disk) -> Outcome<Self> {
        let mut node = Self {
            disk: disk.clone(),
            open: None,
            has_failed: false,
        };
        node.parts()?;
        Ok(node)
    }

    /// Log and state machine; closed ones are opened again, and what was not applied is.
    fn parts(&mut self) -> Outcome<(&Group, &StateMachine)> {
        let (group, machine) = self.opened()?;
        catch_up(group, machine)?;
        Ok((group, machine))
    }

    /// Log and state machine as they are.
    fn opened(&mut self) -> Outcome<(&Group, &StateMachine)> {
        let parts = match self.open.take() {
            Some(parts) => parts,
            None => open(&self.disk)?,
        };
        let (_, group, machine) = self.open.insert(parts);
        Ok((group, machine))
    }

    pub(super) fn apply(&mut self, op: Op) -> Outcome<Survives> {
        if self.has_failed
            && let Some((log, _, machine)) = &self.open
        {
            // Whoever no longer knows what is on its disk stops, as openraft does.
            log.sync()?;
            machine.sync()?;
        }
        let done = self.do_one(op);
        self.has_failed |= done.is_err();
        done
    }

    fn do_one(&mut self, op: Op) -> Outcome<Survives> {
        let disk = self.disk.clone();
        let before = self.observe()?;
        let (group, machine) = self.parts()?;
        match op {
            Op::Propose => {
                let ready = before.continued();
                if ready != before {
                    group.purge(&point(ready.purged))?;
                }
                let entry = entry(ready.log + 1);
                group.append(std::slice::from_ref(&entry))?;
                apply(machine, &entry)?;
            }
            Op::Build => {
                let built = machine.build_snapshot()?;
                let state = machine.applied()?;
                if built.state != state {
                    return Err(format!("{:?} was built of {state:?}", built.state).into());
                }
            }
            Op::Purge => purge(group, before, before.snapshot)?,
            Op::PurgeApplied => {
                if machine.make_durable_up_to(before.last())? {
                    purge(group, before, before.last())?;
                }
            }
            Op::Install => install(machine, before.last() + AHEAD)?,
            Op::LoseStore if before.snapshot > 0 && before.snapshot >= before.purged => {
                self.open = None;
                lose_store(&disk)?;
                self.parts()?;
            }
            Op::Background => while machine.run_background()? {},
            Op::Close => {
                let (log, _, machine) = self.open.take().ok_or("it is open")?;
                machine.close()?;
                log.close()?;
            }
            Op::LoseStore => {}
        }
        Ok(Survives::PowerLoss)
    }

    pub(super) fn observe(&mut self) -> Outcome<State> {
        let (group, machine) = self.opened()?;
        // After a failure nothing more can be applied; what is there can be read.
        let caught_up = catch_up(group, machine);
        if let Err(error) = caught_up
            && !error.downcast_ref::<Error>().is_some_and(is_failure)
        {
            return Err(error);
        }
        let (log, applied) = (group.state()?, machine.applied()?);
        let last = applied.index().unwrap_or(0);
        if applied.last != (last > 0).then(|| point(last)) {
            return Err(format!("{applied:?} was applied by nobody").into());
        }
        if applied.membership.as_deref() != (last > 0).then_some(&b"all of us"[..]) {
            return Err(format!("{:?} is nobody's membership", applied.membership).into());
        }
        for key in 0..KEYS {
            let by = (1..=last).rev().find(|index| index % KEYS == key);
            let found = machine.read()?.get(&key.to_le_bytes())?;
            if found.as_deref() != by.map(value).as_deref() {
                return Err(format!("key {key} is not what entry {by:?} has put").into());
            }
        }
        let snapshot = machine.snapshot()?.map(|snapshot| {
            let index = snapshot.state.index().unwrap_or(0);
            read(snapshot.data).map(|_| index)
        });
        let purged = log.purged.map_or(0, |purged| purged.index);
        Ok(State {
            log: log.last.map_or(purged, |(index, _)| index),
            purged,
            snapshot: snapshot.transpose()?.unwrap_or(0),
        })
    }
}

fn open(disk: &Disk) -> Outcome<(LogStore, Group, StateMachine)> {
    let log = durable_raft::Options::new()
        .segment_size(2048)
        .reserve(0)
        .background(Background::Inline)
        .disk(disk.clone())
        .open(LOG)?;
    let group = match log.group(GROUP) {
        Err(Error::NoGroup { .. }) => log.create(GROUP)?,
        group => group?,
    };
    Ok((log, group, open_machine(disk)?))
}

/// Whether the disk, or a failure before, is why.
fn is_failure(error: &Error) -> bool {
    matches!(
        error,
        Error::Disk(_) | Error::Log(_) | Error::Poisoned(_) | Error::State(_)
    )
}

/// Applies what the log has behind what was applied. Nothing is purged that was not.
fn catch_up(group: &Group, machine: &StateMachine) -> Outcome<()> {
    let applied = machine.applied()?.index().unwrap_or(0);
    let state = group.state()?;
    let purged = state.purged.map_or(0, |purged| purged.index);
    if purged > applied {
        let unlike =
            format!("purged up to {purged}, applied up to {applied}: neither entries nor state");
        return Err(unlike.into());
    }
    for (next, entry) in (applied + 1..).zip(group.entries(applied + 1..u64::MAX)?) {
        if entry != self::entry(next) {
            return Err(format!("{entry:?} stands in the place of entry {next}").into());
        }
        apply(machine, &entry)?;
    }
    Ok(())
}

fn purge(group: &Group, before: State, index: u64) -> Outcome<()> {
    if index > before.purged {
        group.purge(&point(index))?;
    }
    Ok(())
}

fn install(machine: &StateMachine, last: u64) -> Outcome<()> {
    let (id, bytes) = snapshot_of_another(last)?;
    let incoming = machine.receive()?;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    // The transfer is begun anew.
    incoming.write_at(first, 0)?;
    incoming.write_at(first, 0)?;
    incoming.write_at(second, first.len() as u64)?;
    let is_expected = |found: &durable_raft::machine::Applied| found.last == Some(point(last));
    Ok(machine.install(&id, SnapshotData::Incoming(incoming), is_expected)?)
}

/// Moves the store away, as somebody does who knows that it is damaged.
fn lose_store(disk: &Disk) -> Outcome<()> {
    let dir = disk.open_dir(MACHINE)?;
    for entry in dir.list()? {
        if entry.name.strip_suffix(".store").is_some() {
            dir.rename(&entry.name, &format!("{}.damaged", entry.name))?;
        }
    }
    Ok(dir.sync()?)
}
