//! What is said to a program and what it answers, line by line.

use std::fmt::Write as _;

use crate::engine::Contents;
use crate::model::{Kind, Operation, RECORD, State, key_of, raft};

/// The line that tells a program to do `operation`.
pub(super) fn line(operation: &Operation) -> String {
    let words = match operation {
        Operation::Change(changes) => match changes.as_slice() {
            [(key, None)] => format!("del {}", text(key)),
            [(key, Some(value))] => format!("put {} {}", text(key), hex(value)),
            batch => {
                let pairs = batch.iter().map(|(key, value)| {
                    let value = value.as_deref().expect("a batch deletes nothing");
                    format!(" {} {}", text(key), hex(value))
                });
                format!("batch{}", pairs.collect::<String>())
            }
        },
        Operation::Append(records) => match records.as_slice() {
            [record] => format!("append {}", hex(record)),
            batch => {
                let records = batch.iter().map(|record| format!(" {}", hex(record)));
                format!("batch{}", records.collect::<String>())
            }
        },
        Operation::Raft(step) => match step {
            raft::Step::Vote { term, node } => format!("vote {term} {node}"),
            raft::Step::Append { index, term, bytes } => {
                format!("append {index} {term} {}", hex(bytes))
            }
            raft::Step::Truncate { index } => format!("truncate {index}"),
            raft::Step::Purge { index } => format!("purge {index}"),
        },
    };
    words + "\n"
}

/// What a program has dumped so far.
#[derive(Debug)]
pub(super) struct Dump {
    kind: Kind,
    state: State,
}

impl Dump {
    /// A dump of a store of this kind, without a line yet.
    pub(super) fn new(kind: Kind) -> Self {
        let state = State::default();
        Self { kind, state }
    }

    /// Takes in a line that is not the last. `None`: it makes no sense in a dump of this kind, or says what another
    /// has said.
    pub(super) fn take(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match (self.kind, words.as_slice()) {
            (Kind::Kv, [key, value]) => {
                let key = key.as_bytes();
                let is_new = !self.state.pairs().contains_key(key);
                is_new.then_some(())?;
                self.state.put(key, bytes(value)?);
            }
            (Kind::Log, [record]) => {
                let index = self.state.pairs().len() as u64;
                self.state.put(&key_of(RECORD, index), bytes(record)?);
            }
            (Kind::Raft, ["vote", term, node]) => {
                raft::put_vote(&mut self.state, term.parse().ok()?, node.parse().ok()?);
            }
            (Kind::Raft, ["purged", index]) => {
                raft::put_purged(&mut self.state, index.parse().ok()?);
            }
            (Kind::Raft, ["entry", index, term, data]) => {
                let index = index.parse().ok()?;
                let is_new = !raft::has_entry(&self.state, index);
                is_new.then_some(())?;
                raft::put_entry(&mut self.state, index, term.parse().ok()?, &bytes(data)?);
            }
            _ => return None,
        }
        Some(())
    }

    /// What the store holds.
    pub(super) fn contents(self) -> Contents {
        self.state.pairs().clone()
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// `bytes` in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all");
    }
    text
}

/// The bytes that `hex` stands for.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let digits = |pair: &[u8; 2]| {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        u8::try_from(high? << 4 | low?).ok()
    };
    if rest.is_empty() {
        pairs.iter().map(digits).collect()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Promised, Shape, Verdict};

    /// A program that forgets nothing, as far as its dump shows.
    fn dump_of(kind: Kind, requests: &[String]) -> Vec<String> {
        let (mut pairs, mut log, mut vote, mut purged) =
            (std::collections::BTreeMap::new(), Vec::new(), None, None);
        for line in requests {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (kind, words.as_slice()) {
                (Kind::Kv, ["put", key, value]) => drop(pairs.insert(*key, *value)),
                (Kind::Kv, ["del", key]) => drop(pairs.remove(key)),
                (Kind::Kv, ["batch", batch @ ..]) => {
                    pairs.extend(batch.chunks(2).map(|pair| (pair[0], pair[1])));
                }
                (Kind::Log, ["append" | "batch", records @ ..]) => {
                    log.extend(records.iter().map(|record| (0, (*record).to_owned())));
                }
                (Kind::Raft, ["vote", ..]) => vote = Some(line.trim_end().to_owned()),
                (Kind::Raft, ["append", index, term, data]) => {
                    let entry = format!("entry {index} {term} {data}");
                    log.push((index.parse::<u64>().unwrap(), entry));
                }
                (Kind::Raft, ["truncate", from]) => {
                    let from = from.parse::<u64>().unwrap();
                    log.retain(|(index, _)| *index < from);
                }
                (Kind::Raft, ["purge", to]) => {
                    let to = to.parse::<u64>().unwrap();
                    log.retain(|(index, _)| *index > to);
                    purged = Some(format!("purged {to}"));
                }
                _ => panic!("{line:?}"),
            }
        }
        let pairs = pairs.iter().map(|(key, value)| format!("{key} {value}"));
        let entries = log.into_iter().map(|(_, line)| line);
        pairs.chain(vote).chain(purged).chain(entries).collect()
    }

    #[test]
    fn what_every_kind_is_asked_and_dumps_is_the_state_after_it() {
        for kind in [Kind::Kv, Kind::Log, Kind::Raft] {
            let shape = Shape {
                kind,
                batches: kind != Kind::Raft,
                unsynced: false,
            };
            let model = Model::new(shape, 60);
            let requests: Vec<String> = (1..=60).map(|n| line(model.operation(n))).collect();
            let mut dump = Dump::new(kind);
            for line in dump_of(kind, &requests) {
                dump.take(&line).expect(&line);
            }
            let verdict = model.judge(Promised::all(60), &dump.contents());
            assert_eq!(verdict, Verdict::Holds(60));
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_or_says_something_twice_is_refused() {
        for (kind, lines) in [
            (Kind::Kv, ["a 00", "a 00"]),
            (Kind::Kv, ["a 00", "b 0"]),
            (Kind::Log, ["00", "0g"]),
            (Kind::Log, ["00", "a 00"]),
            (Kind::Raft, ["entry 1 1 00", "entry 1 2 00"]),
            (Kind::Raft, ["vote 1 2", "vote 1"]),
            (Kind::Raft, ["purged 1", "purged x"]),
        ] {
            let mut dump = Dump::new(kind);
            let [right, wrong] = lines;
            assert_eq!(dump.take(right), Some(()), "{kind:?} {right}");
            assert_eq!(dump.take(wrong), None, "{kind:?} {wrong}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_bytes() {
        assert_eq!(bytes("00fFa1"), Some(vec![0, 255, 161]));
        assert_eq!(bytes(""), Some(Vec::new()));
        assert_eq!(bytes("0"), None);
        assert_eq!(bytes("0g"), None);
        assert_eq!(hex(&[0, 255, 161]), "00ffa1");
    }
}
