//! Slotted pages: the nodes of a tree, as bytes.
//!
//! A page begins with a header, then come the slots, in the order of their keys, then free bytes, then
//! the cells, then the prefix that all keys of the page share. A cell is the rest of a key and its
//! payload: in a leaf the value, in a branch the reference to the child that holds the keys from this
//! one on; the child with the keys before the first one is in the header.
//!
//! What a page says of itself is checked once, by [`check`], when it comes from the disk; after that a
//! wrong offset is a bug of this crate.
//!
//! Source: Graefe, "Modern B-Tree Techniques", 2011, section 3.5 (prefixes, separators); the heads in
//! the slots are those of `LeanStore`.

mod change;

use std::cmp::Ordering;

use crate::error::Corruption;

pub(crate) use change::{build, insert, remove, replace, set_child, split_point};

/// Bytes of a page's header.
pub(crate) const HEADER: usize = 40;
/// Bytes of the payload of such a value in its leaf: the tag, the length, the first page.
pub(crate) const INDIRECT: usize = 2 + 8 + REF;

/// Bytes of a slot.
pub(crate) const SLOT: usize = 8;
/// Bytes of a reference to a page.
pub(crate) const REF: usize = 12;

const AT_KIND: usize = 4;
const AT_LEVEL: usize = 5;
const AT_COUNT: usize = 6;
const AT_STAMP: usize = 8;
const AT_CELLS: usize = 16;
const AT_DEAD: usize = 18;
const AT_PREFIX: usize = 20;
const AT_LINK: usize = 24;
const AT_LINK_STAMP: usize = 32;

/// The tag of a value that has pages of its own.
pub(crate) const INDIRECT_TAG: u16 = u16::MAX;

const IN_PAGE: &str = "a page is checked when it is read";

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Leaf = 1,
    Branch = 2,
    /// A part of a value.
    Overflow = 3,
    FreeList = 4,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Leaf, Self::Branch, Self::Overflow, Self::FreeList]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A reference to a page: where it is, and the stamp of the transaction that made it, so that an older
/// page at that place is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ref {
    pub(crate) page: u32,
    pub(crate) stamp: u64,
}

impl Ref {
    pub(crate) fn encode(self) -> [u8; REF] {
        let mut bytes = [0; REF];
        put(&mut bytes, 0, &self.page.to_le_bytes());
        put(&mut bytes, 4, &self.stamp.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        Self {
            page: u32_at(bytes, 0),
            stamp: u64_at(bytes, 4),
        }
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let chunk = bytes.get(at..).and_then(|rest| rest.first_chunk());
    *chunk.expect(IN_PAGE)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(chunk(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(chunk(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(chunk(bytes, at))
}

pub(crate) fn slice(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    bytes.get(at..at + len).expect(IN_PAGE)
}

pub(crate) fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes
        .get_mut(at..at + new.len())
        .expect(IN_PAGE)
        .copy_from_slice(new);
}

fn small(n: usize) -> u16 {
    u16::try_from(n).expect("offsets in a page are 16-bit numbers")
}

/// The first four bytes of a key, as a number that has the order of the keys.
pub(crate) fn head_of(key: &[u8]) -> u32 {
    match key.first_chunk::<4>() {
        Some(&[a, b, c, d]) => {
            u32::from(a) << 24 | u32::from(b) << 16 | u32::from(c) << 8 | u32::from(d)
        }
        None => key
            .iter()
            .zip([24, 16, 8])
            .fold(0, |head, (&byte, shift)| head | u32::from(byte) << shift),
    }
}

// ---- what every page has

pub(crate) fn kind(bytes: &[u8]) -> Option<Kind> {
    Kind::from_byte(*bytes.get(AT_KIND)?)
}

pub(crate) fn stamp(bytes: &[u8]) -> u64 {
    u64_at(bytes, AT_STAMP)
}

pub(crate) fn set_stamp(bytes: &mut [u8], stamp: u64) {
    put(bytes, AT_STAMP, &stamp.to_le_bytes());
}

/// The reference in the header: a branch's first child, or the next page of a chain. Page 0 is none.
pub(crate) fn link(bytes: &[u8]) -> Option<Ref> {
    let page = u32_at(bytes, AT_LINK);
    (page != 0).then(|| Ref {
        page,
        stamp: u64_at(bytes, AT_LINK_STAMP),
    })
}

pub(crate) fn set_link(bytes: &mut [u8], link: Option<Ref>) {
    let Ref { page, stamp } = link.unwrap_or(Ref { page: 0, stamp: 0 });
    put(bytes, AT_LINK, &page.to_le_bytes());
    put(bytes, AT_LINK_STAMP, &stamp.to_le_bytes());
}

/// Makes `bytes` a page of a chain: `data` behind the header.
pub(crate) fn build_chained(bytes: &mut [u8], kind: Kind, next: Option<Ref>, data: &[u8]) {
    let stamp = stamp(bytes);
    bytes.fill(0);
    set_stamp(bytes, stamp);
    put(bytes, AT_KIND, &[kind as u8]);
    put(bytes, AT_CELLS, &small(data.len()).to_le_bytes());
    set_link(bytes, next);
    put(bytes, HEADER, data);
}

/// What a page of a chain holds.
pub(crate) fn chained(bytes: &[u8]) -> &[u8] {
    slice(bytes, HEADER, u16_at(bytes, AT_CELLS).into())
}

// ---- keys in two parts

/// A key in two parts: what its page's prefix has of it, and the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) first: &'a [u8],
    pub(crate) rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn whole(key: &'a [u8]) -> Self {
        Self {
            first: &[],
            rest: key,
        }
    }

    pub(crate) fn len(self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// The key without its first `n` bytes.
    fn skip(self, n: usize) -> Self {
        match self.first.get(n..) {
            Some(first) => Self { first, ..self },
            None => Self {
                first: &[],
                rest: self.rest.get(n - self.first.len()..).unwrap_or(&[]),
            },
        }
    }

    fn bytes(self) -> impl Iterator<Item = &'a u8> {
        self.first.iter().chain(self.rest)
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        [self.first, self.rest].concat()
    }

    /// How many bytes `self` and `other` begin with in common.
    pub(crate) fn common(self, other: Self) -> usize {
        let both = self.bytes().zip(other.bytes());
        both.take_while(|(a, b)| a == b).count()
    }
}

/// A key and its payload, on the way from one page to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell<'a> {
    pub(crate) key: Parts<'a>,
    pub(crate) payload: &'a [u8],
}

/// The prefix that all of `cells`, which are in order, share.
fn prefix_len(cells: &[Cell<'_>]) -> usize {
    match cells {
        // Nothing is gained by the prefix of one key, and the next one would undo it.
        [] | [_] => 0,
        [first, .., last] => first.key.common(last.key),
    }
}

/// Bytes that `cells` take in one page, with its header.
pub(crate) fn size_of(cells: &[Cell<'_>]) -> usize {
    let prefix = prefix_len(cells);
    let sizes = cells
        .iter()
        .map(|cell| SLOT + cell.key.len() - prefix + cell.payload.len());
    HEADER + prefix + sizes.sum::<usize>()
}

/// What a node is, apart from its cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// 0 is a leaf.
    pub(crate) level: u8,
    /// A branch's first child.
    pub(crate) link: Option<Ref>,
}

fn put_slot(bytes: &mut [u8], index: usize, at: usize, key_len: usize, head: u32) {
    let slot = HEADER + index * SLOT;
    put(bytes, slot, &small(at).to_le_bytes());
    put(bytes, slot + 2, &small(key_len).to_le_bytes());
    put(bytes, slot + 4, &head.to_le_bytes());
}

// ---- reading

/// A leaf or a branch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    bytes: &'a [u8],
}

impl<'a> Node<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn level(self) -> u8 {
        *self.bytes.get(AT_LEVEL).expect(IN_PAGE)
    }

    pub(crate) fn is_leaf(self) -> bool {
        self.level() == 0
    }

    /// Entries of a leaf; separators of a branch, which has one child more.
    pub(crate) fn count(self) -> usize {
        u16_at(self.bytes, AT_COUNT).into()
    }

    pub(crate) fn prefix(self) -> &'a [u8] {
        let len = usize::from(u16_at(self.bytes, AT_PREFIX));
        slice(self.bytes, self.bytes.len() - len, len)
    }

    fn slots(self) -> &'a [[u8; SLOT]] {
        slice(self.bytes, HEADER, self.count() * SLOT).as_chunks().0
    }

    /// Where cell `index` begins, and the length of the key in it.
    fn cell_at(self, index: usize) -> (usize, usize) {
        place(*self.slots().get(index).expect(IN_PAGE))
    }

    fn payload_at(self, at: usize) -> &'a [u8] {
        let rest = self.bytes.get(at..).expect(IN_PAGE);
        let len = payload_len(rest, self.is_leaf()).expect(IN_PAGE);
        slice(rest, 0, len)
    }

    /// The key of entry `index`.
    pub(crate) fn key(self, index: usize) -> Parts<'a> {
        let (at, len) = self.cell_at(index);
        Parts {
            first: self.prefix(),
            rest: slice(self.bytes, at, len),
        }
    }

    pub(crate) fn payload(self, index: usize) -> &'a [u8] {
        let (at, key_len) = self.cell_at(index);
        self.payload_at(at + key_len)
    }

    pub(crate) fn cells(self) -> Vec<Cell<'a>> {
        let cell = |index| Cell {
            key: self.key(index),
            payload: self.payload(index),
        };
        (0..self.count()).map(cell).collect()
    }

    /// Where `key` is, or where it would be.
    pub(crate) fn search(self, key: &[u8]) -> Result<usize, usize> {
        let prefix = self.prefix();
        let Some(rest) = key.strip_prefix(prefix) else {
            return Err(if key < prefix { 0 } else { self.count() });
        };
        let head = head_of(rest);
        self.slots().binary_search_by(|slot| {
            let [.., a, b, c, d] = *slot;
            match u32::from_le_bytes([a, b, c, d]).cmp(&head) {
                Ordering::Equal => {
                    let (at, len) = place(*slot);
                    self.fetch_value(at);
                    slice(self.bytes, at, len).cmp(rest)
                }
                unequal => unequal,
            }
        })
    }

    /// Looks at what is behind the key at `at`, if that is probably the one that is searched for: so the memory of
    /// a value is waited for together with that of its key, and not after it.
    #[inline]
    fn fetch_value(self, at: usize) {
        const LINE: usize = 64;
        if self.is_leaf() {
            for line in 1..=2 {
                std::hint::black_box(self.bytes.get(at + line * LINE).copied());
            }
        }
    }

    /// Which child of a branch has `key`, counted from 0.
    pub(crate) fn child_index(self, key: &[u8]) -> usize {
        match self.search(key) {
            Ok(index) => index + 1,
            Err(index) => index,
        }
    }

    /// Child `index` of a branch.
    pub(crate) fn child(self, index: usize) -> Ref {
        match index.checked_sub(1) {
            None => link(self.bytes).expect(IN_PAGE),
            Some(cell) => Ref::decode(self.payload(cell)),
        }
    }

    /// Children of a branch.
    pub(crate) fn children(self) -> usize {
        self.count() + 1
    }

    pub(crate) fn shape(self) -> Shape {
        Shape {
            level: self.level(),
            link: link(self.bytes),
        }
    }

    /// Bytes in use, with the header.
    pub(crate) fn used(self) -> usize {
        let cells = self.bytes.len() - usize::from(u16_at(self.bytes, AT_CELLS));
        HEADER + self.count() * SLOT + cells - usize::from(u16_at(self.bytes, AT_DEAD))
    }

    /// True if so little of it is used that it should be merged with a sibling.
    pub(crate) fn is_underfull(self) -> bool {
        self.used() - HEADER < (self.bytes.len() - HEADER) / 4
    }
}

fn place(slot: [u8; SLOT]) -> (usize, usize) {
    let [a, b, c, d, ..] = slot;
    (
        u16::from_le_bytes([a, b]).into(),
        u16::from_le_bytes([c, d]).into(),
    )
}

/// How long the payload is that `bytes` begin with.
fn payload_len(bytes: &[u8], is_leaf: bool) -> Option<usize> {
    if !is_leaf {
        return Some(REF);
    }
    let tag = u16::from_le_bytes(*bytes.first_chunk()?);
    Some(match tag {
        INDIRECT_TAG => INDIRECT,
        len => 2 + usize::from(len),
    })
}

/// Whether `bytes`, which say that they are a leaf or a branch, are a node that can be read.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Corruption> {
    let node = Node::new(bytes);
    let is_leaf = kind(bytes) == Some(Kind::Leaf);
    if is_leaf != node.is_leaf() || is_leaf == link(bytes).is_some() {
        return Err(Corruption::Kind);
    }
    let prefix = usize::from(u16_at(bytes, AT_PREFIX));
    let cells = usize::from(u16_at(bytes, AT_CELLS));
    let end = bytes.len().checked_sub(prefix).ok_or(Corruption::Length)?;
    if HEADER + node.count() * SLOT > cells || cells > end {
        return Err(Corruption::Length);
    }
    let mut live = 0;
    let mut last: Option<&[u8]> = None;
    for slot in node.slots() {
        let (at, key_len) = place(*slot);
        let rest = bytes.get(at..end).filter(|_| at >= cells);
        let rest = rest.ok_or(Corruption::Length)?;
        let (key, payload) = rest.split_at_checked(key_len).ok_or(Corruption::Length)?;
        let len = payload_len(payload, is_leaf).filter(|&len| len <= payload.len());
        live += key_len + len.ok_or(Corruption::Length)?;
        let [.., a, b, c, d] = *slot;
        if u32::from_le_bytes([a, b, c, d]) != head_of(key) || last.is_some_and(|last| last >= key)
        {
            return Err(Corruption::Order);
        }
        last = Some(key);
    }
    if live + usize::from(u16_at(bytes, AT_DEAD)) != end - cells {
        return Err(Corruption::Length);
    }
    Ok(())
}

/// Whether `bytes`, which say that they are a page of a chain, can be read.
pub(crate) fn check_chained(bytes: &[u8]) -> Result<(), Corruption> {
    if HEADER + usize::from(u16_at(bytes, AT_CELLS)) > bytes.len() {
        return Err(Corruption::Length);
    }
    Ok(())
}
