//! Everything a simulated disk holds, durable and pending, as a value that is cheap to clone.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Chain, EffectId};
use super::hash::mix;
use super::order::Order;
use super::profile::Profile;

mod hashes;
mod names;
mod node;
mod sync;

pub(crate) use node::{Block, DirNode, FileNode, Inode, Node, Unit, size_hash, unit_hash};
pub(crate) use sync::ChainChange;

/// The index of a file or directory in a [`World`].
pub(crate) type Ino = usize;

pub(crate) const ROOT: Ino = 0;

/// The first effect on an empty disk.
pub(crate) const FIRST_EFFECT: EffectId = 1;

/// A rename's two halves: the old name may only be gone where the new one exists, or existed until it was
/// removed.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) dir: Ino,
    pub(crate) removed: (Arc<str>, EffectId),
    pub(crate) added: (Arc<str>, EffectId),
}

/// The whole state of a simulated disk at one instant: what is durable, what is pending, and what a
/// hole may show. Cloning shares everything.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) nodes: Vec<Inode>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) order: Order,
    /// Content of deleted and truncated files, newest last: what an unwritten block may show.
    pub(crate) stale: Vec<Arc<Vec<Unit>>>,
    pub(crate) next_effect: EffectId,
    pub(crate) next_id: u64,
    pub(crate) clock: Duration,
    /// The time of day.
    pub(crate) unix_time: Duration,
    pub(crate) unit: usize,
    /// What is durable keeps its space until a sync has replaced it.
    pub(crate) copies_on_write: bool,
    zero: Arc<Block>,
}

/// More stale sources than this are forgotten, the oldest first.
const STALE_SOURCES: usize = 3;

/// The kernel writes files back in units of this many bytes.
const PAGE: u64 = 4096;

fn errno(code: rustix::io::Errno) -> io::Error {
    code.into()
}

/// What is counted on a simulated disk is in memory, and can be counted there.
pub(crate) fn to_index(n: u64) -> usize {
    usize::try_from(n).expect("a simulated disk fits into memory")
}

impl World {
    /// A number that was not drawn before.
    pub(crate) fn draw_id(&mut self) -> u64 {
        self.next_id += 1;
        mix(self.next_id, 0x1D)
    }

    /// An empty disk that tears at `unit` bytes (512 or 4096).
    pub(crate) fn empty(unit: usize) -> Self {
        Self::with_profile(unit, Profile::STRICT)
    }

    /// An empty disk that tears at `unit` bytes and keeps the promises of `profile`.
    pub(crate) fn with_profile(unit: usize, profile: Profile) -> Self {
        Self {
            nodes: vec![Inode::new(Node::Dir(DirNode::default()))],
            edges: Vec::new(),
            order: Order::new(profile),
            stale: Vec::new(),
            next_effect: FIRST_EFFECT,
            next_id: 0,
            clock: Duration::ZERO,
            unix_time: Duration::ZERO,
            unit,
            copies_on_write: false,
            zero: Block::new(vec![0; unit].into_boxed_slice()),
        }
    }

    pub(crate) fn effect(&mut self) -> EffectId {
        let id = self.next_effect;
        self.next_effect += 1;
        id
    }

    pub(crate) fn dir(&self, ino: Ino) -> io::Result<&DirNode> {
        match self.nodes.get(ino).map(Inode::node) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(errno(rustix::io::Errno::NOTDIR)),
        }
    }

    pub(crate) fn file(&self, ino: Ino) -> io::Result<&FileNode> {
        match self.nodes.get(ino).map(Inode::node) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(errno(rustix::io::Errno::ISDIR)),
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(ino).map(Inode::make_mut) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(errno(rustix::io::Errno::NOTDIR)),
        }
    }

    pub(crate) fn file_mut(&mut self, ino: Ino) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(ino).map(Inode::make_mut) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(errno(rustix::io::Errno::ISDIR)),
        }
    }

    /// The blocks of a file that loses its name may be given to another file, content and all.
    fn remember_stale(&mut self, ino: Ino) {
        let Ok(file) = self.file(ino) else { return };
        let units: Vec<Unit> = file
            .units
            .iter()
            .map(|chain| chain.current().clone())
            .collect();
        if units
            .iter()
            .flatten()
            .all(|block| block.hash == self.zero.hash)
        {
            return;
        }
        if self.stale.len() == STALE_SOURCES {
            self.stale.remove(0);
        }
        self.stale.push(Arc::new(units));
    }

    pub(crate) fn read(&self, ino: Ino, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.file(ino)?;
        let size = *file.size.current();
        if offset >= size {
            return Ok(0);
        }
        let n = usize::try_from(size - offset).map_or(buf.len(), |left| left.min(buf.len()));
        let mut done = 0;
        for part in self.parts(offset, n) {
            let target = buf.get_mut(done..done + part.len);
            let target = target.expect("the parts are those of the buffer");
            match file
                .units
                .get(part.unit)
                .and_then(|chain| chain.current().as_ref())
            {
                Some(block) => {
                    let bytes = block.bytes.get(part.start..part.start + part.len);
                    target.copy_from_slice(bytes.expect("a part lies in one unit"));
                }
                None => target.fill(0),
            }
            done += part.len;
        }
        Ok(n)
    }

    /// Splits the byte range into pieces that each lie in one unit.
    fn parts(&self, offset: u64, len: usize) -> impl Iterator<Item = Part> + use<> {
        let unit = self.unit;
        let mut at = to_index(offset);
        let mut left = len;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let start = at % unit;
            let part = Part {
                unit: at / unit,
                start,
                len: left.min(unit - start),
            };
            at += part.len;
            left -= part.len;
            Some(part)
        })
    }

    pub(crate) fn write(&mut self, ino: Ino, bytes: &[u8], offset: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.lengthen(ino, offset)?;
        let mut done = 0;
        for part in self.parts(offset, bytes.len()) {
            let new = bytes.get(done..done + part.len);
            let new = new.expect("the parts are those of the bytes");
            done += part.len;
            self.write_part(ino, &part, new)?;
        }
        let first = self.next_effect;
        self.grow_by_write(ino, offset + bytes.len() as u64)?;
        self.bind_lengths(ino, first);
        Ok(())
    }

    fn write_part(&mut self, ino: Ino, part: &Part, new: &[u8]) -> io::Result<()> {
        let old = self
            .file(ino)?
            .units
            .get(part.unit)
            .and_then(|chain| chain.current().clone());
        let mut whole = match &old {
            Some(block) => block.bytes.clone(),
            None => vec![0; self.unit].into_boxed_slice(),
        };
        if let Some(target) = whole.get_mut(part.start..part.start + part.len) {
            target.copy_from_slice(new);
        }
        self.set_unit(ino, part.unit, Some(Block::new(whole)))
    }

    /// Appends one version to a unit's chain, unless it changes nothing.
    fn set_unit(&mut self, ino: Ino, index: usize, unit: Unit) -> io::Result<()> {
        let hash = |unit: &Unit| unit.as_ref().map(|block| block.hash);
        let unchanged = match self.file(ino)?.units.get(index) {
            // A ghost looks written and yet must be written again to become durable; and where the disk
            // copies, the same bytes get a place of their own.
            Some(chain) => {
                let is_copied = self.copies_on_write && chain.pending().is_empty();
                !chain.is_ghost() && !is_copied && hash(chain.current()) == hash(&unit)
            }
            None => unit.is_none(),
        };
        if unchanged {
            return Ok(());
        }
        let effect = self.effect();
        let units = &mut self.file_mut(ino)?.units;
        while units.len() <= index {
            units.push(Chain::durable(None));
        }
        if let Some(chain) = units.get_mut(index) {
            chain.push(unit, effect);
        }
        Ok(())
    }

    /// A write makes the file `size` bytes long, in a step at the end of each page: pages are written
    /// one by one, and a length is the end of those that were.
    fn grow_by_write(&mut self, ino: Ino, size: u64) -> io::Result<()> {
        let mut old = *self.file(ino)?.size.current();
        while old < size {
            let end = (old + 1).next_multiple_of(PAGE);
            self.grow(ino, end.min(size))?;
            old = end;
        }
        Ok(())
    }

    /// The size grows to `size`, in two steps where it crosses the end of the page that held the old
    /// end.
    fn grow(&mut self, ino: Ino, size: u64) -> io::Result<()> {
        let old = *self.file(ino)?.size.current();
        if size <= old {
            return Ok(());
        }
        let boundary = old.next_multiple_of(PAGE);
        if old < boundary && boundary < size {
            let effect = self.effect();
            self.file_mut(ino)?.size.push(boundary, effect);
        }
        let effect = self.effect();
        self.file_mut(ino)?.size.push(size, effect);
        Ok(())
    }

    /// Fills the gap up to `offset` with zeros, as a write beyond the end does.
    fn lengthen(&mut self, ino: Ino, offset: u64) -> io::Result<()> {
        let old = *self.file(ino)?.size.current();
        if offset > old {
            self.zero_holes(ino, old, offset - old)
        } else {
            Ok(())
        }
    }

    /// Reserved space reads as zeros once the reservation is durable.
    pub(crate) fn reserve(&mut self, ino: Ino, offset: u64, len: u64) -> io::Result<()> {
        let first = self.next_effect;
        self.zero_holes(ino, offset, len)?;
        self.enter(first, None);
        Ok(())
    }

    fn zero_holes(&mut self, ino: Ino, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let unit = self.unit as u64;
        let first = to_index(offset / unit);
        let last = to_index((offset + len - 1) / unit);
        for index in first..=last {
            let reserved = self
                .file(ino)?
                .units
                .get(index)
                .is_some_and(|c| c.current().is_some());
            if !reserved {
                let zero = Arc::clone(&self.zero);
                self.set_unit(ino, index, Some(zero))?;
            }
        }
        self.grow(ino, offset + len)
    }

    pub(crate) fn set_len(&mut self, ino: Ino, len: u64) -> io::Result<()> {
        let old = *self.file(ino)?.size.current();
        if len > old {
            return self.reserve(ino, old, len - old);
        }
        if len == old {
            return Ok(());
        }
        self.remember_stale(ino);
        let unit = self.unit as u64;
        let effect = self.effect();
        self.file_mut(ino)?.size.push(len, effect);
        let first_dropped = to_index(len.div_ceil(unit));
        for index in first_dropped..self.file(ino)?.units.len() {
            self.set_unit(ino, index, None)?;
        }
        self.enter(effect, None);
        let start = to_index(len % unit);
        if start > 0 {
            let part = Part {
                unit: first_dropped - 1,
                start,
                len: self.unit - start,
            };
            self.write_part(ino, &part, &vec![0; part.len])?;
        }
        Ok(())
    }

    /// Bytes that files and names occupy, for the space budget.
    pub(crate) fn used_bytes(&self) -> u64 {
        let mut used = 0;
        let mut counted = BTreeSet::new();
        self.for_each_path(&mut |_, node| {
            used += self.unit as u64;
            if let Node::File(file) = node
                && counted.insert(std::ptr::from_ref(node))
            {
                let copies = |chain: &Chain<Unit>| {
                    let is_kept = self.copies_on_write
                        && !chain.pending().is_empty()
                        && chain.version(0).value.is_some();
                    usize::from(chain.current().is_some()) + usize::from(is_kept)
                };
                let units: usize = file.units.iter().map(copies).sum();
                used += (units * self.unit) as u64;
            }
        });
        used
    }

    /// Every path a running process sees, with its node, in order of name.
    pub(crate) fn for_each_path(&self, visit: &mut dyn FnMut(&str, &Node)) {
        self.walk(ROOT, "", visit);
    }

    fn walk(&self, ino: Ino, path: &str, visit: &mut dyn FnMut(&str, &Node)) {
        let Ok(dir) = self.dir(ino) else { return };
        for (name, chain) in &dir.names {
            let Some(child) = *chain.current() else {
                continue;
            };
            let Some(node) = self.nodes.get(child) else {
                continue;
            };
            let path = format!("{path}/{name}");
            visit(&path, node.node());
            if matches!(node.node(), Node::Dir(_)) {
                self.walk(child, &path, visit);
            }
        }
    }

    pub(crate) fn zero_block(&self) -> &Arc<Block> {
        &self.zero
    }
}

#[derive(Debug)]
struct Part {
    unit: usize,
    start: usize,
    len: usize,
}
