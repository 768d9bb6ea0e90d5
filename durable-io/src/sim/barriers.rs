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
    /// The crash that shows what the barrier protects; `None` if nothing within the bound needs it.
    pub counterexample: Option<Counterexample>,
}

impl Removal {
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
        match &self.counterexample {
            Some(example) => write!(f, ": caught ({})", example.summary),
            None => f.write_str(": nothing within the bound needs it"),
        }
    }
}

impl<S: Subject> Explorer<'_, S> {
    /// Switches each of `sites` off alone and explores `bound`, then every pair of those that
    /// survived. The complete store must have passed the same bound before.
    pub fn remove_barriers(
        subject: &S,
        bound: &Bound,
        sites: &[Site],
        progress: &(dyn Fn(&Removal) + Sync),
    ) -> Vec<Removal> {
        let mut removals = Vec::new();
        let mut survivors = Vec::new();
        for site in sites {
            let removal = Self::remove(subject, bound, &[*site]);
            if !removal.is_caught() {
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
        let explored = Explorer::new(subject)
            .without(sites)
            .explore(bound, &|_counts| {});
        // With the barrier on again the same run must break nothing, or something else is wrong.
        let counterexample = explored
            .counterexample
            .filter(|example| replay(subject, &[], &example.tape).is_none());
        Removal {
            sites: sites.to_vec(),
            counts: explored.counts,
            counterexample,
        }
    }
}
