//! Finding a key in a tree.

use std::ops::{Bound, Deref};

use sdd::Guard;

use crate::error::{Corruption, Result};
use crate::node::{Node, Ref, head_of};
use crate::pager::Pager;

/// The leaf and the index in it where `key` is, below `root`.
#[inline]
pub(crate) fn find<P: Deref<Target = [u8]>>(
    pager: &Pager,
    view: impl Fn(Ref) -> Result<P>,
    root: Ref,
    key: &[u8],
) -> Result<Option<(P, usize)>> {
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
pub(crate) fn below<P: Deref<Target = [u8]>>(
    pager: &Pager,
    view: impl Fn(Ref) -> Result<P>,
    child: Ref,
    level: u8,
) -> Result<P> {
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

/// Calls `found` with each of `keys` that is there below `root`: its place in `keys`, its leaf, and the index in
/// that.
///
/// It goes down level by level, with all keys: the memory of one page is waited for while that of the others
/// comes, and keys of one page share the way to it.
pub(crate) fn find_many(
    (pager, guard): (&Pager, &Guard),
    root: Ref,
    keys: &[&[u8]],
    mut found: impl FnMut(usize, &[u8], usize) -> Result<()>,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let places = keys.iter().copied().zip(0..);
    let mut order: Vec<Wanted<'_>> = places
        .map(|(key, place)| (head_of(key), key, place))
        .collect();
    order.sort_unstable();
    let read = |r| pager.view_node(r, guard);
    // Pages of one level, each with those of the ordered keys that lie in it.
    let mut runs = vec![(read(root)?, order.as_slice())];
    loop {
        let level = runs.first().map_or(0, |(page, _)| Node::new(page).level());
        if level == 0 {
            break;
        }
        let mut children = Vec::with_capacity(keys.len());
        for (page, keys) in &runs {
            let node = Node::new(page);
            let with_child = keys.iter().map(|(_, key, _)| node.child_index(key));
            let places: Vec<_> = with_child.collect();
            let mut rest = *keys;
            for same in places.chunk_by(|one, other| one == other) {
                let (these, behind) = rest.split_at(same.len());
                rest = behind;
                children.extend(same.first().map(|&index| (node.child(index), these)));
            }
        }
        let below = |(child, keys)| Ok((below(pager, read, child, level)?, keys));
        runs = children.into_iter().map(below).collect::<Result<_>>()?;
    }
    for (page, keys) in &runs {
        for &(_, key, place) in *keys {
            if let Ok(index) = Node::new(page).search(key) {
                found(place, page, index)?;
            }
        }
    }
    Ok(())
}

/// One of many keys, behind its head, by which most are told apart, and with its place among them.
type Wanted<'k> = (u32, &'k [u8], usize);
