//! All crash states of an instant: each choice of names, and with it each combination of the states of the
//! files that then have one.
//!
//! A file's own states are expanded once and shared by every instant at which the file was the same. The
//! hash of a state is a sum, so that most duplicates are recognised before any image is built.

use std::rc::Rc;
use std::sync::Arc;

use super::file_states::{FileState, expand_file};
use super::names::{Named, Names};
use super::{Choice, Fill};
use crate::sim::hash::{MixedMap, mix};
use crate::sim::world::{Ino, Inode, Node, Unit, World};

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
