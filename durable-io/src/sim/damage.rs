//! Damage: bytes that change under a store. What it promises then is to notice, never to repair.

use super::chain::Chain;
use super::world::{Block, FileNode, Inode, Node, World, to_index};

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
            let node = world.nodes.get_mut(dir)?.make_mut();
            let Node::Dir(names) = node else { return None };
            names.names.remove(name);
            return Some(world);
        }
        let file = world.file(ino).ok()?;
        let (mut size, mut units) = (*file.size.current(), file.units.clone());
        let changed = match damage {
            Damage::Flip { offset, .. } | Damage::Set { offset, .. } => offset..offset + 1,
            Damage::Zero { offset, len } => offset..offset.saturating_add(len),
            Damage::Truncate { len } => len..size,
            Damage::Remove => 0..0,
        };
        let changed = changed.start.min(size)..changed.end.min(size);
        if let Damage::Truncate { len } = damage {
            size = size.min(len);
        }
        let len = to_index(size.div_ceil(self.unit as u64));
        units.resize(len, Chain::durable(None));
        let mut is_changed = size < *file.size.current();
        let unit = self.unit as u64;
        let touched = to_index(changed.start / unit)..to_index(changed.end.div_ceil(unit));
        for (index, chain) in units.iter_mut().enumerate().take(touched.end) {
            if index < touched.start {
                continue;
            }
            let block = chain.current().as_ref();
            let block = block.unwrap_or_else(|| self.zero_block());
            let mut bytes = block.bytes.clone();
            let begin = (index * self.unit) as u64;
            let end = (changed.end - begin).min(unit);
            let part = to_index(changed.start.saturating_sub(begin))..to_index(end);
            for byte in bytes.get_mut(part).expect("it lies in the unit") {
                *byte = match damage {
                    Damage::Flip { mask, .. } => *byte ^ mask,
                    Damage::Set { value, .. } => value,
                    Damage::Zero { .. } | Damage::Truncate { .. } | Damage::Remove => 0,
                };
            }
            let new = Block::new(bytes);
            is_changed |= block.hash != new.hash;
            *chain = Chain::durable(Some(new));
        }
        let size = Chain::durable(size);
        *world.nodes.get_mut(ino)? = Inode::new(Node::File(FileNode { size, units }));
        is_changed.then_some(world)
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
