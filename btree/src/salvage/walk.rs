//! [`Walk`]: a tree from its first entry to its last, around pages that cannot be read.

use std::ops::Bound;

use durable_io::engine::LostKeys;

use crate::error::{Corruption, Error, Result};
use crate::node::{self, Kind, Node, Ref};
use crate::overflow::{self, Stored};
use crate::pager::Pager;

/// An entry of a tree.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// A place in a tree. The level of a page bounds it: no damage makes it go round in circles.
#[derive(Debug)]
pub(super) struct Walk {
    root: Option<Ref>,
    /// From the root to the leaf.
    way: Vec<Step>,
}

/// A page on the way.
#[derive(Debug)]
struct Step {
    page: Box<[u8]>,
    /// The entry or the child that comes next.
    next: usize,
    keys: LostKeys,
}

/// Keys of which entries cannot be read, and why.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) keys: LostKeys,
    pub(super) source: Error,
}

pub(super) type Item = Result<Entry, Box<Missing>>;

impl Walk {
    pub(super) fn new(root: Option<Ref>) -> Self {
        let way = Vec::new();
        Self { root, way }
    }

    pub(super) fn next(&mut self, pager: &Pager) -> Option<Item> {
        loop {
            if let Some(root) = self.root.take()
                && let Err(missing) = self.enter(pager, root, LostKeys::ALL, None)
            {
                return Some(Err(missing));
            }
            let step = self.way.last_mut()?;
            let node = Node::new(&step.page);
            let nth = step.next;
            step.next += 1;
            if node.is_leaf() {
                if nth < node.count() {
                    return Some(entry(pager, node, nth));
                }
                self.way.pop();
            } else if nth < node.children() {
                let keys = keys_of(node, nth, &step.keys);
                let (child, level) = (node.child(nth), node.level());
                if let Err(missing) = self.enter(pager, child, keys, Some(level)) {
                    return Some(Err(missing));
                }
            } else {
                self.way.pop();
            }
        }
    }

    /// Goes down to the node `r`, which has `keys`, from a branch of level `above`.
    fn enter(
        &mut self,
        pager: &Pager,
        r: Ref,
        keys: LostKeys,
        above: Option<u8>,
    ) -> Result<(), Box<Missing>> {
        match read(pager, r, above) {
            Ok(page) => {
                let next = 0;
                self.way.push(Step { page, next, keys });
                Ok(())
            }
            Err(source) => Err(Box::new(Missing { keys, source })),
        }
    }
}

/// The node `r`, one level below `above`.
fn read(pager: &Pager, r: Ref, above: Option<u8>) -> Result<Box<[u8]>> {
    let page = pager.read_from_file(r)?;
    let is_node = matches!(node::kind(&page), Some(Kind::Leaf | Kind::Branch));
    let is_below = |level: u8| above.is_none_or(|above| level.checked_add(1) == Some(above));
    if is_node && is_below(Node::new(&page).level()) {
        Ok(page)
    } else {
        Err(pager.corrupt(r.page, Corruption::Kind))
    }
}

/// The keys of child `nth` of a branch that has `keys`.
fn keys_of(node: Node<'_>, nth: usize, keys: &LostKeys) -> LostKeys {
    let first = nth.checked_sub(1).map(|nth| node.key(nth).to_vec());
    let last = (nth < node.count()).then(|| node.key(nth).to_vec());
    LostKeys {
        first: first.map_or_else(|| keys.first.clone(), Bound::Included),
        last: last.map_or_else(|| keys.last.clone(), Bound::Excluded),
    }
}

fn entry(pager: &Pager, node: Node<'_>, nth: usize) -> Item {
    let key = node.key(nth).to_vec();
    let value = match overflow::stored(node.payload(nth)) {
        Stored::Inline(value) => Ok(value.to_vec()),
        Stored::Indirect { len, first } => {
            overflow::read(pager, |r| pager.read_from_file(r), len, first)
        }
    };
    match value {
        Ok(value) => Ok(Entry { key, value }),
        Err(source) => {
            let (first, last) = (Bound::Included(key.clone()), Bound::Included(key));
            let keys = LostKeys { first, last };
            Err(Box::new(Missing { keys, source }))
        }
    }
}
