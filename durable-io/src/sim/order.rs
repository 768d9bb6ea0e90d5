//! The order in which a [`Profile`]'s file system writes: its journal, what a sync commits of it, and
//! the moments at which it can end.
//!
//! A profile needs no enumeration of its own. For each length of the journal that may have reached the
//! disk there is a *prefix of the journal*: a world in which what is in the journal by then is durable, and what cannot
//! be there without the rest has never happened. The crash states of the profile are those of its
//! prefixes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use super::chain::{Chain, EffectId, Version};
use super::crash::{ChainRef, PendingChain, States};
use super::profile::{Profile, SyncCommits};
use super::world::{Edge, FileNode, Ino, Inode, Node, ROOT, World};

/// What a world knows of the order of its effects; empty under `strict`.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    profile: Profile,
    /// Oldest first, but for lengths that entered late.
    journal: Vec<Entry>,
    ends: Vec<End>,
    /// Effects before this one wait for nothing: a sync may have logged any of them.
    loose: EffectId,
}

/// An effect that goes through the journal.
#[derive(Clone, Copy, Debug)]
struct Entry {
    effect: EffectId,
    /// Its place: that of the first effect of the same call.
    place: EffectId,
    /// The file or directory that came to be by it.
    born: Option<Ino>,
}

/// A length that is there only with the bytes at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    file: Ino,
    size: EffectId,
    unit: usize,
    data: EffectId,
}

impl End {
    /// True if the state has this pending length, and not the bytes at its end.
    pub(crate) fn is_broken(
        &self,
        file: &FileNode,
        kept_size: usize,
        kept_units: &[usize],
    ) -> bool {
        let kept = kept_units.get(self.unit).copied().unwrap_or(0);
        kept_size > 0
            && file.size.version(kept_size).effect == self.size
            && file
                .units
                .get(self.unit)
                .is_none_or(|unit| unit.version(kept).effect < self.data)
    }
}

impl Order {
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile,
            journal: Vec::new(),
            ends: Vec::new(),
            loose: 0,
        }
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Everything has settled.
    pub(crate) fn clear(&mut self) {
        self.journal.clear();
        self.ends.clear();
        self.loose = 0;
    }

    /// The place in the journal of each effect that goes through it.
    fn places(&self) -> BTreeMap<EffectId, EffectId> {
        let entries = self.journal.iter();
        let entries = entries.filter(|entry| entry.effect >= self.loose);
        entries.map(|entry| (entry.effect, entry.place)).collect()
    }

    pub(crate) fn ends_of(&self, file: Ino) -> Vec<End> {
        let ends = self.ends.iter().filter(|end| end.file == file);
        ends.copied().collect()
    }
}

impl World {
    /// All effects from `first` on enter the journal, as one.
    pub(crate) fn enter(&mut self, first: EffectId, born: Option<Ino>) {
        if self.order.profile.journal {
            let effects = first..self.next_effect;
            self.order.journal.extend(effects.map(|effect| Entry {
                effect,
                place: first,
                born,
            }));
        }
    }

    /// A file is about to replace another: where the file system flushes it then, its lengths enter
    /// the journal now, one after the other, as the pages are written.
    pub(crate) fn enter_lengths(&mut self, ino: Ino) {
        if !self.order.profile.flush_on_replace {
            return;
        }
        let Ok(file) = self.file(ino) else { return };
        let known: HashSet<EffectId> = self.order.journal.iter().map(|e| e.effect).collect();
        let lengths = file.size.pending().iter().map(|version| version.effect);
        let new: Vec<EffectId> = lengths.filter(|effect| !known.contains(effect)).collect();
        for effect in new {
            let place = self.effect();
            self.order.journal.push(Entry {
                effect,
                place,
                born: None,
            });
        }
    }

    /// The lengths of `ino` from effect `first` on came from a write.
    pub(crate) fn bind_lengths(&mut self, ino: Ino, first: EffectId) {
        if !self.order.profile.data_before_size {
            return;
        }
        let Ok(file) = self.file(ino) else { return };
        let lengths = file.size.pending().iter().filter(|v| v.effect >= first);
        let ends: Vec<End> = lengths
            .filter_map(|length| {
                let unit = usize::try_from((length.value - 1) / self.unit as u64).ok()?;
                let data = file.units.get(unit)?.pending().last()?.effect;
                Some(End {
                    file: ino,
                    size: length.effect,
                    unit,
                    data,
                })
            })
            .collect();
        self.order.ends.extend(ends);
    }

    /// A sync of `ino` that began before effect `limit` has returned, and made durable what it
    /// covers: the rest of what it commits.
    pub(crate) fn commit(&mut self, ino: Ino, limit: EffectId) {
        match self.order.profile.sync_commits {
            SyncCommits::Nothing => {}
            SyncCommits::Journal => {
                let last = self.last_change(ino, limit);
                self.commit_journal(last);
            }
            SyncCommits::Names => {
                self.commit_names(ino, limit);
                self.order.loose = limit;
            }
        }
    }

    /// The last durable change of the length or the names of `ino`, its creation included. (That a
    /// rename or a write changes times, which a sync may write too, is not relied on.)
    fn last_change(&self, ino: Ino, limit: EffectId) -> EffectId {
        let changed = match self.nodes.get(ino).map(Inode::node) {
            Some(Node::File(file)) => file.size.version(0).effect,
            Some(Node::Dir(dir)) => {
                let names = dir.names.values().map(|name| name.version(0).effect);
                names.max().unwrap_or(0)
            }
            None => 0,
        };
        let births = self.order.journal.iter();
        let births = births.filter(|entry| entry.born == Some(ino) && entry.effect < limit);
        births.map(|entry| entry.place).fold(changed, EffectId::max)
    }

    fn commit_journal(&mut self, last: EffectId) {
        let places = self.order.places();
        self.order.journal.retain(|entry| entry.place > last);
        self.reach(&Reach {
            places: &places,
            end: last + 1,
            is_all: false,
        });
    }

    /// Makes durable what of the journal has reached the disk; see [`Reach`].
    fn reach(&mut self, reach: &Reach<'_>) {
        let loose = self.order.loose;
        // In place, data waits for nothing but a truncation of its own file.
        let is_waiting = self.order.profile.data_in_order;
        let loose_data = if is_waiting { loose } else { EffectId::MAX };
        for node in &mut self.nodes {
            if !node.node().has_pending() {
                continue;
            }
            match node.make_mut() {
                Node::File(file) => {
                    reach.apply(&mut file.size, loose);
                    for unit in &mut file.units {
                        reach.apply(unit, loose_data);
                    }
                }
                Node::Dir(dir) => {
                    for name in dir.names.values_mut() {
                        reach.apply(name, loose);
                    }
                }
            }
        }
        self.finish_renames();
    }

    /// Every name that leads to `ino`, then those of the directories that hold them.
    fn commit_names(&mut self, ino: Ino, limit: EffectId) {
        let mut found = vec![ino];
        let mut at = 0;
        while let Some(of) = found.get(at).copied() {
            at += 1;
            let left = self.names_left(of, limit);
            for dir in 0..self.nodes.len() {
                let leads_here = |name: &Chain<Option<Ino>>| last(name, limit).value == Some(of);
                let holds = self
                    .dir(dir)
                    .is_ok_and(|dir| dir.names.values().any(leads_here));
                if !holds {
                    continue;
                }
                if dir != ROOT && !found.contains(&dir) {
                    found.push(dir);
                }
                if let Some(Node::Dir(node)) = self.nodes.get_mut(dir).map(Inode::make_mut) {
                    let names = node.names.values_mut().filter(|name| leads_here(name));
                    names.for_each(|name| name.promote(limit));
                }
            }
            for (dir, name) in left {
                self.promote_name(dir, &name);
            }
        }
        self.finish_renames();
    }

    /// The removals, by effect, of the names that `of` had before it was renamed to one of those it
    /// has. Where another file had such a name durably, the log says nothing of the name.
    fn names_left(&self, of: Ino, limit: EffectId) -> Vec<(Ino, (Arc<str>, EffectId))> {
        let is_left = |edge: &&Edge| {
            let name = |name| self.dir(edge.dir).ok()?.names.get(name);
            let (Some(new), Some(old)) = (name(&edge.added.0), name(&edge.removed.0)) else {
                return false;
            };
            let new = last(new, limit);
            new.value == Some(of)
                && new.effect == edge.added.1
                && old.version(0).value.is_none_or(|durable| durable == of)
        };
        let left = self.edges.iter().filter(is_left);
        left.map(|edge| (edge.dir, edge.removed.clone())).collect()
    }

    fn promote_name(&mut self, dir: Ino, (name, effect): &(Arc<str>, EffectId)) {
        if let Some(Node::Dir(dir)) = self.nodes.get_mut(dir).map(Inode::make_mut)
            && let Some(chain) = dir.names.get_mut(name)
        {
            chain.promote(effect + 1);
        }
    }

    /// Where the old name of a rename is durably gone, the new one is durable: the log of a file that
    /// was given another's old name has the other's new name too.
    fn finish_renames(&mut self) {
        let is_pending = |world: &Self, dir: Ino, (name, effect): &(Arc<str>, EffectId)| {
            let chain = world.dir(dir).ok().and_then(|dir| dir.names.get(name));
            chain.is_some_and(|chain| chain.pending().iter().any(|v| v.effect == *effect))
        };
        let half_done = |world: &Self| {
            let mut edges = world.edges.iter();
            let found = edges.find(|edge| {
                is_pending(world, edge.dir, &edge.added)
                    && !is_pending(world, edge.dir, &edge.removed)
            });
            found.map(|edge| (edge.dir, edge.added.clone()))
        };
        while let Some((dir, added)) = half_done(self) {
            self.promote_name(dir, &added);
        }
        self.forget_settled_edges();
    }

    /// Every state that a power loss at this instant may leave under the disk's profile, each once;
    /// `None` if there are more than `limit` at some length of the journal.
    pub fn crash_states(&self, limit: u64) -> Option<Vec<Self>> {
        let mut seen = HashSet::new();
        let mut worlds = Vec::new();
        for end in self.journal_ends() {
            let prefix = self.journal_prefix(end);
            let visited = States::new(limit).visit::<Infallible>(&prefix, &mut |hash, choice| {
                if seen.insert(hash) {
                    worlds.push(prefix.crash(&choice()));
                }
                Ok(())
            });
            let Ok(visited) = visited;
            if visited.sampled {
                return None;
            }
        }
        Some(worlds)
    }

    /// Where the journal may end, the shortest first; one end alone where there is no journal.
    pub(crate) fn journal_ends(&self) -> Vec<EffectId> {
        let mut ends = vec![EffectId::MAX];
        if self.order.profile.journal {
            ends.extend(self.order.places().into_values());
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The world in which the journal ends before the place `end`.
    pub(crate) fn journal_prefix(&self, end: EffectId) -> Self {
        let mut world = self.clone();
        if self.order.profile.journal {
            world.reach(&Reach {
                places: &self.order.places(),
                end,
                is_all: true,
            });
        }
        world
    }

    /// Where a choice has a length without the bytes at its end, and the profile allows no such thing, the file is
    /// shorter.
    pub(crate) fn obey_ends(&self, chains: &[PendingChain], kept: &mut [usize]) {
        let files: BTreeSet<Ino> = self.order.ends.iter().map(|end| end.file).collect();
        for ino in files {
            let Ok(file) = self.file(ino) else { continue };
            let (mut of_size, mut kept_units) = (None, vec![0; file.units.len()]);
            for (at, pending) in chains.iter().enumerate() {
                let few = kept.get(at).map_or(0, |kept| *kept);
                match &pending.chain {
                    ChainRef::Size { file } if *file == ino => of_size = Some(at),
                    ChainRef::Unit { file, index } if *file == ino => {
                        if let Some(unit) = kept_units.get_mut(*index) {
                            *unit = few.min(pending.effects.len());
                        }
                    }
                    _ => {}
                }
            }
            let Some(kept_size) = of_size.and_then(|at| kept.get_mut(at)) else {
                continue;
            };
            let ends = self.order.ends_of(ino);
            *kept_size = (*kept_size).min(file.size.pending().len());
            while ends
                .iter()
                .any(|end| end.is_broken(file, *kept_size, &kept_units))
            {
                // It is not broken at 0.
                *kept_size -= 1;
            }
        }
    }
}

/// The part of the journal that has reached the disk: that before the place `end`.
struct Reach<'a> {
    /// By effect.
    places: &'a BTreeMap<EffectId, EffectId>,
    end: EffectId,
    /// Nothing more of the journal will.
    is_all: bool,
}

impl Reach<'_> {
    /// What is in the journal is durable; and if it ends there, the rest of it and what waits for the
    /// rest never happens. Effects before `loose` wait for nothing.
    fn apply<T: Clone>(&self, chain: &mut Chain<T>, loose: EffectId) {
        let place = |effect| self.places.get(&effect).copied();
        chain.promote_through(|effect| place(effect).is_some_and(|place| place < self.end));
        if self.is_all {
            chain.drop_from(|effect| match place(effect) {
                Some(place) => place >= self.end,
                None => effect >= loose && effect >= self.end,
            });
        }
    }
}

/// What a name is once all its effects before `limit` are durable.
fn last(name: &Chain<Option<Ino>>, limit: EffectId) -> &Version<Option<Ino>> {
    let before = |version: &&Version<Option<Ino>>| version.effect < limit;
    let kept = name.pending().iter().take_while(before).count();
    name.version(kept)
}
