//! Moving the pages of a tree to lower places, and filling its leaves: what is done to a tree to make the
//! file shorter. It changes where entries are, never which there are.

use crate::draft::Draft;
use crate::edit::Path;
use crate::error::Result;
use crate::node::{self, Node, Ref};
use crate::overflow::{self, Stored};
use crate::root::Tree;

/// What a walk over a tree does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Leaves take over what fits from the next one.
    Fill,
    /// Pages from this number on go to free places below it.
    Below(u32),
}

/// How much of a walk is done at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    /// Pages that may be written.
    pub(crate) writes: usize,
    /// Pages that may be looked at.
    pub(crate) looks: usize,
    /// Pages that were written.
    pub(crate) written: usize,
}

impl Portion {
    pub(crate) fn is_over(self) -> bool {
        self.writes == 0 || self.looks == 0
    }

    fn wrote(&mut self, pages: usize) {
        self.writes = self.writes.saturating_sub(pages);
        self.written += pages;
    }

    fn looked(&mut self, pages: usize) {
        self.looks = self.looks.saturating_sub(pages);
    }
}

/// The branch above the leaves that a walk has come to.
struct Place {
    /// From the root to the branch, and which child was taken of each; of the branch, where to begin.
    path: Vec<(Ref, usize)>,
    /// The first key behind the branch; `None` if it is the last one.
    next: Option<Vec<u8>>,
}

impl Draft {
    /// Goes on with a walk over `tree`, from the leaf that has the key `from`. Returns the key to go on
    /// with, or `None` at the end of the tree.
    pub(crate) fn pack(
        &mut self,
        tree: &mut Tree,
        from: &[u8],
        aim: Aim,
        portion: &mut Portion,
    ) -> Result<Option<Vec<u8>>> {
        let Some(root) = tree.root else {
            return Ok(None);
        };
        self.relax()?;
        let Some(place) = self.branch_above(root, from)? else {
            let values = self.move_values(root, aim, portion)?;
            if self.is_to_move(root, aim) || !values.is_empty() {
                let owned = self.own(root)?;
                tree.root = Some(self.reference(owned));
                self.put_values(owned, values)?;
                portion.wrote(1);
            }
            return Ok(None);
        };
        portion.looked(place.path.len());
        let (branch, first) = *place.path.last().expect("a branch is its own place");
        let page = self.view_node(branch)?;
        let node = Node::new(&page);
        let moves_path = place.path.iter().any(|&(r, _)| self.is_to_move(r, aim));
        let mut index = first;
        while index < node.children() && !portion.is_over() && self.has_place(aim) {
            portion.looked(1);
            let leaf = node.child(index);
            let values = self.move_values(leaf, aim, portion)?;
            if !values.is_empty() {
                let next = key_at(node, index + 1).or(place.next);
                drop(page);
                let (_, branch) = self.own_path(tree, &place.path)?;
                let owned = self.own_child(branch, index)?;
                self.put_values(owned, values)?;
                portion.wrote(place.path.len() + 1);
                return Ok(next);
            }
            if moves_path || self.has_work(node, index, aim)? {
                drop(page);
                return self.pack_leaves(tree, (place, index, from), aim, portion);
            }
            index += 1;
        }
        Ok(go_on_at(node, index, from).or(place.next))
    }

    /// The branch above the leaf that has `key`; `None` if the root is a leaf.
    fn branch_above(&self, root: Ref, key: &[u8]) -> Result<Option<Place>> {
        let mut page = self.view_node(root)?;
        if Node::new(&page).is_leaf() {
            return Ok(None);
        }
        let (mut at, mut path, mut next) = (root, Vec::new(), None);
        loop {
            let node = Node::new(&page);
            let index = node.child_index(key);
            path.push((at, index));
            if node.level() == 1 {
                return Ok(Some(Place { path, next }));
            }
            next = key_at(node, index + 1).or(next);
            at = node.child(index);
            page = self.child(at, node.level())?;
        }
    }

    fn is_to_move(&self, r: Ref, aim: Aim) -> bool {
        matches!(aim, Aim::Below(limit) if r.page >= limit) && self.has_place(aim)
    }

    /// Whether something can be moved.
    fn has_place(&self, aim: Aim) -> bool {
        match aim {
            Aim::Below(limit) => self.space.has_below(limit, 1),
            Aim::Fill => true,
        }
    }

    /// Whether there is something to do with the leaf that is child `index` of a branch.
    fn has_work(&self, branch: Node<'_>, index: usize, aim: Aim) -> Result<bool> {
        let leaf = branch.child(index);
        match aim {
            Aim::Below(_) => Ok(self.is_to_move(leaf, aim)),
            Aim::Fill if index + 1 == branch.children() => Ok(false),
            Aim::Fill => Ok(has_room(&self.child(leaf, branch.level())?)),
        }
    }

    /// Does what is to be done with the leaves of a branch, from child `index` on, at least with one.
    fn pack_leaves(
        &mut self,
        tree: &mut Tree,
        (place, mut index, from): (Place, usize, &[u8]),
        aim: Aim,
        portion: &mut Portion,
    ) -> Result<Option<Vec<u8>>> {
        let (path, branch) = self.own_path(tree, &place.path)?;
        portion.wrote(place.path.len());
        loop {
            portion.looked(1);
            let leaf = self.node(branch).child(index);
            if aim == Aim::Fill && self.fill(branch, index)? {
                portion.wrote(1);
                // The leaf may have room for more, or the next one is gone.
            } else {
                if self.is_to_move(leaf, aim) {
                    self.own_child(branch, index)?;
                    portion.wrote(1);
                }
                index += 1;
            }
            let is_last = index == self.node(branch).children();
            if is_last || portion.is_over() || !self.has_place(aim) {
                break;
            }
            if self.has_value_to_move(branch, index, aim)? {
                break;
            }
        }
        let next = go_on_at(self.node(branch), index, from).or(place.next);
        if aim == Aim::Fill {
            self.rebalance(tree, path, branch)?;
        }
        Ok(next)
    }

    /// Makes the pages of `path` the transaction's own; returns those above the last one, and that.
    fn own_path(&mut self, tree: &mut Tree, path: &[(Ref, usize)]) -> Result<(Path, u32)> {
        let root = tree.root.expect("a path begins at a root");
        let mut at = self.own(root)?;
        tree.root = Some(self.reference(at));
        let (_, above) = path.split_last().expect("a path ends at a branch");
        let mut owned = Path::new();
        for &(_, index) in above {
            owned.push((at, index));
            at = self.own_child(at, index)?;
        }
        Ok((owned, at))
    }

    /// Moves what fits into leaf `index` of a branch from the next one; returns whether anything did.
    fn fill(&mut self, branch: u32, index: usize) -> Result<bool> {
        let node = self.node(branch);
        if index + 1 >= node.children() {
            return Ok(false);
        }
        let (left, right, level) = (node.child(index), node.child(index + 1), node.level());
        let (left_page, right_page) = (self.child(left, level)?, self.child(right, level)?);
        if !has_room(&left_page) {
            return Ok(false);
        }
        let (lower, upper) = (Node::new(&left_page), Node::new(&right_page));
        let cells = [lower.cells(), upper.cells()].concat();
        let page_size = self.pager.page_size;
        let fits = |&count: &usize| {
            let cells = cells.get(..count).expect("at most all of them");
            node::size_of(cells) <= page_size
        };
        let counts: Vec<_> = (0..=cells.len()).collect();
        let most = counts.partition_point(fits) - 1;
        if most == cells.len() {
            drop((left_page, right_page));
            self.mend(branch, index + 1)?;
            return Ok(true);
        }
        if most <= lower.count() {
            return Ok(false);
        }
        self.share(branch, index, cells.split_at(most), (left, lower), right)
    }

    // ---- values that have pages of their own

    /// The payloads of the values in a leaf that have pages of their own which are to be moved, and where
    /// they stand.
    fn values_to_move(&self, leaf: Ref, aim: Aim) -> Result<Vec<(usize, Vec<u8>)>> {
        let Aim::Below(limit) = aim else {
            return Ok(Vec::new());
        };
        let page = self.view_node(leaf)?;
        let leaf = Node::new(&page);
        let mut found = Vec::new();
        for index in 0..leaf.count() {
            let payload = leaf.payload(index);
            let Stored::Indirect { len, first } = overflow::stored(payload) else {
                continue;
            };
            let (mut pages, mut is_above) = (0, false);
            let view = |r| self.view(r);
            overflow::walk(&self.pager, view, len, first, |r, _| {
                pages += 1;
                is_above |= r.page >= limit;
            })?;
            if is_above && self.space.has_below(limit, pages) {
                found.push((index, payload.to_vec()));
            }
        }
        Ok(found)
    }

    /// Whether child `index` of a branch has such a value: that is to be moved first.
    fn has_value_to_move(&self, branch: u32, index: usize, aim: Aim) -> Result<bool> {
        let leaf = self.node(branch).child(index);
        Ok(!self.values_to_move(leaf, aim)?.is_empty())
    }

    /// Copies the values of a leaf whose pages are to be moved. Before the leaf is the transaction's own:
    /// what it writes may go to the file meanwhile.
    fn move_values(&mut self, leaf: Ref, aim: Aim, portion: &mut Portion) -> Result<Vec<Moved>> {
        let mut moved = Vec::new();
        for (index, old) in self.values_to_move(leaf, aim)? {
            let Stored::Indirect { len, first } = overflow::stored(&old) else {
                continue;
            };
            let value = overflow::read(&self.pager, |r| self.view(r), len, first)?;
            let new = self.write_overflow(&value)?;
            portion.wrote(value.len().div_ceil(self.pager.page_size));
            moved.push(Moved { index, old, new });
            if portion.is_over() {
                break;
            }
        }
        Ok(moved)
    }

    /// Makes a leaf of the transaction name the copies.
    fn put_values(&mut self, leaf: u32, values: Vec<Moved>) -> Result<()> {
        for Moved { index, old, new } in values {
            self.drop_overflow(&old)?;
            let is_replaced = node::replace(self.bytes_mut(leaf), index, &new);
            debug_assert!(is_replaced, "both payloads have one length");
        }
        Ok(())
    }
}

/// A value that was copied: where it stands in its leaf, its payload there, and that of the copy.
struct Moved {
    index: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// The key to go on with at child `index` of a branch that was begun at `from`; `None` behind its last child.
fn go_on_at(branch: Node<'_>, index: usize, from: &[u8]) -> Option<Vec<u8>> {
    if index == 0 {
        return Some(from.to_vec());
    }
    key_at(branch, index)
}

/// The first key of child `index` of a branch, if it has that child and it is not the first one.
fn key_at(branch: Node<'_>, index: usize) -> Option<Vec<u8>> {
    let separator = index.checked_sub(1)?;
    (separator < branch.count()).then(|| branch.key(separator).to_vec())
}

/// Whether a leaf is so empty that it is worth to be filled: by more than an eighth.
fn has_room(leaf: &[u8]) -> bool {
    Node::new(leaf).used() < leaf.len() / 8 * 7
}
