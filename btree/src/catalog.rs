//! The catalog: a tree of all tables, by name.

use durable_io::codec::{Decoder, Encoder};

use crate::node::Ref;
use crate::root::Tree;

/// What the catalog says of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) id: u64,
    pub(crate) tree: Tree,
}

/// A table and its name.
pub(crate) type NamedTable = (Vec<u8>, TableEntry);

impl TableEntry {
    pub(crate) fn encode(self) -> Vec<u8> {
        let Ref { page, stamp } = self.tree.root.unwrap_or(Ref { page: 0, stamp: 0 });
        let mut encoder = Encoder::with_capacity(28);
        encoder.u64(self.id).u32(page).u64(stamp).u64(self.tree.len);
        encoder.into_vec()
    }

    /// `None` if `bytes` are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let id = decoder.u64()?;
        let (page, stamp) = (decoder.u32()?, decoder.u64()?);
        let tree = Tree {
            root: (page != 0).then_some(Ref { page, stamp }),
            len: decoder.u64()?,
        };
        let is_sound = decoder.rest().is_empty() && (tree.root.is_none() == (tree.len == 0));
        is_sound.then_some(Self { id, tree })
    }
}
