//! Putting an entry into a tree, and the splits that this causes.

use crate::draft::Draft;
use crate::error::{Corruption, Result};
use crate::node::{self, Cell, Node, Parts, Ref, Shape};
use crate::overflow;
use crate::root::Tree;

/// The way from the root to a page: branches, and which child was taken.
pub(crate) type Path = Vec<(u32, usize)>;

impl Draft {
    /// Puts `value` under `key`; returns whether the key is new.
    pub(crate) fn put(&mut self, tree: &mut Tree, key: &[u8], value: &[u8]) -> Result<bool> {
        self.relax()?;
        let payload = self.payload_of(key, value)?;
        let Some(root) = tree.root else {
            let leaf = self.allocate()?;
            let shape = Shape {
                level: 0,
                link: None,
            };
            let key = Parts::whole(key);
            let payload = &payload;
            node::build(self.bytes_mut(leaf), shape, &[Cell { key, payload }]);
            *tree = Tree {
                root: Some(self.reference(leaf)),
                len: 1,
            };
            return Ok(true);
        };
        let (mut path, leaf) = self.descend(tree, root, key)?;
        let is_new = match self.node(leaf).search(key) {
            Ok(index) => {
                let old = self.node(leaf).payload(index).to_vec();
                self.drop_overflow(&old)?;
                if node::replace(self.bytes_mut(leaf), index, &payload) {
                    return Ok(false);
                }
                node::remove(self.bytes_mut(leaf), index..index + 1);
                self.insert(tree, &mut path, leaf, index, key, &payload)?;
                false
            }
            Err(index) => {
                self.insert(tree, &mut path, leaf, index, key, &payload)?;
                true
            }
        };
        tree.len += u64::from(is_new);
        Ok(is_new)
    }

    /// What a leaf holds of `value` beside `key`; a value that is too large for it gets pages of its own.
    pub(crate) fn payload_of(&mut self, key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        let page_size = u32::try_from(self.pager.page_size).expect("at most 32 KiB");
        let limit = crate::limits::max_cell(page_size);
        if node::SLOT + key.len() + 2 + value.len() <= limit {
            Ok(overflow::inline(value))
        } else {
            self.write_overflow(value)
        }
    }

    /// Goes to the leaf that has `key`, and makes every page on the way its own.
    pub(crate) fn descend(
        &mut self,
        tree: &mut Tree,
        root: Ref,
        key: &[u8],
    ) -> Result<(Path, u32)> {
        let mut at = self.own(root)?;
        tree.root = Some(self.reference(at));
        let mut path = Path::new();
        while !self.node(at).is_leaf() {
            let index = self.node(at).child_index(key);
            let child = self.own_child(at, index)?;
            path.push((at, index));
            at = child;
        }
        Ok((path, at))
    }

    /// Makes child `index` of the branch `parent` its own.
    pub(crate) fn own_child(&mut self, parent: u32, index: usize) -> Result<u32> {
        let node = self.node(parent);
        let (child, level) = (node.child(index), node.level());
        let owned = self.own(child)?;
        // A tree that goes down level by level cannot go round in circles.
        if self.node(owned).level() + 1 != level {
            return Err(self.pager.corrupt(child.page, Corruption::Kind));
        }
        let reference = self.reference(owned);
        if reference != child {
            node::set_child(self.bytes_mut(parent), index, reference);
        }
        Ok(owned)
    }

    /// Puts an entry at `index` of page `at`, and splits pages up to the root if it must.
    pub(crate) fn insert(
        &mut self,
        tree: &mut Tree,
        path: &mut Path,
        mut at: u32,
        index: usize,
        key: &[u8],
        payload: &[u8],
    ) -> Result<()> {
        let mut split = self.insert_here(at, index, key, payload)?;
        while let Some((separator, right)) = split {
            let right = self.reference(right);
            let Some((parent, child)) = path.pop() else {
                return self.grow(tree, at, &separator, right);
            };
            at = parent;
            split = self.insert_here(parent, child, &separator, &right.encode())?;
        }
        Ok(())
    }

    /// Puts an entry into page `at`; if that is full, moves its upper part to a new page, and returns
    /// the key that divides the two and the new page.
    fn insert_here(
        &mut self,
        at: u32,
        index: usize,
        key: &[u8],
        payload: &[u8],
    ) -> Result<Option<(Vec<u8>, u32)>> {
        if node::insert(self.bytes_mut(at), index, key, payload) {
            return Ok(None);
        }
        let page_size = self.pager.page_size;
        let old: Box<[u8]> = self.bytes_mut(at).into();
        let node = Node::new(&old);
        let mut cells = node.cells();
        let key = Parts::whole(key);
        cells.insert(index, Cell { key, payload });
        if node::size_of(&cells) <= page_size {
            node::build(self.bytes_mut(at), node.shape(), &cells);
            return Ok(None);
        }
        let is_leaf = node.is_leaf();
        // What is put behind everything else will be followed by more of its kind.
        let is_append = index == node.count() && cells.len() > 2;
        let middle = match (is_append, is_leaf) {
            (true, true) => cells.len() - 1,
            (true, false) => cells.len() - 2,
            (false, _) => node::split_point(&cells, page_size, is_leaf),
        };
        let right = self.allocate()?;
        let (lower, upper) = cells.split_at(middle);
        let (separator, shape, upper) = divide(node, lower, upper);
        node::build(self.bytes_mut(at), node.shape(), lower);
        node::build(self.bytes_mut(right), shape, upper);
        Ok(Some((separator, right)))
    }

    /// Puts a new root above the old one, `left`, and what was split from it.
    fn grow(&mut self, tree: &mut Tree, left: u32, separator: &[u8], right: Ref) -> Result<()> {
        let level = self.node(left).level() + 1;
        let root = self.allocate()?;
        let shape = Shape {
            level,
            link: Some(self.reference(left)),
        };
        let key = Parts::whole(separator);
        let payload = &right.encode();
        node::build(self.bytes_mut(root), shape, &[Cell { key, payload }]);
        tree.root = Some(self.reference(root));
        Ok(())
    }
}

/// How the cells of `node` are divided: the key between the two pages, what the upper page is, and its
/// cells. Of a leaf that key is as short as it can be; of a branch it is the first upper one, which
/// moves up.
pub(crate) fn divide<'a, 'c>(
    node: Node<'_>,
    lower: &[Cell<'a>],
    upper: &'c [Cell<'a>],
) -> (Vec<u8>, Shape, &'c [Cell<'a>]) {
    let (first, rest) = upper.split_first().expect("both parts have cells");
    let mut separator = first.key.to_vec();
    let level = node.level();
    if !node.is_leaf() {
        let link = Some(Ref::decode(first.payload));
        return (separator, Shape { level, link }, rest);
    }
    let last = lower.last().expect("both parts have cells");
    separator.truncate(last.key.common(first.key) + 1);
    (separator, Shape { level, link: None }, upper)
}
