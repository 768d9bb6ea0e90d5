//! A file or directory, durable and pending.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::{Ino, to_index};
use crate::sim::chain::Chain;
use crate::sim::hash::{mix, mix_bytes};

/// A file or directory, which worlds share until one of them changes it, and the hash of what it shows.
#[derive(Clone, Debug)]
pub(crate) struct Inode(Arc<Hashed>);

#[derive(Debug)]
struct Hashed {
    node: Node,
    content: OnceLock<u64>,
}

impl Clone for Hashed {
    /// Only who changes it needs a copy.
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            content: OnceLock::new(),
        }
    }
}

impl Inode {
    pub(crate) fn new(node: Node) -> Self {
        let content = OnceLock::new();
        Self(Arc::new(Hashed { node, content }))
    }

    pub(crate) fn node(&self) -> &Node {
        &self.0.node
    }

    pub(crate) fn make_mut(&mut self) -> &mut Node {
        let hashed = Arc::make_mut(&mut self.0);
        hashed.content.take();
        &mut hashed.node
    }

    /// The hash of what a running process sees in it, in units of `unit` bytes.
    pub(crate) fn content_hash(&self, unit: usize) -> u64 {
        *self.0.content.get_or_init(|| match &self.0.node {
            Node::File(file) => file_hash(*file.size.current(), unit, |index| {
                let chain = file.units.get(index)?;
                chain.current().as_ref().map(|block| block.hash)
            }),
            Node::Dir(_) => 1,
        })
    }

    /// True if both are the same, and not only equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that no other one has while this lives.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

/// One unit of tearing: the kernel writes it whole or not at all.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) hash: u64,
    pub(crate) bytes: Box<[u8]>,
}

impl Block {
    pub(crate) fn new(bytes: Box<[u8]>) -> Arc<Self> {
        Arc::new(Self {
            hash: mix_bytes(&bytes),
            bytes,
        })
    }
}

/// A unit's content; `None` where nothing has ever been written or reserved: a hole.
pub(crate) type Unit = Option<Arc<Block>>;

#[derive(Clone, Debug)]
pub(crate) struct FileNode {
    pub(crate) size: Chain<u64>,
    pub(crate) units: Vec<Chain<Unit>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct DirNode {
    pub(crate) names: BTreeMap<Arc<str>, Chain<Option<Ino>>>,
    /// It has lost its name: whoever still has it open cannot make a name in it.
    pub(crate) is_removed: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(FileNode),
    Dir(DirNode),
}

impl FileNode {
    /// True if a unit was never written.
    pub(crate) fn has_hole(&self) -> bool {
        self.units.iter().any(|unit| unit.current().is_none())
    }
}

impl Node {
    pub(crate) fn has_pending(&self) -> bool {
        match self {
            Self::File(file) => {
                !file.size.pending().is_empty()
                    || file.units.iter().any(|unit| !unit.pending().is_empty())
            }
            Self::Dir(dir) => dir.names.values().any(|chain| !chain.pending().is_empty()),
        }
    }

    /// True if a crash can leave nothing but what is there.
    pub(crate) fn is_settled(&self) -> bool {
        let ghosts = match self {
            Self::File(file) => file.size.is_ghost() || file.units.iter().any(Chain::is_ghost),
            Self::Dir(dir) => dir.is_removed || dir.names.values().any(Chain::is_ghost),
        };
        !ghosts && !self.has_pending()
    }
}

/// The hash of a file's visible content; units beyond the size do not count.
fn file_hash(size: u64, unit: usize, hash_of: impl Fn(usize) -> Option<u64>) -> u64 {
    let units = (0..to_index(size.div_ceil(unit as u64))).map(|at| unit_hash(at, hash_of(at)));
    units.fold(size_hash(size), u64::wrapping_add)
}

/// What its size adds to the hash of a file.
pub(crate) fn size_hash(size: u64) -> u64 {
    mix(0x51ED, size)
}

/// What unit `index` of content `hash` adds to it.
pub(crate) fn unit_hash(index: usize, hash: Option<u64>) -> u64 {
    // A hole reads as zeros; unit 0 and a zero block must still differ from "no unit".
    mix(index as u64 + 1, hash.unwrap_or(0))
}
