//! What is left of a damaged store.

use std::collections::BTreeMap;

use crashtest::{Outcome, Salvaged, Setting};
use event_store::Options;

use crate::engines::event_store::{key, value};

/// The last event of each stream; an older one perhaps, if any event is missing.
pub(in crate::engines::event_store) fn salvage(setting: &Setting) -> Outcome<Salvaged> {
    let mut left = Salvaged::default();
    let mut last = BTreeMap::new();
    for item in Options::new()
        .disk(setting.disk.clone())
        .salvage(&setting.dir)?
    {
        match item {
            Ok(event) => drop(last.insert(key(event.stream())?, value(&event))),
            Err(error) => left.errors.push(error.into()),
        }
    }
    let may_be_older = !left.errors.is_empty();
    for (key, value) in last {
        if let Some(value) = value {
            left.add(key, value, may_be_older);
        }
    }
    Ok(left)
}
