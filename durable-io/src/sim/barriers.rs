//! Barrier removal: is every sync necessary?
//!
//! Each barrier is switched off alone, and what survives that also in pairs. A removal counts as
//! caught only if the complete store passes the same bound and the counterexample vanishes when the
//! barrier is on again.

use std::fmt;

use super::explore::{Bound, Counts, Explorer};
use super::report::{Counterexample, replay};
use super::subject::Subject;
use crate::site::Site;

/// What happened when barriers were switched off.
#[derive(Debug)]
pub struct Removal {
    /// The barriers that were switched off: one, or a pair of which neither was caught alone.
    pub sites: Vec<Site>,
    /// What was tried until the verdict.
    pub counts: Counts,
    /// The crash that shows what the barrier protects; `None` if there is none, as the verdict says.
    pub counterexample: Option<Counterexample>,
    /// What follows from that. Only [`Caught`](RemovalVerdict::Caught) is proof.
    pub verdict: RemovalVerdict,
}

/// What follows from leaving out barriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalVerdict {
    /// Something is lost without them: they are necessary.
    Caught,
    /// Every state within the bound is right without them.
    NotNeeded,
    /// The time ran out before anything was lost: nothing is known.
    OutOfTime,
    /// The store breaks the same promise with them: it must pass the bound first.
    BrokenAnyway,
    /// Not one run came past them: the operations do not reach them.
    NeverReached,
    /// There were none to leave out.
    NothingLeftOut,
}

impl fmt::Display for RemovalVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caught => "caught",
            Self::NotNeeded => "nothing within the bound needs it",
            Self::OutOfTime => "NOT JUDGED: the time ran out before anything was lost",
            Self::BrokenAnyway => "NOT JUDGED: the store breaks a promise with it, too",
            Self::NeverReached => "NOT JUDGED: no operation within the bound reaches it",
            Self::NothingLeftOut => "NOT JUDGED: no barrier was left out",
        })
    }
}

impl Removal {
    fn of_nothing() -> Self {
        Self {
            sites: Vec::new(),
            counts: Counts::default(),
            counterexample: None,
            verdict: RemovalVerdict::NothingLeftOut,
        }
    }

    /// True if the barrier was shown to be necessary.
    pub fn is_caught(&self) -> bool {
        self.counterexample.is_some()
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, site) in self.sites.iter().enumerate() {
            if nth > 0 {
                f.write_str(" and ")?;
            }
            site.fmt(f)?;
        }
        if !self.sites.is_empty() {
            f.write_str(": ")?;
        }
        self.verdict.fmt(f)?;
        match &self.counterexample {
            Some(example) => write!(f, " ({})", example.summary),
            None => Ok(()),
        }
    }
}

impl<S: Subject> Explorer<'_, S> {
    /// Switches each of `sites` off alone and explores `bound`, then every pair of those that
    /// nothing needed. The complete store must have passed the same bound before.
    ///
    /// What an exploration reached is in [`Exploration::sites`](super::Exploration::sites); a barrier in the sources
    /// that is not among them was reached by no operation, and nothing is known of it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prove_your_own_store/counter.rs"));
    /// use durable_io::sim::{Bound, Explorer};
    ///
    /// # fn main() {
    /// let subject = CounterSubject { syncs_directory: true };
    /// let bound = Bound::of_length(2);
    /// let explored = Explorer::new(&subject).explore(&bound, &|_counts| {});
    /// assert!(explored.counterexample.is_none());
    /// let sites: Vec<_> = explored.sites.keys().copied().collect();
    /// let removals = Explorer::remove_barriers(&subject, &bound, &sites, &|removal| {
    ///     println!("{removal}");
    /// });
    /// assert!(removals.iter().all(|removal| removal.is_caught()));
    /// # }
    /// ```
    pub fn remove_barriers(
        subject: &S,
        bound: &Bound,
        sites: &[Site],
        progress: &(dyn Fn(&Removal) + Sync),
    ) -> Vec<Removal> {
        let mut removals = Vec::new();
        let mut survivors = Vec::new();
        if sites.is_empty() {
            removals.push(Removal::of_nothing());
        }
        for site in sites {
            let removal = Self::remove(subject, bound, &[*site]);
            if removal.verdict == RemovalVerdict::NotNeeded {
                survivors.push(*site);
            }
            progress(&removal);
            removals.push(removal);
        }
        for (nth, first) in survivors.iter().enumerate() {
            for second in survivors.iter().skip(nth + 1) {
                let removal = Self::remove(subject, bound, &[*first, *second]);
                progress(&removal);
                removals.push(removal);
            }
        }
        removals
    }

    /// Switches `sites` off together and explores `bound`, which the complete store must have passed
    /// before.
    pub fn remove(subject: &S, bound: &Bound, sites: &[Site]) -> Removal {
        if sites.is_empty() {
            return Removal::of_nothing();
        }
        let explored = Explorer::new(subject)
            .without(sites)
            .explore(bound, &|_counts| {});
        let has_broken = explored.counterexample.is_some();
        // With the barrier on again the same run must break nothing, or something else is wrong.
        let counterexample = explored
            .counterexample
            .filter(|example| replay(subject, &[], &example.tape).is_none());
        let verdict = match &counterexample {
            Some(_) => RemovalVerdict::Caught,
            None if has_broken => RemovalVerdict::BrokenAnyway,
            None if explored.timed_out => RemovalVerdict::OutOfTime,
            None if sites.iter().all(|site| explored.sites.contains_key(site)) => {
                RemovalVerdict::NotNeeded
            }
            None => RemovalVerdict::NeverReached,
        };
        Removal {
            sites: sites.to_vec(),
            counts: explored.counts,
            counterexample,
            verdict,
        }
    }
}
