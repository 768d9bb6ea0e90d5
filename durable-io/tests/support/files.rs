//! A toy store of numbered files, each written by one of the procedures under test, and an example of
//! how each of them is used right.

use std::collections::BTreeMap;

use durable_io::checksum::checksum;
use durable_io::replace_file;
use durable_io::sim::{Outcome, Subject, Survives};
use durable_io::{Dir, Disk, Error, File, Result, create_durably, publish, remove_durably};

/// What can be done with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `replace_file` of one file, by that many bytes.
    Replace(usize),
    /// The same by hand, without the directory sync.
    ReplaceUnsynced(usize),
    /// The same by writing at the name that readers trust.
    ReplaceInPlace(usize),
    /// A file is made under another name and published.
    Publish(usize),
    /// A new file by `create_durably`.
    Create(usize),
    /// The same by hand, without the directory sync.
    CreateUnsynced(usize),
    /// `remove_durably` of the newest file of those.
    Remove,
}

/// The store, of which `operations` are judged.
#[derive(Clone, Debug)]
pub struct Files {
    pub operations: Vec<Op>,
    /// Contents count only in the file that they were written to.
    pub binds_contents: bool,
}

impl Files {
    /// The one that keeps every promise, if its operations do.
    pub fn new(operations: &[Op]) -> Self {
        Self {
            operations: operations.to_vec(),
            binds_contents: true,
        }
    }
}

/// The file that is replaced and published: what is there counts, whole.
const TRUSTED: &str = "trusted";
/// Files of this beginning count when they are whole. Others of them are removed by recovery.
const CREATED: &str = "created-";

/// Bytes that tell where they come from and whether they are all there.
fn contents(n: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![b'a' + u8::try_from(n % 26).unwrap(); len];
    bytes.extend(n.to_le_bytes());
    bytes.extend(checksum(&bytes).to_le_bytes());
    bytes
}

fn created(n: u64) -> String {
    format!("{CREATED}{n:04}")
}

/// The number and the length, if the contents are whole and this file's own.
fn parse(dir: &Dir, name: &str, binds_contents: bool) -> Result<Option<(u64, usize)>> {
    let file = dir.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap()];
    file.read_exact_at(&mut bytes, 0)?;
    let Some((body, sum)) = bytes.split_last_chunk() else {
        return Ok(None);
    };
    let Some((filling, n)) = body.split_last_chunk() else {
        return Ok(None);
    };
    let n = u64::from_le_bytes(*n);
    let whole = checksum(body) == u32::from_le_bytes(*sum);
    let is_own = !binds_contents || name == TRUSTED || name == created(n);
    Ok((whole && is_own).then_some((n, filling.len())))
}

fn names(dir: &Dir) -> Result<Vec<String>> {
    let mut names: Vec<_> = dir.list()?.into_iter().map(|entry| entry.name).collect();
    names.sort();
    Ok(names)
}

/// Opens what may have been left by a process that died: everything is synced that is believed.
fn open(disk: &Disk, binds_contents: bool) -> Result<Dir> {
    let dir = disk.create_dir("/store")?;
    for name in names(&dir)? {
        if name.starts_with(CREATED) {
            match parse(&dir, &name, binds_contents)? {
                Some(_) => drop(dir.open(&name)?.sync_data()?),
                None => dir.remove(&name)?,
            }
        }
    }
    dir.sync()?;
    Ok(dir)
}

/// An empty file `name`, also if a crash left another.
fn create_anew(dir: &Dir, name: &str) -> Result<File> {
    if names(dir)?.iter().any(|of| of == name) {
        dir.remove(name)?;
    }
    dir.create_new(name)
}

fn newest(dir: &Dir) -> Result<Option<String>> {
    let is_created = |name: &String| name.starts_with(CREATED);
    Ok(names(dir)?.into_iter().rfind(is_created))
}

fn apply(dir: &Dir, op: Op, n: u64) -> Result<()> {
    match op {
        Op::Replace(len) => replace_file(dir, TRUSTED, &contents(n, len)),
        Op::ReplaceUnsynced(len) => {
            let file = create_anew(dir, "by hand")?;
            file.write_all_at(&contents(n, len), 0)?;
            drop(file.sync_data()?);
            dir.rename("by hand", TRUSTED)
        }
        Op::ReplaceInPlace(len) => {
            let file = create_anew(dir, TRUSTED)?;
            file.write_all_at(&contents(n, len), 0)?;
            drop(file.sync_data()?);
            dir.sync()
        }
        Op::Publish(len) => {
            let file = create_anew(dir, "unfinished")?;
            file.write_all_at(&contents(n, len), 0)?;
            publish(dir, &file, "unfinished", TRUSTED)
        }
        Op::Create(len) => {
            let fill = |file: &File| file.write_all_at(&contents(n, len), 0);
            create_durably::<Error>(dir, &created(n), fill).map(drop)
        }
        Op::CreateUnsynced(len) => {
            let file = dir.create_new(&created(n))?;
            file.write_all_at(&contents(n, len), 0)?;
            file.sync_data().map(drop)
        }
        Op::Remove => match newest(dir)? {
            Some(name) => remove_durably(dir, &name),
            None => Ok(()),
        },
    }
}

impl Subject for Files {
    type Op = Op;
    /// The number and the length of each file.
    type State = BTreeMap<String, (u64, usize)>;
    type Store = Dir;

    fn operations(&self) -> Vec<Op> {
        self.operations.clone()
    }

    fn empty(&self) -> Self::State {
        BTreeMap::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<Dir> {
        Ok(open(disk, self.binds_contents)?)
    }

    fn apply(&self, dir: &mut Dir, op: &Op, n: u64) -> Outcome<Survives> {
        apply(dir, *op, n)?;
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, dir: &mut Dir) -> Outcome<Self::State> {
        let mut state = BTreeMap::new();
        for name in names(dir)? {
            if name == TRUSTED || name.starts_with(CREATED) {
                let whole = parse(dir, &name, self.binds_contents)?;
                let whole = whole.ok_or_else(|| format!("{name} is but half a file"))?;
                state.insert(name, whole);
            }
        }
        Ok(state)
    }

    fn model(&self, before: &Self::State, op: &Op, n: u64) -> Self::State {
        let mut state = before.clone();
        match *op {
            Op::Replace(len)
            | Op::ReplaceUnsynced(len)
            | Op::ReplaceInPlace(len)
            | Op::Publish(len) => {
                state.insert(TRUSTED.to_owned(), (n, len));
            }
            Op::Create(len) | Op::CreateUnsynced(len) => {
                state.insert(created(n), (n, len));
            }
            Op::Remove => {
                let newest = state
                    .keys()
                    .rfind(|name| name.starts_with(CREATED))
                    .cloned();
                newest.and_then(|name| state.remove(&name));
            }
        }
        state
    }
}
