//! Which states a power loss can leave: the durable part of a [`World`], a prefix of every pending
//! chain, and something in each hole.
//!
//! Names are chosen first; only files that then have a name enter the product. A file's own states
//! are expanded once and shared by every instant at which the file was the same. The hash of a state
//! is a sum, so that most duplicates are recognised before any image is built.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::chain::{Chain, EffectId};
use super::hash::{mix, mix_bytes};
use super::order::End;
use super::world::{Block, DirNode, FileNode, Ino, Node, ROOT, Unit, World, file_hash, to_index};

/// What a block shows that belongs to a file, lies within its size, and was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fill {
    Zero,
    Garbage,
    /// The content of a deleted or cut file at the same offset; an index into `World::stale`.
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
/// what each file's holes show. Chains stand in the order of [`World::pending_chains`].
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
            match node.as_ref() {
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
            if node.is_settled() {
                continue;
            }
            let settled = match node.as_ref() {
                Node::File(file) => {
                    let fill = choice.fills.iter().find(|(of, _)| *of == ino);
                    let fill = fill.map_or(Fill::Zero, |(_, fill)| *fill);
                    Node::File(self.settle_file(file, &mut kept, fill))
                }
                Node::Dir(dir) => Node::Dir(settle_dir(dir, &mut kept)),
            };
            if let Some(slot) = world.nodes.get_mut(ino) {
                *slot = Arc::new(settled);
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
    static GARBAGE: RefCell<HashMap<(usize, usize), Arc<Block>>> = RefCell::default();
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

/// One state of one file: which combination of its chains, and the hash of what it shows.
#[derive(Clone, Copy, Debug)]
struct FileState {
    hash: u64,
    /// Mixed-radix index over the file's pending chains, size first; digit 0 keeps everything.
    code: u64,
    fill: Fill,
}

/// What [`States::visit`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visited {
    /// States generated, before duplicates were recognised.
    pub(crate) states: u64,
    /// True if the point had more states than the bound, and a sample was taken.
    pub(crate) sampled: bool,
}

/// What is called with the hash of each crash state and a way to build it.
pub(crate) type Visit<'v, E> = dyn FnMut(u64, &dyn Fn() -> Choice) -> Result<(), E> + 'v;

/// Enumerates the crash states of instants of one run.
#[derive(Debug)]
pub(crate) struct States {
    limit: u64,
    files: HashMap<(usize, usize), Expanded>,
    /// Keeps the nodes alive whose addresses are keys of `files`.
    held: Vec<Arc<Node>>,
    held_stale: Vec<Arc<Vec<Unit>>>,
}

/// A file's states, or `None` if there are too many.
type Expanded = Option<Rc<[FileState]>>;

impl States {
    /// Instants with more than `limit` states are sampled.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            files: HashMap::new(),
            held: Vec::new(),
            held_stale: Vec::new(),
        }
    }

    /// Calls `visit` with the hash of each state of `world` and a way to build it, until it breaks.
    pub(crate) fn visit<E>(
        &mut self,
        world: &World,
        visit: &mut Visit<'_, E>,
    ) -> Result<Visited, E> {
        let names = Names::of(world);
        let Some(plan) = self.plan(world, &names) else {
            return super::sample::visit(world, visit);
        };
        let mut visited = Visited::default();
        for (kept_names, files) in &plan {
            visited.states += self.product(world, &names, kept_names, files, visit)?;
        }
        Ok(visited)
    }

    /// The choices of names, each with the files that then have one; `None` if there are more
    /// states than the bound.
    fn plan(&mut self, world: &World, names: &Names) -> Option<Vec<(Vec<usize>, Named)>> {
        let mut plan = Vec::new();
        let mut total = 0_u64;
        for kept in names.combinations(self.limit)? {
            let named = names.named(world, &kept);
            let mut product = 1_u64;
            for (_, ino) in &named.files {
                product = product.checked_mul(self.expand(world, *ino)?.len() as u64)?;
            }
            total = total
                .checked_add(product)
                .filter(|total| *total <= self.limit)?;
            plan.push((kept, named));
        }
        Some(plan)
    }

    fn product<E>(
        &mut self,
        world: &World,
        names: &Names,
        kept_names: &[usize],
        named: &Named,
        visit: &mut Visit<'_, E>,
    ) -> Result<u64, E> {
        // Files with a single state only add to the base.
        let mut base = named.dirs_hash;
        let mut open = Vec::new();
        let mut single: Vec<(Ino, FileState)> = Vec::new();
        for (paths, ino) in &named.files {
            let Some(states) = self.expand(world, *ino) else {
                continue;
            };
            match states.as_ref() {
                [one] => {
                    base = base.wrapping_add(hash_at(paths, one.hash));
                    single.push((*ino, *one));
                }
                _ => open.push((paths.as_slice(), *ino, states)),
            }
        }
        let mut digits = vec![0_usize; open.len()];
        let mut count = 0;
        loop {
            let mut hash = base;
            let mut chosen = Vec::with_capacity(open.len());
            for ((paths, ino, states), digit) in open.iter().zip(&digits) {
                let Some(state) = states.get(*digit) else {
                    continue;
                };
                hash = hash.wrapping_add(hash_at(paths, state.hash));
                chosen.push((*ino, *state));
            }
            count += 1;
            visit(hash, &|| {
                let files: Vec<_> = single.iter().chain(&chosen).copied().collect();
                names.choice(world, kept_names, &files)
            })?;
            // The next combination: the last file turns fastest.
            let mut turned = false;
            for ((_, _, states), digit) in open.iter().zip(&mut digits).rev() {
                *digit += 1;
                if *digit < states.len() {
                    turned = true;
                    break;
                }
                *digit = 0;
            }
            if !turned {
                return Ok(count);
            }
        }
    }

    /// The states of one file, from the cache if the same file was met before.
    fn expand(&mut self, world: &World, ino: Ino) -> Expanded {
        let node = world.nodes.get(ino)?;
        let stale = world
            .stale
            .last()
            .map_or(0, |units| Arc::as_ptr(units) as usize);
        let key = (Arc::as_ptr(node) as usize, stale);
        if let Some(states) = self.files.get(&key) {
            return states.clone();
        }
        let Node::File(file) = node.as_ref() else {
            return None;
        };
        let states = expand_file(world, ino, file, self.limit).map(Rc::from);
        self.held.push(Arc::clone(node));
        self.held_stale.extend(world.stale.last().cloned());
        self.files.insert(key, states.clone());
        states
    }
}

/// What a file of content `hash` adds to the hash of an image, under all its names.
fn hash_at(paths: &[u64], hash: u64) -> u64 {
    let paths = paths.iter().map(|path| mix(*path, hash));
    paths.fold(0, u64::wrapping_add)
}

/// Every distinct state of `file`, the one that keeps most first; `None` if there are too many.
fn expand_file(world: &World, ino: Ino, file: &FileNode, limit: u64) -> Option<Vec<FileState>> {
    let mut total = file.size.choices() as u64;
    for unit in &file.units {
        total = total
            .checked_mul(unit.choices() as u64)
            .filter(|total| *total <= limit)?;
    }
    let mut states = Vec::new();
    let mut seen = HashSet::new();
    let ends = world.order.ends_of(ino);
    for code in 0..total {
        let digits = Digits::of(file, code);
        let in_size = digits.size.div_ceil(world.unit as u64);
        if digits.wastes_effects_beyond(in_size) {
            continue;
        }
        let is_broken = |end: &End| end.is_broken(file, digits.kept_size, &digits.kept_units);
        if ends.iter().any(is_broken) {
            continue;
        }
        let hole = |index: usize| digits.unit(file, index).is_none();
        let units = to_index(in_size);
        // Units that the chain list does not reach were never written at all.
        let has_hole = (0..units.min(file.units.len())).any(hole);
        for fill in Fill::all(world).take(if has_hole { usize::MAX } else { 1 }) {
            let hash = file_hash(digits.size, world.unit, |index| {
                if index >= file.units.len() {
                    return None;
                }
                match digits.unit(file, index) {
                    Some(block) => Some(block.hash),
                    None => Some(world.fill(fill, index).hash),
                }
            });
            if seen.insert(hash) {
                states.push(FileState { hash, code, fill });
            }
        }
    }
    Some(states)
}

/// A mixed-radix code, taken apart: how many effects of each of the file's chains are kept.
struct Digits {
    size: u64,
    kept_size: usize,
    kept_units: Vec<usize>,
    first_waste: u64,
}

impl Digits {
    fn of(file: &FileNode, code: u64) -> Self {
        let mut rest = code;
        let mut digit = |choices: usize| {
            let choices = choices as u64;
            let digit = rest % choices;
            rest /= choices;
            // Digit 0 keeps everything.
            to_index(choices - 1 - digit)
        };
        let kept_size = digit(file.size.choices());
        let kept_units: Vec<usize> = file
            .units
            .iter()
            .map(|unit| digit(unit.choices()))
            .collect();
        let full = |(index, kept): (usize, &usize)| {
            let all = file
                .units
                .get(index)
                .is_none_or(|unit| *kept == unit.pending().len());
            if all { 0 } else { index as u64 + 1 }
        };
        let first_waste = kept_units.iter().enumerate().map(full).max().unwrap_or(0);
        Self {
            size: file.size.version(kept_size).value,
            kept_size,
            kept_units,
            first_waste,
        }
    }

    /// True if an effect beyond the size is lost: the state shows the same as if it were kept.
    fn wastes_effects_beyond(&self, units_in_size: u64) -> bool {
        self.first_waste > units_in_size
    }

    fn unit<'f>(&self, file: &'f FileNode, index: usize) -> Option<&'f Arc<Block>> {
        let kept = *self.kept_units.get(index)?;
        file.units.get(index)?.version(kept).value.as_ref()
    }
}

/// The pending chains of names, and the constraints between them.
struct Names {
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
struct Named {
    dirs_hash: u64,
    /// Each file, with the hashes of its paths.
    files: Vec<(Vec<u64>, Ino)>,
}

impl Names {
    fn of(world: &World) -> Self {
        let mut chains = Vec::new();
        for (ino, node) in world.nodes.iter().enumerate() {
            let Node::Dir(dir) = node.as_ref() else {
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
    fn combinations(&self, limit: u64) -> Option<Vec<Vec<usize>>> {
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

    fn named(&self, world: &World, kept: &[usize]) -> Named {
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
            match world.nodes.get(ino).map(Arc::as_ref) {
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
    fn choice(&self, world: &World, kept: &[usize], files: &[(Ino, FileState)]) -> Choice {
        let mut choice = Choice::default();
        for (ino, node) in world.nodes.iter().enumerate() {
            match node.as_ref() {
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

#[cfg(test)]
mod tests;
