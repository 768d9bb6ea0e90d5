//! Damage: bytes that change under a store. What it promises then is to notice, never to repair.

use std::sync::Arc;

use super::chain::Chain;
use super::world::{Block, FileNode, Node, World};

/// One change to a file that no program made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// The byte at `offset` is xored with `mask`: one bit for a flip.
    Flip {
        /// Byte offset in the file.
        offset: u64,
        /// Which bits change.
        mask: u8,
    },
    /// The byte at `offset` becomes `value`.
    Set {
        /// Byte offset in the file.
        offset: u64,
        /// The new value.
        value: u8,
    },
    /// `len` bytes from `offset` on become zero.
    Zero {
        /// Byte offset in the file.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// The file ends after `len` bytes.
    Truncate {
        /// The new length in bytes.
        len: u64,
    },
    /// The file's name is gone.
    Remove,
}

impl World {
    /// The bytes of the file at `path` (from the root, `/store/file`), or `None` if there is none.
    pub fn file_bytes(&self, path: &str) -> Option<Vec<u8>> {
        let ino = self.find(path)?.2;
        let size = usize::try_from(*self.file(ino).ok()?.size.current()).ok()?;
        let mut bytes = vec![0; size];
        self.read(ino, &mut bytes, 0).ok()?;
        Some(bytes)
    }

    /// This disk with one damage done to the file at `path`, everything on it durable. `None` if
    /// there is no such file, or the damage changes nothing.
    pub fn damaged(&self, path: &str, damage: Damage) -> Option<Self> {
        let (dir, name, ino) = self.find(path)?;
        let mut world = self.keep_unsynced();
        if damage == Damage::Remove {
            let node = world.nodes.get_mut(dir).map(Arc::make_mut)?;
            let Node::Dir(names) = node else { return None };
            names.names.remove(name);
            return Some(world);
        }
        let old = self.file_bytes(path)?;
        let mut bytes = old.clone();
        apply(&mut bytes, damage)?;
        if bytes == old {
            return None;
        }
        let units = bytes
            .chunks(self.unit)
            .map(|chunk| {
                let mut unit = vec![0; self.unit].into_boxed_slice();
                unit.get_mut(..chunk.len())?.copy_from_slice(chunk);
                Some(Chain::durable(Some(Block::new(unit))))
            })
            .collect::<Option<_>>()?;
        let node = Node::File(FileNode {
            size: Chain::durable(bytes.len() as u64),
            units,
        });
        *world.nodes.get_mut(ino)? = Arc::new(node);
        Some(world)
    }

    /// The directory that holds `path`, the last name of `path`, and what it leads to.
    fn find<'p>(&self, path: &'p str) -> Option<(usize, &'p str, usize)> {
        let (parent, name) = path.rsplit_once('/')?;
        let mut dir = super::world::ROOT;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            dir = self.lookup(dir, part).ok()?;
        }
        Some((dir, name, self.lookup(dir, name).ok()?))
    }
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) -> Option<()> {
    let at = |offset: u64| usize::try_from(offset).ok();
    match damage {
        Damage::Flip { offset, mask } => *bytes.get_mut(at(offset)?)? ^= mask,
        Damage::Set { offset, value } => *bytes.get_mut(at(offset)?)? = value,
        Damage::Zero { offset, len } => {
            let from = at(offset)?.min(bytes.len());
            let to = at(offset.saturating_add(len))?.min(bytes.len());
            bytes.get_mut(from..to)?.fill(0);
        }
        Damage::Truncate { len } => bytes.truncate(at(len)?),
        Damage::Remove => return None,
    }
    Some(())
}
