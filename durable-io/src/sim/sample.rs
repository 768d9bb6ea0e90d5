//! A sample of crash states, in a fixed order, for an instant that has too many to try them all.
//!
//! The order (strongest coverage first for what it costs): nothing and everything; all but one
//! effect and only one effect, for each; every pair of chains in all four corners; every choice of
//! names with no, half and all data; then random states at five densities.

use super::crash::{ChainRef, Choice, Fill, PendingChain, Visit, Visited};
use super::hash::mix;
use super::world::{World, to_index};

/// Pairs are taken of at most this many chains, spread over the list.
const PAIRED_CHAINS: usize = 40;
const RANDOM_STATES: u64 = 400;
/// More choices of names than this are left out.
const NAME_CHOICES: u64 = 256;
/// For each state that an instant may have and still be tried whole, a sample has at most so many: who lowers that
/// bound wants a shorter run.
const MOST_OF_LIMIT: u64 = 32;

/// A sample of the states of `world`, which has more than `limit`.
pub(crate) fn visit<E>(world: &World, limit: u64, visit: &mut Visit<'_, E>) -> Result<Visited, E> {
    let chains = world.pending_chains();
    let full: Vec<usize> = chains.iter().map(|chain| chain.effects.len()).collect();
    let mut visited = Visited {
        states: 0,
        sampled: true,
    };
    let mut fills = [Fill::Zero, Fill::Garbage].into_iter().cycle();
    let stale = world.stale.len().checked_sub(1).map(Fill::Stale);
    let picks = picks(&chains, &full);
    let most = to_index(limit.saturating_mul(MOST_OF_LIMIT)).max(1);
    let step = picks.len().div_ceil(most).max(1);
    let spread = picks.into_iter().enumerate();
    for (_, mut kept) in spread.filter(|(nth, _)| *nth < 2 || nth % step == 0) {
        world.obey_renames(&chains, &mut kept);
        let fill = match stale {
            Some(stale) if visited.states % 3 == 2 => stale,
            _ => fills.next().unwrap_or(Fill::Zero),
        };
        let fills = (0..world.nodes.len()).map(|ino| (ino, fill)).collect();
        let choice = Choice { kept, fills };
        visited.states += 1;
        visit(world.crash(&choice).visible_hash(), &|| choice.clone())?;
    }
    Ok(visited)
}

fn picks(chains: &[PendingChain], full: &[usize]) -> Vec<Vec<usize>> {
    let none = vec![0; full.len()];
    let mut picks = vec![none.clone(), full.to_vec()];
    for (at, most) in full.iter().enumerate() {
        for kept in 0..*most {
            picks.push(with(full, &[(at, kept)]));
            picks.push(with(&none, &[(at, kept + 1)]));
        }
    }
    let step = full.len().div_ceil(PAIRED_CHAINS).max(1);
    let paired: Vec<usize> = (0..full.len()).step_by(step).collect();
    for (nth, a) in paired.iter().enumerate() {
        for b in paired.iter().skip(nth + 1) {
            let most = |at: usize| full.get(at).copied().unwrap_or(0);
            for corner in [(0, 0), (0, most(*b)), (most(*a), 0), (most(*a), most(*b))] {
                picks.push(with(full, &[(*a, corner.0), (*b, corner.1)]));
                picks.push(with(&none, &[(*a, corner.0), (*b, corner.1)]));
            }
        }
    }
    picks.extend(name_picks(chains, full));
    for seed in 0..RANDOM_STATES {
        picks.push(random(full, seed));
    }
    picks
}

fn with(base: &[usize], changes: &[(usize, usize)]) -> Vec<usize> {
    let mut kept = base.to_vec();
    for (at, value) in changes {
        if let Some(slot) = kept.get_mut(*at) {
            *slot = *value;
        }
    }
    kept
}

fn is_name(chains: &[PendingChain], at: usize) -> bool {
    let chain = chains.get(at);
    chain.is_some_and(|chain| matches!(chain.chain, ChainRef::Name { .. }))
}

/// Every choice of names, each with no data, half of it and all of it.
fn name_picks(chains: &[PendingChain], full: &[usize]) -> Vec<Vec<usize>> {
    let is_name = |at: usize| is_name(chains, at);
    let mut picks = Vec::new();
    for code in 0..NAME_CHOICES {
        for data in 0..3 {
            let mut rest = code;
            let kept = full.iter().enumerate().map(|(at, most)| {
                if is_name(at) {
                    let choices = *most as u64 + 1;
                    let digit = rest % choices;
                    rest /= choices;
                    to_index(digit)
                } else {
                    most * data / 2
                }
            });
            picks.push(kept.collect());
        }
        let all: u64 = (0..full.len())
            .filter(|at| is_name(*at))
            .map(|at| full.get(at).map_or(1, |most| *most as u64 + 1))
            .product();
        if code + 1 >= all {
            break;
        }
    }
    picks
}

/// One state, drawn by `seed`: all but one chain's last effects; only one chain's first; some names
/// with no, half or all data; or, as often as these together, any mixture.
pub(crate) fn draw(chains: &[PendingChain], seed: u64) -> Vec<usize> {
    let full: Vec<usize> = chains.iter().map(|chain| chain.effects.len()).collect();
    let below = |n: usize, salt: u64| {
        let drawn = mix(seed, salt) % n.max(1) as u64;
        to_index(drawn)
    };
    let at = below(full.len(), 1);
    let most = full.get(at).copied().unwrap_or(0);
    match below(6, 2) {
        0 => with(&full, &[(at, below(most, 3))]),
        1 => with(&vec![0; full.len()], &[(at, 1 + below(most, 3))]),
        2 => {
            let data = below(3, 4);
            let kept = full.iter().enumerate().map(|(at, most)| {
                if is_name(chains, at) {
                    below(most + 1, 5 + at as u64)
                } else {
                    most * data / 2
                }
            });
            kept.collect()
        }
        _ => random(&full, mix(seed, 6)),
    }
}

/// A random state; the seed's remainder by 5 sets how much is kept.
fn random(full: &[usize], seed: u64) -> Vec<usize> {
    let density = 1 + 2 * (seed % 5);
    let mut word = mix(seed, 0xD1CE);
    full.iter()
        .map(|most| {
            word = mix(word, 7);
            if word % 10 < density {
                to_index((word >> 20) % (*most as u64 + 1)).max(most / 2)
            } else {
                0
            }
        })
        .collect()
}
