//! Hashes of worlds: two equal ones show the same, or have the same futures.

use super::{Node, World, to_index};
use crate::sim::hash::{mix, mix_bytes};

impl World {
    /// A hash of everything a running process sees: names and contents.
    pub(crate) fn visible_hash(&self) -> u64 {
        let mut sum = 0_u64;
        self.for_each_path(&mut |path, node| {
            let content = match node {
                Node::File(file) => {
                    let size = *file.size.current();
                    file_hash(size, self.unit, |index| {
                        file.units
                            .get(index)
                            .and_then(|c| c.current().as_ref())
                            .map(|b| b.hash)
                    })
                }
                Node::Dir(_) => 1,
            };
            sum = sum.wrapping_add(mix(mix_bytes(path.as_bytes()), content));
        });
        sum
    }

    /// A hash of the whole world, pending effects included: two equal ones have the same futures.
    pub(crate) fn full_hash(&self) -> u64 {
        let mut sum = self.visible_hash();
        for (ino, node) in self.nodes.iter().enumerate() {
            if node.has_pending() {
                sum = sum.wrapping_add(mix(ino as u64, node.pending_hash()));
            }
        }
        for edge in &self.edges {
            let [removed, added] = [&edge.removed, &edge.added].map(|(name, effect)| {
                let place = self.dir(edge.dir).ok().and_then(|dir| {
                    let pending = dir.names.get(name)?.pending();
                    pending.iter().position(|version| version.effect == *effect)
                });
                // Effects have other numbers on another way to the same world.
                mix(
                    mix_bytes(name.as_bytes()),
                    place.map_or(0, |place| place as u64 + 1),
                )
            });
            sum = sum.wrapping_add(mix(mix(edge.dir as u64, removed), added));
        }
        sum
    }
}

/// The hash of a file's visible content; units beyond the size do not count.
pub(crate) fn file_hash(size: u64, unit: usize, hash_of: impl Fn(usize) -> Option<u64>) -> u64 {
    let units = to_index(size.div_ceil(unit as u64));
    let mut sum = mix(0x51ED, size);
    for index in 0..units {
        // A hole reads as zeros; unit 0 and a zero block must still differ from "no unit".
        sum = sum.wrapping_add(mix(index as u64 + 1, hash_of(index).unwrap_or(0)));
    }
    sum
}

impl Node {
    fn pending_hash(&self) -> u64 {
        let mut sum = 0_u64;
        let mut add = |chain: u64, place: usize, value: u64| {
            sum = sum.wrapping_add(mix(mix(chain, place as u64), value));
        };
        match self {
            Self::File(file) => {
                for kept in 0..file.size.choices() {
                    add(1, kept, file.size.version(kept).value);
                }
                for (index, unit) in file.units.iter().enumerate() {
                    for kept in 0..unit.choices() {
                        let hash = unit.version(kept).value.as_ref().map_or(0, |b| b.hash);
                        add(2 + index as u64, kept, hash);
                    }
                }
            }
            Self::Dir(dir) => {
                for (name, chain) in &dir.names {
                    for kept in 0..chain.choices() {
                        let ino = chain.version(kept).value.map_or(0, |ino| ino as u64 + 1);
                        add(mix_bytes(name.as_bytes()), kept, ino);
                    }
                }
            }
        }
        sum
    }
}
