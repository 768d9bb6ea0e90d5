//! All crash states of an instant: each choice of names, and with it each combination of the states of the
//! files that then have one.
//!
//! A file's own states are expanded once and shared by every instant at which the file was the same. The
//! hash of a state is a sum, so that most duplicates are recognised before any image is built.

use std::rc::Rc;
use std::sync::Arc;

use super::names::{Named, Names};
use super::{Choice, Fill};
use crate::sim::hash::{MixedMap, MixedSet, mix};
use crate::sim::order::End;
use crate::sim::world::{
    Block, FileNode, Ino, Inode, Node, Unit, World, size_hash, to_index, unit_hash,
};

/// One state of one file: which combination of its chains, and the hash of what it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileState {
    hash: u64,
    /// Mixed-radix index over the file's pending chains, size first; digit 0 keeps everything.
    pub(super) code: u64,
    pub(super) fill: Fill,
}

/// What [`States::visit`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visited {
    /// States generated, before duplicates were recognised.
    pub(crate) states: u64,
    /// True if the point had more states than the bound, and a sample was taken.
    pub(crate) sampled: bool,
}

/// The states of more files than these are forgotten.
const MOST_HELD: usize = 1 << 12;

/// What is called with the hash of each crash state and a way to build it.
pub(crate) type Visit<'v, E> = dyn FnMut(u64, &dyn Fn() -> Choice) -> Result<(), E> + 'v;

/// Enumerates the crash states of instants of one run.
#[derive(Debug)]
pub(crate) struct States {
    limit: u64,
    files: MixedMap<(usize, usize), Expanded>,
    /// Keeps the nodes alive whose addresses are keys of `files`.
    held: Vec<Inode>,
    held_stale: Vec<Arc<Vec<Unit>>>,
}

/// A file's states, or `None` if there are too many.
type Expanded = Option<Rc<[FileState]>>;

impl States {
    /// Instants with more than `limit` states are sampled.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            files: MixedMap::default(),
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
        if self.held.len() > MOST_HELD {
            *self = Self::new(self.limit);
        }
        let names = Names::of(world);
        let Some(plan) = self.plan(world, &names) else {
            return crate::sim::sample::visit(world, self.limit, visit);
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
            let chosen = || {
                open.iter()
                    .zip(&digits)
                    .map(|((paths, ino, states), digit)| {
                        let state = states
                            .get(*digit)
                            .expect("a digit is below the number of states");
                        (*paths, (*ino, *state))
                    })
            };
            let hash = chosen().map(|(paths, (_, state))| hash_at(paths, state.hash));
            let hash = hash.fold(base, u64::wrapping_add);
            count += 1;
            visit(hash, &|| {
                let chosen = chosen().map(|(_, state)| state);
                let files: Vec<_> = single.iter().copied().chain(chosen).collect();
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
        let key = (node.address(), stale);
        if let Some(states) = self.files.get(&key) {
            return states.clone();
        }
        let Node::File(file) = node.node() else {
            return None;
        };
        let states = if node.node().is_settled() && !file.has_hole() {
            let hash = node.content_hash(world.unit);
            let (code, fill) = (0, Fill::Zero);
            Some(Rc::from([FileState { hash, code, fill }]))
        } else {
            expand_file(world, ino, file, self.limit).map(Rc::from)
        };
        self.held.push(node.clone());
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
    let mut seen = MixedSet::default();
    let ends = world.order.ends_of(ino);
    let settled = Settled::of(file);
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
        let units = to_index(in_size);
        let open = settled
            .open
            .iter()
            .copied()
            .take_while(|index| *index < units);
        let has_hole = open.clone().any(|index| digits.unit(file, index).is_none());
        for fill in Fill::all(world).take(if has_hole { usize::MAX } else { 1 }) {
            let open = open.clone().map(|index| {
                let hash = match digits.unit(file, index) {
                    Some(block) => block.hash,
                    None => world.fill(fill, index).hash,
                };
                unit_hash(index, Some(hash))
            });
            // Units that the chain list does not reach were never written at all.
            let unreached = (file.units.len()..units).map(|index| unit_hash(index, None));
            let known = settled.hash_of(digits.size, units);
            let hash = open.chain(unreached).fold(known, u64::wrapping_add);
            if seen.insert(hash) {
                states.push(FileState { hash, code, fill });
            }
        }
    }
    Some(states)
}

/// What is the same in all states of a file.
struct Settled {
    /// Units that are not: pending, or holes.
    open: Vec<usize>,
    /// The sums of the hashes of the others, up to each unit.
    sums: Vec<u64>,
}

impl Settled {
    fn of(file: &FileNode) -> Self {
        let (mut open, mut sums, mut sum) = (Vec::new(), vec![0], 0_u64);
        for (index, unit) in file.units.iter().enumerate() {
            match &unit.version(0).value {
                Some(block) if unit.pending().is_empty() => {
                    sum = sum.wrapping_add(unit_hash(index, Some(block.hash)));
                }
                _ => open.push(index),
            }
            sums.push(sum);
        }
        Self { open, sums }
    }

    /// What a file of `size` bytes in `units` units has of these.
    fn hash_of(&self, size: u64, units: usize) -> u64 {
        let units = units.min(self.sums.len() - 1);
        let sum = self
            .sums
            .get(units)
            .expect("a sum stands before and behind each unit");
        size_hash(size).wrapping_add(*sum)
    }
}

/// A mixed-radix code, taken apart: how many effects of each of the file's chains are kept.
pub(super) struct Digits {
    size: u64,
    pub(super) kept_size: usize,
    pub(super) kept_units: Vec<usize>,
    first_waste: u64,
}

impl Digits {
    pub(super) fn of(file: &FileNode, code: u64) -> Self {
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
