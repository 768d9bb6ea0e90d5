//! Deleting an entry, and what is done with pages that have become too empty.

use crate::draft::Draft;
use crate::edit::{Path, divide};
use crate::error::{Corruption, Result};
use crate::lookup::find;
use crate::node::{self, Cell, Node, Parts, Ref};
use crate::page::PageRef;
use crate::root::Tree;

impl Draft {
    /// Deletes `key`; returns whether it was there.
    pub(crate) fn delete(&mut self, tree: &mut Tree, key: &[u8]) -> Result<bool> {
        self.relax()?;
        let Some(root) = tree.root else {
            return Ok(false);
        };
        if find(&self.pager, |r| self.view_node(r), root, key)?.is_none() {
            return Ok(false);
        }
        let (path, leaf) = self.descend(tree, root, key)?;
        let node = self.node(leaf);
        let index = node.search(key).expect("it was just found");
        let old = node.payload(index).to_vec();
        self.drop_overflow(&old)?;
        node::remove(self.bytes_mut(leaf), index..index + 1);
        tree.len = tree.len.checked_sub(1).ok_or_else(|| {
            let reason = Corruption::Count { expected: tree.len };
            self.pager.corrupt(root.page, reason)
        })?;
        self.rebalance(tree, path, leaf).map(|()| true)
    }

    /// Merges pages that are too empty, from `at` up to the root.
    pub(crate) fn rebalance(&mut self, tree: &mut Tree, mut path: Path, mut at: u32) -> Result<()> {
        while let Some((parent, index)) = path.pop() {
            if !self.node(at).is_underfull() {
                return Ok(());
            }
            self.mend(parent, index)?;
            at = parent;
        }
        self.shrink(tree, at)
    }

    /// Takes away roots that are no branches any more, and a leaf with nothing in it.
    pub(crate) fn shrink(&mut self, tree: &mut Tree, root: u32) -> Result<()> {
        let mut at = self.reference(root);
        loop {
            let page = self.view_node(at)?;
            let node = Node::new(&page);
            if node.count() > 0 {
                tree.root = Some(at);
                return Ok(());
            }
            let below = (!node.is_leaf()).then(|| node.child(0));
            drop(page);
            self.discard(at);
            let Some(below) = below else {
                tree.root = None;
                return Ok(());
            };
            at = below;
        }
    }

    /// Merges child `index` of the branch `parent` with its neighbour, or shares their entries.
    /// Leaves it as it is if it has none, or if the parent has no room for the key that would divide
    /// them.
    pub(crate) fn mend(&mut self, parent: u32, index: usize) -> Result<()> {
        let branch = self.node(parent);
        if branch.children() < 2 {
            return Ok(());
        }
        let at = index.saturating_sub(1);
        let (left, right) = (branch.child(at), branch.child(at + 1));
        let separator = branch.key(at).to_vec();
        let level = branch.level();
        let (left_page, right_page) = (self.child(left, level)?, self.child(right, level)?);
        let (lower, upper) = (Node::new(&left_page), Node::new(&right_page));
        let mut cells = lower.cells();
        let link = upper.shape().link.map(Ref::encode);
        if let Some(payload) = &link {
            let key = Parts::whole(&separator);
            cells.push(Cell { key, payload });
        }
        cells.extend(upper.cells());
        if node::size_of(&cells) > self.pager.page_size {
            let middle = node::split_point(&cells, self.pager.page_size, lower.is_leaf());
            let parts = cells.split_at(middle);
            return self
                .share(parent, at, parts, (left, lower), right)
                .map(drop);
        }
        let joint = lower.children();
        let merged = self.own(left)?;
        node::build(self.bytes_mut(merged), lower.shape(), &cells);
        self.discard(right);
        node::remove(self.bytes_mut(parent), at..at + 1);
        let child = self.reference(merged);
        node::set_child(self.bytes_mut(parent), at, child);
        if link.is_none() {
            return Ok(());
        }
        drop((left_page, right_page));
        // Where the two were joined there may be pages that had no neighbour before.
        self.mend_if_underfull(merged, joint)?;
        self.mend_if_underfull(merged, joint - 1)
    }

    /// Merges child `index` of a branch with a neighbour if it is there and too empty.
    pub(crate) fn mend_if_underfull(&mut self, parent: u32, index: usize) -> Result<()> {
        let branch = self.node(parent);
        if index >= branch.children() {
            return Ok(());
        }
        let child = self.child(branch.child(index), branch.level())?;
        let is_underfull = Node::new(&child).is_underfull();
        drop(child);
        if is_underfull {
            self.mend(parent, index)?;
        }
        Ok(())
    }

    pub(crate) fn child(&self, child: Ref, level: u8) -> Result<PageRef> {
        let page = self.view_node(child)?;
        if Node::new(&page).level() + 1 != level {
            return Err(self.pager.corrupt(child.page, Corruption::Kind));
        }
        Ok(page)
    }

    /// Gives child `at` of `parent` the cells `below` and child `at + 1` those `above`, if the parent has
    /// room for the key between them; returns whether it has.
    pub(crate) fn share(
        &mut self,
        parent: u32,
        at: usize,
        (below, above): (&[Cell<'_>], &[Cell<'_>]),
        (left, lower): (Ref, Node<'_>),
        right: Ref,
    ) -> Result<bool> {
        let page_size = self.pager.page_size;
        let (separator, shape, above) = divide(lower, below, above);
        let old: Box<[u8]> = self.bytes_mut(parent).into();
        let branch = Node::new(&old);
        let mut separators = branch.cells();
        let cell = separators
            .get_mut(at)
            .expect("children have a key between them");
        cell.key = Parts::whole(&separator);
        if node::size_of(&separators) > page_size {
            return Ok(false);
        }
        let (left, right) = (self.own(left)?, self.own(right)?);
        node::build(self.bytes_mut(left), lower.shape(), below);
        node::build(self.bytes_mut(right), shape, above);
        let (left, right) = (self.reference(left), self.reference(right));
        let parent = self.bytes_mut(parent);
        node::build(parent, branch.shape(), &separators);
        node::set_child(parent, at, left);
        node::set_child(parent, at + 1, right);
        Ok(true)
    }
}
