//! Which states a power loss can leave: the durable part of a [`World`], a prefix of every pending
//! chain, and something in each hole.
//!
//! Names are chosen first ([`names`]); only files that then have a name enter the product ([`states`]).

use std::cell::RefCell;
use std::sync::Arc;

use super::chain::{Chain, EffectId};
use super::hash::{MixedMap, mix};
use super::world::{Block, DirNode, FileNode, Ino, Inode, Node, Unit, World, to_index};

mod file_states;
mod names;
mod states;

pub(crate) use states::{States, Visit, Visited};

/// What a block shows that belongs to a file, lies within its size, and was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fill {
    Zero,
    Garbage,
    /// The content of a deleted or truncated file at the same offset; an index into `World::stale`.
    Stale(usize),
}

impl Fill {
    pub(crate) fn all(world: &World) -> impl Iterator<Item = Self> + use<> {
        let stale = (0..world.stale.len()).rev().map(Self::Stale);
        let all = [Self::Zero, Self::Garbage].into_iter().chain(stale);
        let zero_only = world.order.profile().zero_holes;
        all.take(if zero_only { 1 } else { usize::MAX })
    }
}

/// In a [`Choice`], for a chain of which every effect is kept: more than any chain holds.
pub(crate) const EVERYTHING: usize = usize::MAX;

/// One crash state, as data: how many pending effects of each pending chain reached the disk, and
/// what each file's holes show. Chains are in the order of [`World::pending_chains`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) kept: Vec<usize>,
    pub(crate) fills: Vec<(Ino, Fill)>,
}

/// Which chain of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChainRef {
    Name { dir: Ino, name: Arc<str> },
    Size { file: Ino },
    Unit { file: Ino, index: usize },
}

#[derive(Clone, Debug)]
pub(crate) struct PendingChain {
    pub(crate) chain: ChainRef,
    /// The pending effects, oldest first.
    pub(crate) effects: Vec<EffectId>,
}

impl World {
    /// Every chain with pending effects, in one fixed order.
    pub(crate) fn pending_chains(&self) -> Vec<PendingChain> {
        let mut chains = Vec::new();
        let mut add = |chain: ChainRef, effects: Vec<EffectId>| {
            if !effects.is_empty() {
                chains.push(PendingChain { chain, effects });
            }
        };
        for (ino, node) in self.nodes.iter().enumerate() {
            match node.node() {
                Node::File(file) => {
                    add(ChainRef::Size { file: ino }, effects(&file.size));
                    for (index, unit) in file.units.iter().enumerate() {
                        add(ChainRef::Unit { file: ino, index }, effects(unit));
                    }
                }
                Node::Dir(dir) => {
                    for (name, chain) in &dir.names {
                        let name = Arc::clone(name);
                        add(ChainRef::Name { dir: ino, name }, effects(chain));
                    }
                }
            }
        }
        chains
    }

    /// The disk after a power loss that took everything not yet synced.
    #[must_use]
    pub fn lose_unsynced(&self) -> Self {
        let chains = self.pending_chains().len();
        self.crash(&Choice {
            kept: vec![0; chains],
            fills: Vec::new(),
        })
    }

    /// The disk after a power loss that kept everything the kernel had.
    #[must_use]
    pub fn keep_unsynced(&self) -> Self {
        let kept = self
            .pending_chains()
            .iter()
            .map(|chain| chain.effects.len())
            .collect();
        self.crash(&Choice {
            kept,
            fills: Vec::new(),
        })
    }

    /// The disk after the power loss that `choice` describes. A choice for another world gives some
    /// legal state of this one.
    pub(crate) fn crash(&self, choice: &Choice) -> Self {
        let mut legal = choice.kept.clone();
        if !self.edges.is_empty() {
            self.obey_renames(&self.pending_chains(), &mut legal);
        }
        let mut kept = legal.into_iter();
        let mut world = self.clone();
        world.edges.clear();
        world.order.clear();
        for (ino, node) in self.nodes.iter().enumerate() {
            if node.node().is_settled() {
                continue;
            }
            let settled = match node.node() {
                Node::File(file) => {
                    let fill = choice.fills.iter().find(|(of, _)| *of == ino);
                    let fill = fill.map_or(Fill::Zero, |(_, fill)| *fill);
                    Node::File(self.settle_file(file, &mut kept, fill))
                }
                Node::Dir(dir) => Node::Dir(settle_dir(dir, &mut kept)),
            };
            if let Some(slot) = world.nodes.get_mut(ino) {
                *slot = Inode::new(settled);
            }
        }
        world
    }

    /// Where a choice has a rename's old name gone and its new name not there, the old one stays.
    pub(crate) fn obey_renames(&self, chains: &[PendingChain], kept: &mut [usize]) {
        for edge in &self.edges {
            // How many effects of the name's chain must be kept for `effect` to have happened.
            let needed = |(name, effect): &(Arc<str>, EffectId)| {
                let of_name = |chain: &PendingChain| matches!(&chain.chain, ChainRef::Name { dir, name: of } if *dir == edge.dir && of == name);
                let at = chains.iter().position(of_name)?;
                let n = chains
                    .get(at)?
                    .effects
                    .iter()
                    .filter(|e| **e <= *effect)
                    .count();
                Some((at, n))
            };
            let (Some((removed, removal)), Some((added, addition))) =
                (needed(&edge.removed), needed(&edge.added))
            else {
                continue;
            };
            let added = kept.get(added).is_some_and(|kept| *kept >= addition);
            if let Some(kept) = kept.get_mut(removed)
                && *kept >= removal
                && !added
            {
                *kept = removal - 1;
            }
        }
    }

    fn settle_file(
        &self,
        file: &FileNode,
        kept: &mut impl Iterator<Item = usize>,
        fill: Fill,
    ) -> FileNode {
        let size = *settle(&file.size, kept);
        let in_size = to_index(size.div_ceil(self.unit as u64));
        let mut units: Vec<Chain<Unit>> = Vec::with_capacity(file.units.len().min(in_size));
        for (index, chain) in file.units.iter().enumerate() {
            let unit = settle(chain, kept);
            if index < in_size {
                let unit = unit.clone().or_else(|| Some(self.fill(fill, index)));
                units.push(Chain::durable(unit));
            }
        }
        FileNode {
            size: Chain::durable(size),
            units,
        }
    }

    /// What a hole in unit `index` shows.
    fn fill(&self, fill: Fill, index: usize) -> Arc<Block> {
        match fill {
            Fill::Zero => Arc::clone(self.zero_block()),
            Fill::Garbage => garbage(self.unit, index),
            Fill::Stale(source) => {
                let unit = self
                    .stale
                    .get(source)
                    .and_then(|units| units.get(index).cloned());
                unit.flatten()
                    .unwrap_or_else(|| Arc::clone(self.zero_block()))
            }
        }
    }
}

thread_local! {
    /// By unit and index. Enumeration asks for the same few again and again.
    static GARBAGE: RefCell<MixedMap<(usize, usize), Arc<Block>>> = RefCell::default();
}

/// The garbage in unit `index`: the same in every run.
fn garbage(unit: usize, index: usize) -> Arc<Block> {
    let make = || {
        let mut word = mix(index as u64, 0x6A4B);
        let mut bytes = Vec::with_capacity(unit);
        while bytes.len() < unit {
            word = mix(word, 1);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        Block::new(bytes.into_boxed_slice())
    };
    GARBAGE.with_borrow_mut(|known| Arc::clone(known.entry((unit, index)).or_insert_with(make)))
}

fn effects<T: Clone>(chain: &Chain<T>) -> Vec<EffectId> {
    chain
        .pending()
        .iter()
        .map(|version| version.effect)
        .collect()
}

fn settle<'a, T: Clone>(chain: &'a Chain<T>, kept: &mut impl Iterator<Item = usize>) -> &'a T {
    let kept = if chain.pending().is_empty() {
        0
    } else {
        kept.next().unwrap_or(0)
    };
    &chain.version(kept.min(chain.pending().len())).value
}

fn settle_dir(dir: &DirNode, kept: &mut impl Iterator<Item = usize>) -> DirNode {
    let mut names = std::collections::BTreeMap::new();
    for (name, chain) in &dir.names {
        let to = *settle(chain, kept);
        if to.is_some() {
            names.insert(Arc::clone(name), Chain::durable(to));
        }
    }
    // A removal that the crash undid is undone.
    let is_removed = false;
    DirNode { names, is_removed }
}

#[cfg(test)]
mod tests;
