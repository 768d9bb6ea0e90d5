//! A Raft group as a key-value store: each operation is an entry, and so is everything that the store holds,
//! before what it covers is purged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard};

use crashtest::{Change as KeyChange, Contents, Outcome, Refusal, Setting, Store};
use durable_io::codec::{Decoder, Encoder};
use durable_raft::{Change, Entry, Error, Group, LogPoint, LogStore, Vote};

/// Everything is written as one entry after so many operations.
const SNAPSHOT_EVERY: u64 = 40;
const GROUP: u64 = 1;
/// A group that comes and goes.
const OTHER: u64 = 2;

/// The first byte of an entry: changes to what is there, or all of it.
const CHANGES: u8 = 0;
const SNAPSHOT: u8 = 1;

pub(super) struct KeyValue {
    store: LogStore,
    group: Group,
    /// Who holds it appends.
    turn: Mutex<()>,
    since_snapshot: AtomicU64,
}

impl KeyValue {
    pub(super) fn open(setting: &Setting) -> Outcome<Self> {
        let store = super::options(setting).open(&setting.dir)?;
        let group = match store.group(GROUP) {
            Err(Error::NoGroup { .. }) => store.create(GROUP)?,
            group => group?,
        };
        Ok(Self {
            store,
            group,
            turn: Mutex::new(()),
            since_snapshot: AtomicU64::new(0),
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
            let mut decoder = Decoder::new(&entry.data);
            match decoder.bytes(1) {
                Some([SNAPSHOT]) => contents.clear(),
                Some([CHANGES]) => {}
                _ => return Err("not an entry of ours".into()),
            }
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
        let contents = self.contents()?;
        let all = contents
            .iter()
            .map(|(key, value)| (key, Some(value.as_slice())));
        self.group.append(&[entry(last + 1, SNAPSHOT, all)?])?;
        Ok(self.group.purge(&point(last))?)
    }

    /// Entries that another leader's would take the place of.
    fn overrule(&self) -> Outcome<()> {
        let _turn = self.turn()?;
        let first = self.last()? + 1;
        let nothing = || std::iter::empty::<(&Vec<u8>, Option<&[u8]>)>();
        let entries = [
            entry(first, CHANGES, nothing())?,
            entry(first + 1, CHANGES, nothing())?,
        ];
        self.group.append(&entries)?;
        Ok(self.group.truncate(first)?)
    }

    /// A group that is gone in the end.
    fn destroy(&self) -> Outcome<()> {
        match self.store.destroy(OTHER) {
            Ok(()) | Err(Error::NoGroup { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let other = self.store.create(OTHER)?;
        if other.state()?.last.is_some() || other.vote()?.is_some() {
            return Err("a destroyed group is back".into());
        }
        other.save_vote(&vote(3))?;
        let nothing = std::iter::empty::<(&Vec<u8>, Option<&[u8]>)>();
        Ok(other.append(&[entry(5, CHANGES, nothing)?])?)
    }

    fn wait(&self, told: &Receiver<Result<(), Error>>) -> Outcome<()> {
        while self.store.run_background()? {
            if let Ok(result) = told.try_recv() {
                return Ok(result?);
            }
        }
        Ok(told.recv()??)
    }
}

impl Store for KeyValue {
    fn apply(&self, changes: &[KeyChange]) -> Outcome<()> {
        let (tell, told) = channel();
        {
            let _turn = self.turn()?;
            let last = self.last()?;
            if last > 0 {
                self.group.save_committed(Some(&point(last)))?;
            }
            if last % 16 == 0 {
                self.group.save_vote(&vote(last))?;
            }
            let changes = changes.iter().map(|(key, value)| (key, value.as_deref()));
            let entry = [entry(last + 1, CHANGES, changes)?];
            // Nobody listens any more if this fails.
            let done = move |result| drop(tell.send(result));
            self.group.submit(Change::Append(&entry), done)?;
        }
        self.since_snapshot.fetch_add(1, Ordering::Relaxed);
        self.wait(&told)
    }

    fn dump(&self) -> Outcome<Contents> {
        let state = self.group.state()?;
        let all = self.group.entries(0..u64::MAX)?;
        let ends = |entry: Option<&Entry>| entry.map(|entry| (entry.index, entry.term));
        if ends(all.last()) != state.last || all.first().map(|entry| entry.index) != state.first {
            return Err(format!("{} entries are not {state:?}", all.len()).into());
        }
        for entry in &all {
            let one = self.group.entries_within(entry.index..u64::MAX, 1)?;
            if one.as_slice() != [entry.clone()] {
                return Err(format!("entry {} is another one alone", entry.index).into());
            }
        }
        self.contents()
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.store.verify()?.damage.into_iter();
        Ok(damage.map(Into::into).collect())
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.store.sync()?)
    }

    fn maintain(&self) -> Outcome<bool> {
        if self.since_snapshot.load(Ordering::Relaxed) < SNAPSHOT_EVERY {
            return Ok(self.store.run_background()?);
        }
        self.since_snapshot.store(0, Ordering::Relaxed);
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

fn vote(term: u64) -> Vote {
    let leader = b"judge".to_vec();
    Vote { term, leader }
}

fn point(index: u64) -> LogPoint {
    LogPoint {
        index,
        term: 1,
        leader: b"judge".to_vec(),
    }
}

fn entry<'a>(
    index: u64,
    kind: u8,
    changes: impl Iterator<Item = (&'a Vec<u8>, Option<&'a [u8]>)>,
) -> Outcome<Entry> {
    let mut data = Encoder::default();
    data.bytes(&[kind]);
    for (key, value) in changes {
        data.u32(u32::try_from(key.len())?).bytes(key);
        // One more than its length, or nothing if the key is deleted.
        let len = value.map_or(0, |value| value.len() + 1);
        data.u32(u32::try_from(len)?);
        data.bytes(value.unwrap_or(&[]));
    }
    Ok(Entry {
        index,
        term: 1,
        data: data.into_vec(),
    })
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
