//! Deleting a range of keys: whole pages at a time.

use std::ops::Bound;

use crate::draft::Draft;
use crate::error::{Corruption, Result};
use crate::lookup::{from_index, to_index};
use crate::node::{self, Node, Ref};
use crate::root::Tree;

/// A range of keys, by reference.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl Draft {
    /// Deletes every key in `bounds`; returns how many there were.
    pub(crate) fn delete_range(&mut self, tree: &mut Tree, bounds: Bounds<'_>) -> Result<u64> {
        self.relax()?;
        let Some(root) = tree.root else {
            return Ok(0);
        };
        if is_empty(bounds) {
            return Ok(0);
        }
        let at = self.own(root)?;
        tree.root = Some(self.reference(at));
        let mut removed = 0;
        self.cut(at, bounds, &mut removed)?;
        self.shrink(tree, at)?;
        tree.len = tree.len.checked_sub(removed).ok_or_else(|| {
            let reason = Corruption::Count { expected: tree.len };
            self.pager.corrupt(root.page, reason)
        })?;
        Ok(removed)
    }

    /// Deletes what is in `bounds` below page `at`.
    fn cut(&mut self, at: u32, (low, high): Bounds<'_>, removed: &mut u64) -> Result<()> {
        let node = self.node(at);
        if node.is_leaf() {
            let range = from_index(node, low)..to_index(node, high);
            let payloads = range.clone().map(|index| node.payload(index).to_vec());
            for payload in payloads.collect::<Vec<_>>() {
                self.drop_overflow(&payload)?;
            }
            *removed += range.len() as u64;
            node::remove(self.bytes_mut(at), range);
            return Ok(());
        }
        let (first, last) = (child_of(node, low, 0), child_of(node, high, node.count()));
        if first >= last {
            let child = self.own_child(at, first)?;
            self.cut(child, (low, high), removed)?;
            return self.mend_if_underfull(at, first);
        }
        let level = node.level();
        let whole: Vec<_> = (first + 1..last).map(|index| node.child(index)).collect();
        for child in whole {
            self.drop_subtree(child, level, removed)?;
        }
        node::remove(self.bytes_mut(at), first..last - 1);
        let left = self.own_child(at, first)?;
        self.cut(left, (low, Bound::Unbounded), removed)?;
        let right = self.own_child(at, first + 1)?;
        self.cut(right, (Bound::Unbounded, high), removed)?;
        self.mend_if_underfull(at, first + 1)?;
        self.mend_if_underfull(at, first)
    }

    /// Drops a page and everything below it; adds its entries to `count`.
    pub(crate) fn drop_subtree(&mut self, r: Ref, level: u8, count: &mut u64) -> Result<()> {
        let page = self.view_node(r)?;
        let node = Node::new(&page);
        if node.level() >= level {
            return Err(self.pager.corrupt(r.page, Corruption::Kind));
        }
        if node.is_leaf() {
            *count += node.count() as u64;
            for index in 0..node.count() {
                self.drop_overflow(node.payload(index))?;
            }
        } else {
            for index in 0..node.children() {
                self.drop_subtree(node.child(index), node.level(), count)?;
            }
        }
        self.discard(r);
        Ok(())
    }
}

/// The child in which a bound lies.
fn child_of(node: Node<'_>, bound: Bound<&[u8]>, unbounded: usize) -> usize {
    match bound {
        Bound::Unbounded => unbounded,
        Bound::Included(key) | Bound::Excluded(key) => node.child_index(key),
    }
}

/// True if no key can lie in `bounds`.
pub(crate) fn is_empty((low, high): Bounds<'_>) -> bool {
    match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
    }
}
