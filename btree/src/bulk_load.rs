//! Filling an empty tree with entries in the order of their keys: leaves and branches are made one after the
//! other, each as full as it gets, and none is looked at again.
//!
//! Source: Graefe, "Modern B-Tree Techniques", 2011, section 6.2 (bulk insertions).

use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::limits::MAX_VALUE_SIZE;
use crate::node::{self, Cell, HEADER, Parts, Ref, SLOT, Shape};
use crate::record::Change;
use crate::root::Tree;
use crate::work::{Work, check_size};

impl Work {
    /// Fills a table that is empty with `entries`, whose keys are in order; returns how many there were.
    pub(crate) fn bulk_load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        table: u64,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        if self.tree(table).root.is_some() {
            let name = self.name_of(table);
            return Err(Error::NotEmpty { name });
        }
        self.draft.begin_to_grow();
        self.edit(|work| {
            let mut load = BulkLoad::default();
            for (key, value) in entries {
                let (key, value) = (key.as_ref(), value.as_ref());
                work.check_key("key", key)?;
                check_size("value", value.len() as u64, MAX_VALUE_SIZE)?;
                if let Some(last) = load.last().filter(|last| *last >= key) {
                    let (last, key) = (last.to_vec(), key.to_vec());
                    return Err(Error::OutOfOrder { last, key });
                }
                load.push(&mut work.draft, key, value)?;
                work.note(Change::Put { table, key, value });
            }
            let tree = load.finish(&mut work.draft)?;
            work.set_tree(table, tree);
            Ok(tree.len)
        })
    }
}

/// A tree that is being filled. What is not in pages yet is the end of each level.
#[derive(Debug, Default)]
struct BulkLoad {
    leaf: Filling,
    /// Of the leaf, as of each branch above it.
    separator: Option<Vec<u8>>,
    /// The last branches, from the lowest level up.
    branches: Vec<Branch>,
    len: u64,
}

/// A branch that is being filled. It gets its first separator before it is written: so it has one.
#[derive(Debug)]
struct Branch {
    /// What divides it from the branch before; none of the first one of a level.
    separator: Option<Vec<u8>>,
    first: Ref,
    rest: Filling,
}

impl BulkLoad {
    /// The last key.
    fn last(&self) -> Option<&[u8]> {
        self.leaf.last_key()
    }

    /// Adds an entry behind all others.
    fn push(&mut self, draft: &mut Draft, key: &[u8], value: &[u8]) -> Result<()> {
        let payload = draft.payload_of(key, value)?;
        if self.leaf.size_with(key, payload.len()) > draft.pager.page_size {
            let separator = separator(self.leaf.last_key(), key);
            self.end_leaf(draft)?;
            self.separator = separator;
        }
        self.leaf.push(key, &payload);
        self.len += 1;
        Ok(())
    }

    /// The tree, with everything that was added.
    fn finish(mut self, draft: &mut Draft) -> Result<Tree> {
        if self.len == 0 {
            return Ok(Tree::default());
        }
        self.end_leaf(draft)?;
        let mut level = 0;
        loop {
            let branch = self
                .branches
                .get_mut(level)
                .expect("above what was written there is a branch");
            if branch.rest.is_empty() {
                // Nothing is beside its only child.
                return Ok(Tree {
                    root: Some(branch.first),
                    len: self.len,
                });
            }
            let separator = branch.separator.take();
            let page = branch.write(draft, level)?;
            level += 1;
            self.add(draft, level, separator, page)?;
        }
    }

    fn end_leaf(&mut self, draft: &mut Draft) -> Result<()> {
        let shape = Shape {
            level: 0,
            link: None,
        };
        let page = self.leaf.write(draft, shape)?;
        let separator = self.separator.take();
        self.add(draft, 0, separator, page)
    }

    /// Adds the child `page` to the last branch of `level`, of which the lowest is 0, behind `separator`.
    fn add(
        &mut self,
        draft: &mut Draft,
        mut level: usize,
        mut separator: Option<Vec<u8>>,
        mut page: Ref,
    ) -> Result<()> {
        loop {
            let Some(branch) = self.branches.get_mut(level) else {
                self.branches.push(Branch::new(separator, page));
                return Ok(());
            };
            let key = separator.expect("only the first child of a level has no separator");
            let payload = page.encode();
            if branch.rest.size_with(&key, payload.len()) <= draft.pager.page_size {
                branch.rest.push(&key, &payload);
                return Ok(());
            }
            // The last child begins the next branch, so that this one's first separator is there already.
            let (up, first) = branch.rest.pop().expect("a page holds three separators");
            let mut next = Branch::new(Some(up), Ref::decode(&first));
            next.rest.push(&key, &payload);
            let mut full = std::mem::replace(branch, next);
            page = full.write(draft, level)?;
            separator = full.separator;
            level += 1;
        }
    }
}

impl Branch {
    fn new(separator: Option<Vec<u8>>, first: Ref) -> Self {
        Self {
            separator,
            first,
            rest: Filling::default(),
        }
    }

    fn write(&mut self, draft: &mut Draft, level: usize) -> Result<Ref> {
        let level = u8::try_from(level + 1).expect("a tree is not so high");
        let link = Some(self.first);
        self.rest.write(draft, Shape { level, link })
    }
}

/// The shortest key that is above `last`, and not above `first`, which is above `last`.
fn separator(last: Option<&[u8]>, first: &[u8]) -> Option<Vec<u8>> {
    let common = Parts::whole(last?).common(Parts::whole(first));
    first.get(..=common).map(<[u8]>::to_vec)
}

/// Cells that will be a page, in the order of their keys.
#[derive(Debug, Default)]
struct Filling {
    /// Keys and payloads, one behind the other.
    bytes: Vec<u8>,
    /// The lengths of the key and of the payload of each.
    lens: Vec<(usize, usize)>,
    last_key: Vec<u8>,
}

impl Filling {
    fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    fn last_key(&self) -> Option<&[u8]> {
        (!self.is_empty()).then_some(&*self.last_key)
    }

    /// What all keys begin with if `key` comes, too; the first key stands at the beginning.
    fn prefix_with(&self, key: &[u8]) -> usize {
        let (first, _) = self.lens.first().copied().unwrap_or((0, 0));
        let first = self.bytes.get(..first).expect("the first key is there");
        // Those between the first and the last one have it in common, too.
        Parts::whole(first).common(Parts::whole(key))
    }

    /// Bytes of a page with all cells and one more, which is [`node::size_of`] them.
    fn size_with(&self, key: &[u8], payload: usize) -> usize {
        let prefix = self.prefix_with(key);
        let cells = self.lens.len();
        let whole = self.bytes.len() + key.len() + payload + (cells + 1) * SLOT;
        match cells {
            // Of one key there is no prefix.
            0 => HEADER + whole,
            _ => HEADER + whole - cells * prefix,
        }
    }

    fn push(&mut self, key: &[u8], payload: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(payload);
        self.lens.push((key.len(), payload.len()));
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    /// Takes the last cell back.
    fn pop(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (key, payload) = self.lens.pop()?;
        let payload = self.bytes.split_off(self.bytes.len() - payload);
        let key = self.bytes.split_off(self.bytes.len() - key);
        Some((key, payload))
    }

    /// Makes a page of the cells, and begins anew.
    fn write(&mut self, draft: &mut Draft, shape: Shape) -> Result<Ref> {
        draft.relax()?;
        let page = draft.allocate()?;
        let mut rest = self.bytes.as_slice();
        let mut cells = Vec::with_capacity(self.lens.len());
        for &(key, payload) in &self.lens {
            let (key, behind) = rest.split_at(key);
            let (payload, behind) = behind.split_at(payload);
            let key = Parts::whole(key);
            cells.push(Cell { key, payload });
            rest = behind;
        }
        node::build(draft.bytes_mut(page), shape, &cells);
        self.bytes.clear();
        self.lens.clear();
        Ok(draft.reference(page))
    }
}
