//! What a user sees of a store.

use std::collections::BTreeMap;

use crashtest::content::identify;
use durable_io::sim::Outcome;
use lsm::{Snapshot, View};

use super::{KEYS, OTHER, probes};

/// The keys of a keyspace, and who wrote their values.
pub(super) type Entries = BTreeMap<String, (u64, usize)>;

/// What a user sees: of each keyspace, the operation that wrote each key's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) default: Entries,
    pub(super) other: Option<Entries>,
    /// By the operation that made them.
    pub(super) backups: BTreeMap<u64, State>,
}

/// Everything in a snapshot, read in every way.
pub(super) fn contents(snapshot: &Snapshot) -> Outcome<State> {
    let mut names = snapshot.list_keyspaces();
    names.retain(|name| !probes::is_long(name));
    let other = names.iter().any(|name| name == OTHER);
    if names.len() != 1 + usize::from(other) {
        return Err(format!("there are keyspaces {names:?}").into());
    }
    Ok(State {
        default: entries(snapshot)?,
        other: other
            .then(|| entries(&snapshot.keyspace(OTHER)?))
            .transpose()?,
        backups: BTreeMap::new(),
    })
}

fn entries(view: &View) -> Outcome<Entries> {
    let mut entries = Entries::new();
    let forward: Vec<_> = view.scan(..).collect::<Result<_, _>>()?;
    let mut backward: Vec<_> = view.scan(..).rev().collect::<Result<_, _>>()?;
    backward.reverse();
    if forward != backward {
        return Err(format!("forward {forward:?}, backward {backward:?}").into());
    }
    for (key, value) in forward {
        let key = String::from_utf8(key)?;
        let Some(written) = identify(&value) else {
            return Err(format!("key {key} has a value that nobody wrote").into());
        };
        if entries.insert(key.clone(), written).is_some() {
            return Err(format!("key {key} is there twice").into());
        }
    }
    for key in KEYS {
        let found = view.get(key.as_bytes())?.and_then(|value| identify(&value));
        if found != entries.get(key).copied() {
            return Err(format!("key {key} is {found:?}, in the scan {entries:?}").into());
        }
    }
    Ok(entries)
}
