//! Hashes of worlds: two equal ones show the same, or have the same futures.

use super::{Ino, Node, ROOT, World};
use crate::sim::hash::{mix, mix_bytes};

impl World {
    /// True if a running process sees the same names and contents on both.
    pub fn shows_the_same(&self, other: &Self) -> bool {
        let untouched = self.nodes.len() == other.nodes.len()
            && self
                .nodes
                .iter()
                .zip(&other.nodes)
                .all(|(one, other)| one.is(other));
        untouched || self.visible_hash() == other.visible_hash()
    }

    /// A hash of everything a running process sees: names and contents. It is that of the crash state in which
    /// this is what is left.
    pub(crate) fn visible_hash(&self) -> u64 {
        self.hash_below(ROOT, 0)
    }

    fn hash_below(&self, dir: Ino, path: u64) -> u64 {
        let Ok(dir) = self.dir(dir) else { return 0 };
        let mut sum = 0_u64;
        for (name, chain) in &dir.names {
            let node = chain
                .current()
                .and_then(|ino| Some((ino, self.nodes.get(ino)?)));
            let Some((ino, node)) = node else { continue };
            let path = mix(path, mix_bytes(name.as_bytes()));
            sum = sum.wrapping_add(mix(path, node.content_hash(self.unit)));
            if matches!(node.node(), Node::Dir(_)) {
                sum = sum.wrapping_add(self.hash_below(ino, path));
            }
        }
        sum
    }

    /// A hash of the whole world, pending effects included: two equal ones have the same futures.
    pub(crate) fn full_hash(&self) -> u64 {
        let mut sum = self.visible_hash();
        for (ino, node) in self.nodes.iter().enumerate() {
            // What the page cache shows may not be what is durable, though nothing is pending.
            if !node.node().is_settled() {
                sum = sum.wrapping_add(mix(ino as u64, node.node().pending_hash()));
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
