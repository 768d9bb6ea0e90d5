//! Point reads: memtables, then tables, the newest first.
//!
//! A read looks into the state of a keyspace as it is when it begins. An entry that it finds counts
//! unless a newer range tombstone hides it; what is older than a range tombstone that covers the key
//! need not be looked for.

use sstable::Found;

use crate::error::Result;
use crate::levels::LiveTable;
use crate::tree::State;
use crate::value::Value;

/// What one source says of a key.
enum Answer {
    /// There is nothing older that counts.
    Final(Option<Value>),
    /// It says nothing.
    Unknown,
}

/// `found` is an entry's version and value; `covered` the newest range tombstone of the same source.
fn judge(found: Option<(u64, Option<Value>)>, covered: Option<u64>) -> Answer {
    match (found, covered) {
        (Some((version, _)), Some(by)) if by > version => Answer::Final(None),
        (Some((_, value)), _) => Answer::Final(value),
        // Whatever is in older sources has smaller versions than this source has of the same key.
        (None, Some(_)) => Answer::Final(None),
        (None, None) => Answer::Unknown,
    }
}

fn look(live: &LiveTable, key: &[u8], version: u64) -> Result<Answer> {
    let found = live.table.find(key, version)?;
    Ok(judge_found(live, key, version, found))
}

/// `found` is what `live` has of `key`.
fn judge_found(live: &LiveTable, key: &[u8], version: u64, found: Option<Found>) -> Answer {
    let found = found.map(|found| {
        let is_put = found.kind == sstable::Kind::Put;
        (found.version, is_put.then(|| Value::of_table(found.value)))
    });
    let ranges = live.table.range_tombstones();
    judge(found, sstable::covering(ranges, key, version))
}

/// The value that `key` has in `state` at `version`.
pub(crate) fn find(state: &State, key: &[u8], version: u64) -> Result<Option<Value>> {
    let frozen = state.frozen.iter().map(|frozen| &frozen.table);
    for table in std::iter::once(&state.active).chain(frozen) {
        let found = judge(table.find(key, version), table.covering(key, version));
        if let Answer::Final(value) = found {
            return Ok(value);
        }
    }
    for run in &state.levels.runs {
        if let Some(live) = run.find(key)
            && let Answer::Final(value) = look(live, key, version)?
        {
            return Ok(value);
        }
    }
    Ok(None)
}

/// The values that `keys` have, in their order. They are looked for in the order of the keys, in one
/// source after the other, so that those of one block are found together.
pub(crate) fn find_all<K: AsRef<[u8]>>(
    state: &State,
    keys: &[K],
    version: u64,
) -> Result<Vec<Option<Value>>> {
    let mut values: Vec<Option<Value>> = vec![None; keys.len()];
    let mut rest: Vec<(usize, &[u8])> = keys.iter().map(AsRef::as_ref).enumerate().collect();
    rest.sort_unstable_by(|a, b| a.1.cmp(b.1));
    let mut settle = |nth: usize, answer: Answer| match answer {
        Answer::Final(value) => {
            if let Some(slot) = values.get_mut(nth) {
                *slot = value;
            }
            false
        }
        Answer::Unknown => true,
    };
    let frozen = state.frozen.iter().map(|frozen| &frozen.table);
    for table in std::iter::once(&state.active).chain(frozen) {
        if table.first_version().is_some() {
            let found = table.find_many(&only_keys(&rest), version);
            let mut found = found.into_iter();
            rest.retain(|&(nth, key)| {
                let found = found.next().flatten();
                settle(nth, judge(found, table.covering(key, version)))
            });
        }
    }
    for run in &state.levels.runs {
        let mut left = Vec::with_capacity(rest.len());
        let table_of = |key: &(usize, &[u8])| run.find(key.1).map(std::ptr::from_ref);
        for near in rest.chunk_by(|a, b| table_of(a) == table_of(b)) {
            let Some(live) = near.first().and_then(|(_, key)| run.find(key)) else {
                left.extend_from_slice(near);
                continue;
            };
            let found = live.table.find_many(&only_keys(near), version)?;
            for (&(nth, key), found) in near.iter().zip(found) {
                if settle(nth, judge_found(live, key, version, found)) {
                    left.push((nth, key));
                }
            }
        }
        rest = left;
    }
    Ok(values)
}

fn only_keys<'k>(keys: &[(usize, &'k [u8])]) -> Vec<&'k [u8]> {
    keys.iter().map(|&(_, key)| key).collect()
}
