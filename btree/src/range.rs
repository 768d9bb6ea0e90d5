//! [`Range`]: the entries of a table between two keys, from either end.

use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use crate::draft::Draft;
use crate::error::Result;
use crate::lookup::{below, from_index, to_index};
use crate::node::{Node, Ref};
use crate::overflow::{self, Stored};
use crate::page::PageRef;
use crate::pager::Pager;
use crate::remove_range::is_empty;
use crate::root::Root;
use crate::value::Value;

/// Where pages are read from.
#[derive(Clone)]
pub(crate) enum Source<'a> {
    /// A committed state, which stays as long as this lives.
    Root(Arc<Root>),
    /// A write transaction.
    Draft(&'a Draft),
}

impl Source<'_> {
    pub(crate) fn pager(&self) -> &Pager {
        match self {
            Self::Root(root) => &root.pager,
            Self::Draft(draft) => &draft.pager,
        }
    }

    pub(crate) fn node(&self, r: Ref) -> Result<PageRef> {
        match self {
            Self::Root(root) => root.read(|| {
                let page = PageRef::Shared(root.pager.read(r)?);
                root.pager.must_be_node(r, page)
            }),
            Self::Draft(draft) => draft.view_node(r),
        }
    }

    pub(crate) fn view(&self, r: Ref) -> Result<PageRef> {
        match self {
            Self::Root(root) => root.read(|| Ok(PageRef::Shared(root.pager.read(r)?))),
            Self::Draft(draft) => draft.view(r),
        }
    }
}

/// The value of entry `index` of the leaf `page`.
#[inline]
pub(crate) fn value_at<P: Deref<Target = [u8]>>(
    pager: &Pager,
    view: impl Fn(Ref) -> Result<P>,
    page: &[u8],
    index: usize,
) -> Result<Value> {
    match overflow::stored(Node::new(page).payload(index)) {
        Stored::Inline(value) => Ok(Value::copy(value)),
        Stored::Indirect { len, first } => Ok(Value::own(overflow::read(pager, view, len, first)?)),
    }
}

/// The entries of a table whose keys lie in a range, in the order of the keys; from
/// [`Table::range`](crate::Table::range) and [`TableMut::range`](crate::TableMut::range). It shows the
/// state in which it was made, and ends after the first error.
///
/// It is an iterator from both ends, of keys and values that live on. [`advance`](Range::advance) and
/// [`advance_back`](Range::advance_back) lend them instead, which is faster.
pub struct Range<'a> {
    source: Source<'a>,
    root: Option<Ref>,
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
    at: Option<Position>,
    is_forward: bool,
    /// The key of the last entry, if there was one.
    key: Vec<u8>,
    /// So much of it is the prefix of the leaf.
    prefix: usize,
    has_key: bool,
    value: Vec<u8>,
    is_done: bool,
}

/// A leaf, the way to it, and what is left to show of it.
struct Position {
    way: Vec<(PageRef, usize)>,
    leaf: PageRef,
    from: usize,
    to: usize,
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

pub(crate) fn owned(bound: Bound<&&[u8]>) -> Bound<Vec<u8>> {
    bound.cloned().map(<[u8]>::to_vec)
}

impl<'a> Range<'a> {
    pub(crate) fn new<'k>(
        source: Source<'a>,
        root: Option<Ref>,
        range: &impl RangeBounds<&'k [u8]>,
    ) -> Self {
        let (low, high) = (owned(range.start_bound()), owned(range.end_bound()));
        let is_done = root.is_none() || is_empty((borrowed(&low), borrowed(&high)));
        Self {
            source,
            root,
            low,
            high,
            at: None,
            is_forward: true,
            key: Vec::new(),
            prefix: 0,
            has_key: false,
            value: Vec::new(),
            is_done,
        }
    }

    /// The next entry, lent until the next call; `None` at the end.
    ///
    /// # Cost
    /// No allocation, unless a value has pages of its own.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Disk`](crate::Error::Disk),
    /// [`Error::Poisoned`](crate::Error::Poisoned), [`Error::LeaseEnded`](crate::Error::LeaseEnded); nothing follows
    /// an error.
    pub fn advance(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.lend(true)
    }

    /// The next entry from the other end, lent until the next call; `None` when all were shown.
    ///
    /// # Cost
    /// As [`advance`](Range::advance).
    ///
    /// # Errors
    /// As [`advance`](Range::advance).
    pub fn advance_back(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.lend(false)
    }

    fn lend(&mut self, forward: bool) -> Result<Option<(&[u8], &[u8])>> {
        let Some(index) = self.step(forward)? else {
            return Ok(None);
        };
        let at = self.at.as_ref().expect("there is an entry");
        let value = match overflow::stored(Node::new(&at.leaf).payload(index)) {
            Stored::Inline(value) => value,
            Stored::Indirect { len, first } => {
                let source = &self.source;
                self.value = overflow::read(source.pager(), |r| source.view(r), len, first)?;
                &self.value
            }
        };
        Ok(Some((&self.key, value)))
    }

    /// Goes to the next entry of one end, and returns its index in the leaf.
    #[inline]
    fn step(&mut self, forward: bool) -> Result<Option<usize>> {
        if forward != self.is_forward && !self.is_done {
            self.turn_round();
        }
        if self.is_done {
            return Ok(None);
        }
        let index = match self.at.as_mut().and_then(|at| at.take(forward)) {
            Some(index) => index,
            None => match self.next_leaf(forward) {
                Ok(Some(index)) => index,
                other => {
                    self.is_done = true;
                    return other;
                }
            },
        };
        let at = self.at.as_ref().expect("there is an entry");
        self.key.truncate(self.prefix);
        let rest = Node::new(&at.leaf).key(index).rest;
        self.key.extend_from_slice(rest);
        self.has_key = true;
        Ok(Some(index))
    }

    /// What was shown from one end ends the range for the other one.
    fn turn_round(&mut self) {
        if self.has_key {
            let shown = Bound::Excluded(self.key.clone());
            if self.is_forward {
                self.low = shown;
            } else {
                self.high = shown;
            }
        }
        self.is_forward = !self.is_forward;
        self.at = None;
        self.is_done = is_empty((borrowed(&self.low), borrowed(&self.high)));
    }

    /// Goes on to the next leaf that has something to show, and takes the first entry of it.
    fn next_leaf(&mut self, forward: bool) -> Result<Option<usize>> {
        let mut at = match self.at.take() {
            Some(at) => at,
            None => self.seek()?,
        };
        loop {
            if let Some(index) = at.take(forward) {
                self.key.clear();
                let prefix = Node::new(&at.leaf).prefix();
                self.key.extend_from_slice(prefix);
                self.prefix = self.key.len();
                self.at = Some(at);
                return Ok(Some(index));
            }
            let ends_here = if forward {
                at.to < Node::new(&at.leaf).count()
            } else {
                at.from > 0
            };
            if ends_here {
                return Ok(None);
            }
            let Some((page, index)) = at.next_branch(forward) else {
                return Ok(None);
            };
            self.go_down(&mut at, &page, index, Bound::Unbounded, forward)?;
        }
    }

    /// Goes to the leaf in which the end lies from which it is read.
    fn seek(&self) -> Result<Position> {
        let root = self.root.expect("an empty range is done");
        let root = self.source.node(root)?;
        let mut at = Position {
            way: Vec::new(),
            leaf: root.clone(),
            from: 0,
            to: 0,
        };
        let bound = if self.is_forward {
            borrowed(&self.low)
        } else {
            borrowed(&self.high)
        };
        let node = Node::new(&root);
        if node.is_leaf() {
            self.enter(&mut at, root);
            return Ok(at);
        }
        let index = child_for(node, bound, self.is_forward);
        self.go_down(&mut at, &root, index, bound, self.is_forward)?;
        Ok(at)
    }

    /// Goes to a leaf below child `index` of the branch `page`: the one with `bound`, or the first or
    /// last one.
    fn go_down(
        &self,
        at: &mut Position,
        page: &PageRef,
        mut index: usize,
        bound: Bound<&[u8]>,
        forward: bool,
    ) -> Result<()> {
        let mut page = page.clone();
        loop {
            let node = Node::new(&page);
            let (child, level) = (node.child(index), node.level());
            let source = &self.source;
            let child = below(source.pager(), |r| source.node(r), child, level)?;
            at.way.push((page, index));
            let node = Node::new(&child);
            if node.is_leaf() {
                self.enter(at, child);
                return Ok(());
            }
            index = child_for(node, bound, forward);
            page = child;
        }
    }

    fn enter(&self, at: &mut Position, leaf: PageRef) {
        let node = Node::new(&leaf);
        at.from = from_index(node, borrowed(&self.low));
        at.to = to_index(node, borrowed(&self.high)).max(at.from);
        at.leaf = leaf;
    }
}

impl Position {
    /// The index of the next entry of one end of what is left of the leaf.
    #[inline]
    fn take(&mut self, forward: bool) -> Option<usize> {
        if self.from == self.to {
            return None;
        }
        if forward {
            self.from += 1;
            return Some(self.from - 1);
        }
        self.to -= 1;
        Some(self.to)
    }

    /// The branch from which it goes on, and its child.
    fn next_branch(&mut self, forward: bool) -> Option<(PageRef, usize)> {
        while let Some((page, index)) = self.way.pop() {
            let next = if forward {
                Some(index + 1).filter(|&next| next < Node::new(&page).children())
            } else {
                index.checked_sub(1)
            };
            if let Some(next) = next {
                return Some((page, next));
            }
        }
        None
    }
}

fn child_for(node: Node<'_>, bound: Bound<&[u8]>, forward: bool) -> usize {
    match bound {
        Bound::Unbounded if forward => 0,
        Bound::Unbounded => node.count(),
        Bound::Included(key) | Bound::Excluded(key) => node.child_index(key),
    }
}

impl Range<'_> {
    fn item(&mut self, forward: bool) -> Option<Result<(Vec<u8>, Value)>> {
        let index = match self.step(forward) {
            Ok(index) => index?,
            Err(error) => return Some(Err(error)),
        };
        let at = self.at.as_ref().expect("there is an entry");
        let (leaf, source) = (&at.leaf, &self.source);
        let value = value_at(source.pager(), |r| source.view(r), leaf, index);
        if value.is_err() {
            self.is_done = true;
        }
        Some(value.map(|value| (self.key.clone(), value)))
    }
}

impl Iterator for Range<'_> {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item(true)
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.item(false)
    }
}

impl std::iter::FusedIterator for Range<'_> {}

impl fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("low", &self.low)
            .field("high", &self.high)
            .finish_non_exhaustive()
    }
}
