//! Finding a key in a tree.

use std::ops::Bound;

use crate::error::{Corruption, Result};
use crate::node::{Node, Ref};
use crate::page::PageRef;
use crate::pager::Pager;

/// The leaf and the index in it where `key` is, below `root`.
#[inline]
pub(crate) fn find(
    pager: &Pager,
    view: impl Fn(Ref) -> Result<PageRef>,
    root: Ref,
    key: &[u8],
) -> Result<Option<(PageRef, usize)>> {
    let mut page = view(root)?;
    loop {
        let node = Node::new(&page);
        let level = node.level();
        if level == 0 {
            let found = node.search(key);
            return Ok(found.ok().map(|index| (page, index)));
        }
        let child = node.child(node.child_index(key));
        page = below(pager, &view, child, level)?;
    }
}

/// A child of a branch of level `level`. It is one level below: a tree that goes down level by level
/// cannot go round in circles.
#[inline]
pub(crate) fn below(
    pager: &Pager,
    view: impl Fn(Ref) -> Result<PageRef>,
    child: Ref,
    level: u8,
) -> Result<PageRef> {
    let page = view(child)?;
    if Node::new(&page).level() + 1 != level {
        return Err(pager.corrupt(child.page, Corruption::Kind));
    }
    Ok(page)
}

/// The first entry of a leaf that a lower bound allows.
pub(crate) fn from_index(node: Node<'_>, low: Bound<&[u8]>) -> usize {
    match low {
        Bound::Unbounded => 0,
        Bound::Included(key) => node.search(key).unwrap_or_else(|index| index),
        Bound::Excluded(key) => node
            .search(key)
            .map_or_else(|index| index, |index| index + 1),
    }
}

/// The entry behind the last one of a leaf that an upper bound allows.
pub(crate) fn to_index(node: Node<'_>, high: Bound<&[u8]>) -> usize {
    match high {
        Bound::Unbounded => node.count(),
        Bound::Included(key) => node
            .search(key)
            .map_or_else(|index| index, |index| index + 1),
        Bound::Excluded(key) => node.search(key).unwrap_or_else(|index| index),
    }
}

/// The leaf in which `key` would be.
pub(crate) fn leaf_of(pager: &Pager, root: Ref, key: &[u8]) -> Result<PageRef> {
    let mut page = pager.read_node(root)?;
    loop {
        let node = Node::new(&page);
        let level = node.level();
        if level == 0 {
            return Ok(page);
        }
        let child = node.child(node.child_index(key));
        page = below(pager, |r| pager.read_node(r), child, level)?;
    }
}

/// Whether `leaf` is certain to be the one in which `key` would be.
pub(crate) fn is_in_reach(leaf: &PageRef, key: &[u8]) -> bool {
    let node = Node::new(leaf);
    match node.search(key) {
        Ok(_) => true,
        // Before the first and behind the last entry another leaf may begin.
        Err(index) => index > 0 && index < node.count(),
    }
}
