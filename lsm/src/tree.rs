//! [`Tree`]: what a keyspace holds: memtables and tables.

use std::sync::Arc;

use arc_swap::ArcSwap;
use wal::Lsn;

use crate::levels::Levels;
use crate::memtable::Memtable;
use crate::options::KeyspaceOptions;

/// The slot of the default keyspace, whatever store it is of.
pub(crate) const DEFAULT_SLOT: u64 = 0;

/// One life of a keyspace: from its creation, or from when it was cleared, to when it is dropped or
/// cleared. Handles reach it by its slot, which stays when it is cleared; records name it by its id.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) id: u32,
    pub(crate) slot: u64,
    pub(crate) name: String,
    pub(crate) options: KeyspaceOptions,
    state: ArcSwap<State>,
}

/// What readers look into, as a whole.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Where writers insert.
    pub(crate) active: Arc<Memtable>,
    /// Memtables that wait for their flush, the newest first.
    pub(crate) frozen: Vec<Frozen>,
    pub(crate) levels: Arc<Levels>,
}

/// A memtable that nobody writes to any more.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) table: Arc<Memtable>,
    /// All records of the keyspace up to this one are in it, or in what is older.
    pub(crate) bound: Lsn,
}

impl Tree {
    pub(crate) fn new(
        id: u32,
        slot: u64,
        name: String,
        options: KeyspaceOptions,
        levels: Levels,
    ) -> Self {
        Self {
            id,
            slot,
            name,
            options,
            state: ArcSwap::from_pointee(State {
                active: Arc::default(),
                frozen: Vec::new(),
                levels: Arc::new(levels),
            }),
        }
    }

    /// The same keyspace with other options.
    pub(crate) fn with_options(&self, options: KeyspaceOptions) -> Self {
        Self {
            id: self.id,
            slot: self.slot,
            name: self.name.clone(),
            options,
            state: ArcSwap::new(self.state()),
        }
    }

    /// What is there now. It stays as it is while it is held, but for what is inserted into the active
    /// memtable.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The same, for a short while: holding many of them makes others slower.
    #[inline]
    pub(crate) fn peek(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// Changes the state, for everybody.
    pub(crate) fn change(&self, change: impl Fn(&mut State)) {
        self.state.rcu(|state| {
            let mut changed = State::clone(state);
            change(&mut changed);
            changed
        });
    }

    /// Goes on in a new memtable, if there is something in this one: nobody may be inserting.
    pub(crate) fn freeze(&self, bound: Lsn) -> bool {
        if self.peek().active.first_version().is_none() {
            return false;
        }
        self.change(|state| {
            let table = std::mem::take(&mut state.active);
            state.frozen.insert(0, Frozen { table, bound });
        });
        true
    }

    /// The smallest version that is in no table; `None` if everything is.
    pub(crate) fn first_unflushed(&self) -> Option<u64> {
        let state = self.peek();
        let frozen = state.frozen.iter().map(|frozen| &frozen.table);
        let tables = std::iter::once(&state.active).chain(frozen);
        tables.filter_map(|table| table.first_version()).min()
    }

    /// Bytes of memory in memtables: the active one, and those that wait for their flush.
    pub(crate) fn memtable_bytes(&self) -> (u64, u64) {
        let state = self.peek();
        let frozen = state.frozen.iter().map(|frozen| frozen.table.bytes());
        (state.active.bytes(), frozen.sum())
    }
}
