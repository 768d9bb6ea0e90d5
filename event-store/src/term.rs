//! [`Term`]: by what events are found.

use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::event::Event;

/// The hash of something by which events are found: 128 bits, keyed by the store's secret, so that two
/// things never share one, not even by intent.
pub(crate) type Term = u128;

/// What a term stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About<'a> {
    Stream(&'a str),
    Category(&'a str),
    Kind(&'a str),
    Tag(&'a str),
    Id(&'a [u8; 16]),
    Source(&'a str),
}

/// The store's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u64; 2]);

impl Key {
    pub(crate) fn term(self, about: About<'_>) -> Term {
        let (kind, bytes): (u8, &[u8]) = match about {
            About::Stream(name) => (1, name.as_bytes()),
            About::Category(name) => (2, name.as_bytes()),
            About::Kind(name) => (3, name.as_bytes()),
            About::Tag(name) => (4, name.as_bytes()),
            About::Id(id) => (5, id),
            About::Source(name) => (6, name.as_bytes()),
        };
        let Self([high, low]) = self;
        let mut hasher = SipHasher13::new_with_keys(high, low);
        hasher.write(&[kind]);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }

    /// The term of the stream of `event`.
    pub(crate) fn stream(self, event: &Event) -> Term {
        self.term(About::Stream(event.stream()))
    }

    /// Every other term by which `event` is found, each once.
    pub(crate) fn others(self, event: &Event) -> Vec<Term> {
        let mut terms = Vec::with_capacity(8);
        terms.push(self.term(About::Id(&event.id().0)));
        if !event.is_tombstone() {
            terms.push(self.term(About::Kind(event.kind())));
        }
        terms.push(self.term(About::Category(category(event.stream()))));
        if let Some((name, _)) = event.source() {
            terms.push(self.term(About::Source(name)));
        }
        for tag in event.tags() {
            let term = self.term(About::Tag(tag));
            // A tag may be given twice.
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
        terms
    }
}

/// The high and the low half of `term`.
pub(crate) fn halves(term: Term) -> (u64, u64) {
    let half = |half: u128| u64::try_from(half).expect("half of 128 bits are 64");
    (half(term >> 64), half(term & u128::from(u64::MAX)))
}

/// The category of a stream: its name up to the first `-`, or all of it.
pub(crate) fn category(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(before, _)| before)
}

/// A map whose keys are hashes already.
pub(crate) type TermMap<V> = std::collections::HashMap<Term, V, BuildHasherDefault<AsItIs>>;

/// Takes a term for its own hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not for terms: what else would be hashed still is, if badly.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, term: u128) {
        // The high half orders the terms in a part.
        (_, self.0) = halves(term);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_is_what_stands_before_the_first_hyphen() {
        for (stream, expected) in [("order-1-2", "order"), ("order", "order"), ("-1", "")] {
            assert_eq!(category(stream), expected);
        }
    }

    #[test]
    fn equal_names_of_different_things_are_different_terms() {
        let key = Key([1, 2]);
        let all = [
            About::Stream("a"),
            About::Category("a"),
            About::Kind("a"),
            About::Tag("a"),
            About::Source("a"),
        ];
        let mut terms: Vec<_> = all.iter().map(|about| key.term(*about)).collect();
        terms.push(Key([1, 3]).term(About::Tag("a")));
        terms.sort_unstable();
        terms.dedup();
        assert_eq!(terms.len(), all.len() + 1);
    }
}
