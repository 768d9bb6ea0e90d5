use super::*;
use crate::block_builder::BlockBuilder;
use crate::filter::{key_hash, low_half};
use crate::frame::BLOCK_HEADER_SIZE;

type Owned = (Vec<u8>, u64, Kind, Vec<u8>);

fn hash(key: &[u8]) -> u32 {
    low_half(key_hash(1, key))
}

fn build(entries: &[Owned], interval: u32, has_hash_index: bool) -> Vec<u8> {
    let mut builder = BlockBuilder::new(interval, has_hash_index);
    for (key, version, kind, value) in entries {
        let entry = Entry {
            key,
            version: *version,
            kind: *kind,
            value,
        };
        builder.add(&entry, hash(key));
    }
    builder.finish()[BLOCK_HEADER_SIZE..].to_vec()
}

/// Keys that share much, with one or several versions, long ones and empty ones among them.
fn some_entries() -> Vec<Owned> {
    let mut entries = Vec::new();
    entries.push((Vec::new(), 3, Kind::Put, b"empty key".to_vec()));
    for n in 0..60_u32 {
        let key = format!("key/{:03}", n * 2).into_bytes();
        for version in (0..=(n % 4)).rev() {
            let kind = if (n + version) % 5 == 0 {
                Kind::Delete
            } else {
                Kind::Put
            };
            let value = match kind {
                Kind::Put => vec![b'v'; (n as usize * 7) % 300],
                Kind::Delete => Vec::new(),
            };
            entries.push((key.clone(), u64::from(version) * 1000, kind, value));
        }
    }
    entries.push((vec![b'z'; 300], 0, Kind::Put, Vec::new()));
    entries
}

fn owned(entry: Option<Entry<'_>>) -> Option<Owned> {
    entry.map(|e| (e.key.to_vec(), e.version, e.kind, e.value.to_vec()))
}

fn probes(entries: &[Owned]) -> Vec<(Vec<u8>, u64)> {
    let mut probes = Vec::new();
    for (key, version, ..) in entries {
        let mut longer = key.clone();
        longer.push(0);
        let shorter = key[..key.len().saturating_sub(1)].to_vec();
        for key in [key.clone(), longer, shorter] {
            for version in [0, *version, version + 1, u64::MAX] {
                probes.push((key.clone(), version));
            }
        }
    }
    probes
}

fn check(entries: &[Owned], interval: u32, has_hash_index: bool) {
    let payload = build(entries, interval, has_hash_index);
    let block = Block::parse(&payload).unwrap();
    let mut position = Position::default();
    let mut forward = Vec::new();
    let mut stands = position.first(&block).unwrap();
    while stands {
        forward.extend(owned(position.entry(&block)));
        stands = position.next(&block).unwrap();
    }
    assert_eq!(forward, entries);
    let mut backward = Vec::new();
    stands = position.last(&block).unwrap();
    while stands {
        backward.extend(owned(position.entry(&block)));
        stands = position.previous(&block).unwrap();
    }
    backward.reverse();
    assert_eq!(backward, entries);
    for (key, version) in probes(entries) {
        let expected = entries
            .iter()
            .find(|e| compare((&e.0, e.1), (&key, version)).is_ge());
        position.seek(&block, &key, version).unwrap();
        let found = owned(position.entry(&block));
        assert_eq!(found.as_ref(), expected, "seek {key:?} {version}");
        let expected = expected.filter(|e| e.0 == key);
        let found = block.find(&key, version, hash(&key)).unwrap();
        let found = found.map(|f| (f.version, f.kind, block.slice(&f.value).to_vec()));
        let expected = expected.map(|e| (e.1, e.2, e.3.clone()));
        assert_eq!(found, expected, "find {key:?} {version}");
    }
}

#[test]
fn what_was_put_into_a_block_is_found_in_every_way() {
    let entries = some_entries();
    for interval in [1, 2, 3, 8, 16, 1000] {
        for has_hash_index in [false, true] {
            check(&entries, interval, has_hash_index);
            check(&entries[..1], interval, has_hash_index);
            check(&entries[5..6], interval, has_hash_index);
        }
    }
}

#[test]
fn a_block_with_many_restarts_is_found_without_a_hash_index() {
    let entries: Vec<Owned> = (0..700_u32)
        .map(|n| {
            (
                n.to_le_bytes().iter().rev().copied().collect(),
                0,
                Kind::Put,
                vec![1],
            )
        })
        .collect();
    check(&entries, 1, true);
    let payload = build(&entries, 1, true);
    assert!(Block::parse(&payload).unwrap().buckets().is_empty());
}

#[test]
fn no_changed_byte_of_a_payload_makes_it_panic_or_run_for_ever() {
    let entries = &some_entries()[..12];
    let payload = build(entries, 3, true);
    for at in 0..payload.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = payload.clone();
            bytes[at] ^= change;
            let Ok(block) = Block::parse(&bytes) else {
                continue;
            };
            let mut position = Position::default();
            let mut steps = 0;
            let mut stands = position.first(&block).unwrap_or(false);
            while stands {
                steps += 1;
                stands = position.next(&block).unwrap_or(false);
            }
            stands = position.last(&block).unwrap_or(false);
            while stands {
                steps += 1;
                stands = position.previous(&block).unwrap_or(false);
            }
            assert!(steps <= 2 * payload.len());
            for (key, version) in probes(entries) {
                drop(block.find(&key, version, hash(&key)));
                if position.seek(&block, &key, version).is_ok() {
                    drop(owned(position.entry(&block)));
                }
            }
        }
    }
}
