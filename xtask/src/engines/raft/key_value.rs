//! A Raft group as a key-value store: each operation is an entry, and so is everything that the store holds,
//! before what it covers is purged.

use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard};

use crashtest::{Change as KeyChange, Contents, Outcome, Refusal, Setting, Store};
use durable_io::codec::{Decoder, Encoder};
use durable_raft::{Change, Entry, Group, LogPoint, LogStore, Vote};

/// Everything is written as one entry after so many operations.
const SNAPSHOT_EVERY: usize = 40;
const GROUP: u64 = 1;
/// A group that comes and goes.
const OTHER: u64 = 2;

/// The term of an entry says what it is: changes to what is there, or all of it.
const CHANGES: u64 = 1;
const SNAPSHOT: u64 = 2;

pub(super) struct KeyValue {
    store: LogStore,
    group: Group,
    /// Who holds it appends.
    turn: Mutex<()>,
}

impl KeyValue {
    pub(super) fn open(setting: &Setting) -> Outcome<Self> {
        let store = super::options(setting).open(&setting.dir)?;
        let group = if store.groups()?.contains(&GROUP) {
            store.group(GROUP)?
        } else {
            store.create(GROUP)?
        };
        Ok(Self {
            store,
            group,
            turn: Mutex::new(()),
        })
    }

    fn turn(&self) -> Outcome<MutexGuard<'_, ()>> {
        Ok(self.turn.lock().map_err(|_poisoned| "a writer panicked")?)
    }

    /// The last index, whether or not its entry is purged.
    fn last(&self) -> Outcome<u64> {
        let state = self.group.state()?;
        let purged = state.purged.map_or(0, |point| point.index);
        Ok(state.last.map_or(purged, |(index, _)| index))
    }

    /// What the entries say.
    fn contents(&self) -> Outcome<Contents> {
        let mut contents = Contents::new();
        for entry in self.group.entries(0..u64::MAX)? {
            if entry.term == SNAPSHOT {
                contents.clear();
            }
            let mut decoder = Decoder::new(&entry.data);
            while !decoder.rest().is_empty() {
                apply(&mut contents, &mut decoder).ok_or("not an entry of ours")?;
            }
        }
        Ok(contents)
    }

    /// Writes everything as one entry, and gives up those before it.
    fn shorten(&self) -> Outcome<()> {
        let _turn = self.turn()?;
        let last = self.last()?;
        let all = self.contents()?.into_iter();
        let all: Vec<KeyChange> = all.map(|(key, value)| (key, Some(value))).collect();
        self.group.append(&[entry(last + 1, SNAPSHOT, &all)?])?;
        Ok(self.group.purge(&point(last))?)
    }

    /// Entries that another leader's would take the place of.
    fn overrule(&self) -> Outcome<()> {
        let _turn = self.turn()?;
        let first = self.last()? + 1;
        let entries = [entry(first, CHANGES, &[])?, entry(first + 1, CHANGES, &[])?];
        self.group.append(&entries)?;
        Ok(self.group.truncate(first)?)
    }

    /// A group that is gone in the end.
    fn destroy(&self) -> Outcome<()> {
        if self.store.groups()?.contains(&OTHER) {
            self.store.destroy(OTHER)?;
        }
        let other = self.store.create(OTHER)?;
        Ok(other.append(&[entry(5, CHANGES, &[])?])?)
    }
}

impl Store for KeyValue {
    fn apply(&self, changes: &[KeyChange]) -> Outcome<()> {
        let (sender, receiver) = channel();
        {
            let _turn = self.turn()?;
            let last = self.last()?;
            if last > 0 {
                self.group.save_committed(Some(&point(last)))?;
            }
            if last % 16 == 0 {
                let (term, leader) = (last, Vec::new());
                self.group.save_vote(&Vote { term, leader })?;
            }
            let entry = [entry(last + 1, CHANGES, changes)?];
            // Nobody listens any more if this fails.
            let done = move |result| drop(sender.send(result));
            self.group.submit(Change::Append(&entry), done)?;
        }
        // Without threads nobody else calls back.
        while self.store.run_background()? {}
        Ok(receiver.recv()??)
    }

    fn dump(&self) -> Outcome<Contents> {
        self.contents()
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.store.verify()?.damage.into_iter();
        Ok(damage.map(Into::into).collect())
    }

    fn maintain(&self) -> Outcome<bool> {
        if self.group.entries(0..u64::MAX)?.len() < SNAPSHOT_EVERY {
            return Ok(self.store.run_background()?);
        }
        self.shorten()?;
        Ok(true)
    }

    fn chore(&self, chore: &str, _drawn: u64) -> Outcome<()> {
        match chore {
            "overrule" => self.overrule(),
            "destroy" => self.destroy(),
            _ => self.shorten(),
        }
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.store.close()?)
    }
}

fn point(index: u64) -> LogPoint {
    let (term, leader) = (CHANGES, b"judge".to_vec());
    LogPoint {
        index,
        term,
        leader,
    }
}

fn entry(index: u64, term: u64, changes: &[KeyChange]) -> Outcome<Entry> {
    let mut data = Encoder::default();
    for (key, value) in changes {
        data.u32(u32::try_from(key.len())?).bytes(key);
        // One more than its length, or nothing if the key is deleted.
        let len = value.as_ref().map_or(0, |value| value.len() + 1);
        data.u32(u32::try_from(len)?);
        data.bytes(value.as_deref().unwrap_or(&[]));
    }
    let data = data.into_vec();
    Ok(Entry { index, term, data })
}

/// Does to `contents` what the next change says.
fn apply(contents: &mut Contents, changes: &mut Decoder<'_>) -> Option<()> {
    let len = changes.u32()?;
    let key = changes.bytes(usize::try_from(len).ok()?)?;
    match changes.u32()?.checked_sub(1) {
        None => drop(contents.remove(key)),
        Some(len) => {
            let value = changes.bytes(usize::try_from(len).ok()?)?;
            contents.insert(key.to_vec(), value.to_vec());
        }
    }
    Some(())
}
