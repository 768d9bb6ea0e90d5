//! The choices of names that a power loss may make, and which files then have one.

use std::sync::Arc;

use super::file_states::{Digits, FileState};
use super::{Choice, Fill, effects};
use crate::sim::chain::EffectId;
use crate::sim::hash::{mix, mix_bytes};
use crate::sim::world::{Ino, Inode, Node, ROOT, World, to_index};

/// The pending chains of names, and the constraints between them.
pub(super) struct Names {
    chains: Vec<NameChain>,
    /// Positions in `chains`: where the first keeps its effect, the second must keep its own.
    edges: Vec<[(usize, EffectId); 2]>,
}

struct NameChain {
    dir: Ino,
    name: Arc<str>,
    effects: Vec<EffectId>,
}

/// Which files have a name under one choice of names.
pub(super) struct Named {
    pub(super) dirs_hash: u64,
    /// Each file, with the hashes of its paths.
    pub(super) files: Vec<(Vec<u64>, Ino)>,
}

impl Names {
    pub(super) fn of(world: &World) -> Self {
        let mut chains = Vec::new();
        for (ino, node) in world.nodes.iter().enumerate() {
            let Node::Dir(dir) = node.node() else {
                continue;
            };
            for (name, chain) in &dir.names {
                if !chain.pending().is_empty() {
                    let name = Arc::clone(name);
                    chains.push(NameChain {
                        dir: ino,
                        name,
                        effects: effects(chain),
                    });
                }
            }
        }
        let position = |dir: Ino, name: &Arc<str>| {
            chains
                .iter()
                .position(|chain| chain.dir == dir && chain.name == *name)
        };
        let mut edges = Vec::new();
        for edge in &world.edges {
            let removed = position(edge.dir, &edge.removed.0);
            let added = position(edge.dir, &edge.added.0);
            // A chain without pending effects has settled: the constraint is met.
            if let (Some(removed), Some(added)) = (removed, added) {
                edges.push([(removed, edge.removed.1), (added, edge.added.1)]);
            }
        }
        Self { chains, edges }
    }

    /// Every legal choice of names, the one that keeps everything first.
    pub(super) fn combinations(&self, limit: u64) -> Option<Vec<Vec<usize>>> {
        let mut total = 1_u64;
        for chain in &self.chains {
            total = total.checked_mul(chain.effects.len() as u64 + 1)?;
        }
        if total > limit {
            return None;
        }
        let mut combinations = Vec::new();
        for mut code in 0..total {
            let kept: Vec<usize> = self
                .chains
                .iter()
                .map(|chain| {
                    let choices = chain.effects.len() as u64 + 1;
                    let digit = code % choices;
                    code /= choices;
                    to_index(choices - 1 - digit)
                })
                .collect();
            if self.is_legal(&kept) {
                combinations.push(kept);
            }
        }
        Some(combinations)
    }

    fn is_legal(&self, kept: &[usize]) -> bool {
        let keeps = |(chain, effect): (usize, EffectId)| {
            let last = kept.get(chain).and_then(|kept| {
                let effects = &self.chains.get(chain)?.effects;
                effects.get(kept.checked_sub(1)?).copied()
            });
            let first = self
                .chains
                .get(chain)
                .and_then(|chain| chain.effects.first().copied());
            // An effect older than everything pending is durable.
            first.is_some_and(|first| effect < first) || last.is_some_and(|last| last >= effect)
        };
        self.edges
            .iter()
            .all(|[removed, added]| !keeps(*removed) || keeps(*added))
    }

    pub(super) fn named(&self, world: &World, kept: &[usize]) -> Named {
        let mut named = Named {
            dirs_hash: 0,
            files: Vec::new(),
        };
        self.walk(world, kept, (ROOT, 0), &mut named);
        named
    }

    fn walk(&self, world: &World, kept: &[usize], (dir, path): (Ino, u64), named: &mut Named) {
        let Ok(node) = world.dir(dir) else { return };
        for (name, chain) in &node.names {
            let kept_here = if chain.pending().is_empty() {
                0
            } else {
                self.kept(kept, dir, name)
            };
            let Some(ino) = chain.version(kept_here).value else {
                continue;
            };
            let path = mix(path, mix_bytes(name.as_bytes()));
            match world.nodes.get(ino).map(Inode::node) {
                Some(Node::File(_)) => {
                    match named.files.iter_mut().find(|(_, known)| *known == ino) {
                        Some((paths, _)) => paths.push(path),
                        None => named.files.push((vec![path], ino)),
                    }
                }
                Some(Node::Dir(_)) => {
                    named.dirs_hash = named.dirs_hash.wrapping_add(mix(path, 1));
                    self.walk(world, kept, (ino, path), named);
                }
                None => {}
            }
        }
    }

    /// How many pending effects the choice `kept` keeps of one name.
    fn kept(&self, kept: &[usize], dir: Ino, name: &Arc<str>) -> usize {
        let at = self
            .chains
            .iter()
            .position(|chain| chain.dir == dir && chain.name == *name);
        at.and_then(|at| kept.get(at).copied()).unwrap_or(0)
    }

    /// The choice that keeps `kept` of the names and `files`' states; files without a name keep
    /// nothing, which no one sees.
    pub(super) fn choice(
        &self,
        world: &World,
        kept: &[usize],
        files: &[(Ino, FileState)],
    ) -> Choice {
        let mut choice = Choice::default();
        for (ino, node) in world.nodes.iter().enumerate() {
            match node.node() {
                Node::File(file) => {
                    let state = files
                        .iter()
                        .find(|(of, _)| *of == ino)
                        .map(|(_, state)| state);
                    let digits = state.map(|state| Digits::of(file, state.code));
                    if !file.size.pending().is_empty() {
                        choice
                            .kept
                            .push(digits.as_ref().map_or(0, |digits| digits.kept_size));
                    }
                    for (index, unit) in file.units.iter().enumerate() {
                        if !unit.pending().is_empty() {
                            let kept = digits.as_ref().and_then(|d| d.kept_units.get(index));
                            choice.kept.push(kept.copied().unwrap_or(0));
                        }
                    }
                    if let Some(state) = state
                        && state.fill != Fill::Zero
                    {
                        choice.fills.push((ino, state.fill));
                    }
                }
                Node::Dir(dir) => {
                    for (name, chain) in &dir.names {
                        if !chain.pending().is_empty() {
                            choice.kept.push(self.kept(kept, ino, name));
                        }
                    }
                }
            }
        }
        choice
    }
}
