//! What a sync does to a world.

use super::{Ino, Inode, Node, Part, World};
use crate::sim::chain::{Chain, EffectId};

/// What a sync does to the chains it covers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChainChange {
    Promote(EffectId),
    Lose { limit: EffectId, cache_keeps: bool },
}

impl ChainChange {
    /// Sizes and names go through a journal: a failed sync never leaves them clean and wrong, as it
    /// does with pages. They stay dirty, or the file system shows the old state.
    fn strikes_metadata(self) -> bool {
        !matches!(
            self,
            Self::Lose {
                cache_keeps: true,
                ..
            }
        )
    }

    /// The same change of effects below `bound` only.
    fn up_to(self, bound: EffectId) -> Self {
        match self {
            Self::Promote(limit) => Self::Promote(limit.min(bound)),
            Self::Lose { limit, cache_keeps } => Self::Lose {
                limit: limit.min(bound),
                cache_keeps,
            },
        }
    }

    fn apply<T: Clone>(self, chain: &mut Chain<T>) {
        match self {
            Self::Promote(limit) => chain.promote(limit),
            Self::Lose { limit, cache_keeps } => chain.lose(limit, cache_keeps),
        }
    }
}

impl World {
    /// Applies `change` to every chain that a sync of `ino` covers.
    pub(crate) fn for_covered(&mut self, ino: Ino, change: ChainChange) {
        let Some(node) = self.nodes.get_mut(ino) else {
            return;
        };
        if node.node().has_pending() {
            match node.make_mut() {
                Node::File(file) => {
                    if change.strikes_metadata() {
                        change.apply(&mut file.size);
                    }
                    for unit in &mut file.units {
                        change.apply(unit);
                    }
                }
                Node::Dir(dir) if change.strikes_metadata() => {
                    for chain in dir.names.values_mut() {
                        change.apply(chain);
                    }
                }
                Node::Dir(_) => {}
            }
            self.forget_settled_edges();
        }
        self.commit_after(ino, change);
    }

    /// As [`for_covered`](World::for_covered), for the units of one written range and, where lengths
    /// are struck at all, the changes of length without which the range could not be read.
    pub(crate) fn for_range(&mut self, ino: Ino, offset: u64, len: usize, change: ChainChange) {
        let end = offset + len as u64;
        let parts: Vec<Part> = self.parts(offset, len).collect();
        let Some(Node::File(file)) = self.nodes.get_mut(ino).map(Inode::make_mut) else {
            return;
        };
        if change.strikes_metadata() {
            let too_short = (0..file.size.choices())
                .rev()
                .find(|&kept| file.size.version(kept).value < end);
            if let Some(needed) = too_short.and_then(|kept| file.size.pending().get(kept)) {
                let needed = needed.effect + 1;
                change.up_to(needed).apply(&mut file.size);
            }
        }
        for part in parts {
            if let Some(unit) = file.units.get_mut(part.unit) {
                change.apply(unit);
            }
        }
        self.commit_after(ino, change);
    }

    fn commit_after(&mut self, ino: Ino, change: ChainChange) {
        if let ChainChange::Promote(limit) = change {
            self.commit(ino, limit);
        }
    }

    /// A rename whose new name is durable constrains nothing any more.
    pub(crate) fn forget_settled_edges(&mut self) {
        let nodes = &self.nodes;
        self.edges
            .retain(|edge| match nodes.get(edge.dir).map(Inode::node) {
                Some(Node::Dir(dir)) => dir.names.get(&edge.removed.0).is_some_and(|chain| {
                    chain.pending().iter().any(|v| v.effect == edge.removed.1)
                }),
                _ => false,
            });
    }
}
