//! What a store keeps of a group: votes, entries, and points of its log.

/// What a node has voted for, or whom it follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// What else belongs to it: whose term, and whether a quorum has granted it. Up to
    /// [`MAX_LEADER_SIZE`](crate::MAX_LEADER_SIZE) bytes that mean nothing to the store.
    pub leader: Vec<u8>,
}

/// A place in the log of a group: up to where it is purged, or committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogPoint {
    /// The index of the entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What else belongs to it, as in a [`Vote`].
    pub leader: Vec<u8>,
}

/// An entry of the log of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place: one after that of the entry before it.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Up to [`MAX_ENTRY_SIZE`](crate::MAX_ENTRY_SIZE) bytes that mean nothing to the store.
    pub data: Vec<u8>,
}

/// Where the log of a group begins and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogState {
    /// The last entry that was purged.
    pub purged: Option<LogPoint>,
    /// The index of the first entry; `None` if there is none.
    pub first: Option<u64>,
    /// Index and term of the last entry; `None` if there is none.
    pub last: Option<(u64, u64)>,
    /// What was last said to be committed. After a crash it may be an older one.
    pub committed: Option<LogPoint>,
}

/// What may be done to a group.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A vote takes the place of the one before.
    Vote(&'a Vote),
    /// Entries after the last one.
    Append(&'a [Entry]),
    /// The entries from this index on are removed: another leader's take their place.
    Truncate(u64),
    /// The entries up to this one are removed: a snapshot has them.
    Purge(&'a LogPoint),
    /// What is committed. It is durable together with the next change that is waited for.
    Commit(Option<&'a LogPoint>),
}
