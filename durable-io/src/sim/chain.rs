//! One independent piece of disk state: what is durable, and what has been written since.
//!
//! Under `strict` the pending effects of a disk are a product of such chains (one for each sector,
//! each file's size, each name), and a crash leaves a prefix of every chain.

/// The number of an effect, in the order in which effects happened. 0 is "before everything".
pub(crate) type EffectId = u32;

#[derive(Clone, Debug)]
pub(crate) struct Version<T> {
    pub(crate) value: T,
    pub(crate) effect: EffectId,
}

#[derive(Clone, Debug)]
pub(crate) struct Chain<T> {
    durable: Version<T>,
    pending: Vec<Version<T>>,
    /// What the page cache shows although it will never be durable: left by a failed sync.
    ghost: Option<T>,
}

impl<T: Clone> Chain<T> {
    /// A chain that has always been `value`.
    pub(crate) fn durable(value: T) -> Self {
        Self {
            durable: Version { value, effect: 0 },
            pending: Vec::new(),
            ghost: None,
        }
    }

    /// What a running process sees.
    pub(crate) fn current(&self) -> &T {
        match (self.pending.last(), &self.ghost) {
            (Some(last), _) => &last.value,
            (None, Some(ghost)) => ghost,
            (None, None) => &self.durable.value,
        }
    }

    pub(crate) fn push(&mut self, value: T, effect: EffectId) {
        self.ghost = None;
        self.pending.push(Version { value, effect });
    }

    /// True if a failed sync left the page cache showing what will never be durable.
    pub(crate) fn is_ghost(&self) -> bool {
        self.ghost.is_some() && self.pending.is_empty()
    }

    pub(crate) fn pending(&self) -> &[Version<T>] {
        &self.pending
    }

    /// How many versions a crash may leave: the durable one, and each pending one.
    pub(crate) fn choices(&self) -> usize {
        self.pending.len() + 1
    }

    /// The version that is current when the first `kept` pending effects reached the disk.
    pub(crate) fn version(&self, kept: usize) -> &Version<T> {
        match kept.checked_sub(1) {
            None => &self.durable,
            Some(last) => self
                .pending
                .get(last)
                .expect("no more is kept than is pending"),
        }
    }

    /// A sync that began before effect `limit` has returned.
    pub(crate) fn promote(&mut self, limit: EffectId) {
        let covered = self
            .pending
            .iter()
            .take_while(|version| version.effect < limit)
            .count();
        if let Some(last) = self.pending.drain(..covered).next_back() {
            self.durable = last;
        }
    }

    /// The last effect that `reached` the disk, and so all before it, are durable.
    pub(crate) fn promote_through(&mut self, reached: impl Fn(EffectId) -> bool) {
        let last = self.pending.iter().rev().find(|v| reached(v.effect));
        if let Some(last) = last {
            self.promote(last.effect + 1);
        }
    }

    /// The first effect that is `missing`, and so all after it, will never be durable.
    pub(crate) fn drop_from(&mut self, missing: impl Fn(EffectId) -> bool) {
        let first = self.pending.iter().position(|v| missing(v.effect));
        if let Some(first) = first {
            self.pending.truncate(first);
        }
    }

    /// A sync that began before effect `limit` has failed, and the covered effects are lost for
    /// good: the page cache still shows them if `cache_keeps`, else it shows what is on the disk.
    pub(crate) fn lose(&mut self, limit: EffectId, cache_keeps: bool) {
        let covered = self
            .pending
            .iter()
            .take_while(|version| version.effect < limit)
            .count();
        if covered == 0 {
            return;
        }
        let last = self.pending.drain(..covered).next_back();
        if cache_keeps && self.pending.is_empty() {
            self.ghost = last.map(|version| version.value);
        }
    }
}
