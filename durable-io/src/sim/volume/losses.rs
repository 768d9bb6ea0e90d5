//! What a power loss may leave of a volume, or of any world: all of it where that is little, a sample otherwise.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;

use super::Volume;
use crate::sim::chain::EffectId;
use crate::sim::crash::{Choice, EVERYTHING, Fill, PendingChain, States};
use crate::sim::hash::mix;
use crate::sim::sample;
use crate::sim::world::{World, to_index};

/// Of a journal that may end at more places, for each state that is wanted, a sample is taken.
const ENDS: usize = 4;

impl Volume {
    /// What a power loss may leave now, under the profile of the volume: every state if there are at most `most`;
    /// otherwise `most` of them, the one without anything unsynced, the one with all of it, and others drawn by
    /// `seed`.
    ///
    /// Two of them may show the same ([`contents_hash`](Volume::contents_hash) tells).
    pub fn power_losses(&self, most: usize, seed: u64) -> Vec<Self> {
        let ends = self.world.journal_ends();
        let worlds = self.few(&ends, most);
        let worlds = worlds.unwrap_or_else(|| self.draw(&ends, most, seed));
        worlds.into_iter().map(|world| Self { world }).collect()
    }

    /// Every state, if there are at most `most`.
    fn few(&self, ends: &[EffectId], most: usize) -> Option<Vec<World>> {
        if ends.len() > most.saturating_mul(ENDS) {
            return None;
        }
        let mut worlds = Vec::new();
        let mut seen = HashSet::new();
        for end in ends {
            let prefix = self.world.journal_prefix(*end);
            let chains = prefix.pending_chains();
            let counts = chains.iter().map(|chain| chain.effects.len() + 1);
            if counts.fold(1_usize, usize::saturating_mul) > most {
                return None;
            }
            let visited =
                States::new(u64::MAX).visit::<Infallible>(&prefix, &mut |hash, choice| {
                    if seen.insert(hash) {
                        worlds.push(prefix.crash(&choice()));
                    }
                    Ok(())
                });
            let Ok(_visited) = visited;
        }
        // Holes that show one thing or another may have made more of them.
        (worlds.len() <= most).then_some(worlds)
    }

    fn draw(&self, ends: &[EffectId], most: usize, seed: u64) -> Vec<World> {
        let mut prefixes: BTreeMap<EffectId, (World, Vec<PendingChain>)> = BTreeMap::new();
        let picks = (0..most as u64).map(|nth| {
            let seed = mix(seed, nth);
            let at = match nth {
                0 => 0,
                1 => ends.len() - 1,
                _ => to_index(mix(seed, 0xE0D) % ends.len() as u64),
            };
            let end = *ends.get(at).expect("a journal ends somewhere");
            let (prefix, chains) = prefixes.entry(end).or_insert_with(|| {
                let prefix = self.world.journal_prefix(end);
                let chains = prefix.pending_chains();
                (prefix, chains)
            });
            prefix.crash(&drawn(prefix, chains, nth, seed))
        });
        picks.collect()
    }
}

impl World {
    /// One of the states that a power loss at this instant may leave under the disk's profile, drawn by `seed`: for
    /// simulations of whole systems, which cannot try them all. Often nothing or all of what is unsynced stays.
    #[must_use]
    pub fn power_loss(&self, seed: u64) -> Self {
        let ends = self.journal_ends();
        let at = to_index(mix(seed, 0xE0D) % ends.len() as u64);
        let prefix = self.journal_prefix(*ends.get(at).expect("a journal ends somewhere"));
        let chains = prefix.pending_chains();
        prefix.crash(&drawn(&prefix, &chains, mix(seed, 0x0F4) % 4, seed))
    }
}

/// The `nth` of the choices drawn of a world: nothing, everything, and then any.
fn drawn(world: &World, chains: &[PendingChain], nth: u64, seed: u64) -> Choice {
    let mut kept = match nth {
        0 => vec![0; chains.len()],
        1 => vec![EVERYTHING; chains.len()],
        _ => sample::draw(chains, seed),
    };
    world.obey_renames(chains, &mut kept);
    world.obey_ends(chains, &mut kept);
    let all: Vec<Fill> = Fill::all(world).collect();
    let fill = |ino: usize| {
        let nth = to_index(mix(seed, ino as u64) % all.len() as u64);
        all.get(nth).copied().unwrap_or(Fill::Zero)
    };
    let fills = (0..world.nodes.len()).map(|ino| (ino, fill(ino)));
    Choice {
        kept,
        fills: fills.collect(),
    }
}
