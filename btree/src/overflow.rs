//! Values that have pages of their own: a chain of them.

use std::ops::Deref;

use crate::draft::Draft;
use crate::error::{Corruption, Result};
use crate::limits::MAX_VALUE_SIZE;
use crate::node::INDIRECT;
use crate::node::{self, HEADER, INDIRECT_TAG, Kind, Ref, put, u16_at, u64_at};
use crate::pager::Pager;

/// A value as its leaf has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored<'a> {
    Inline(&'a [u8]),
    Indirect { len: u64, first: Ref },
}

/// What a leaf's payload says.
pub(crate) fn stored(payload: &[u8]) -> Stored<'_> {
    let rest = payload
        .get(2..)
        .expect("payloads are checked with their page");
    if u16_at(payload, 0) == INDIRECT_TAG {
        Stored::Indirect {
            len: u64_at(rest, 0),
            first: Ref::decode(rest.get(8..).expect("payloads are checked with their page")),
        }
    } else {
        Stored::Inline(rest)
    }
}

/// The payload of a value that stands in its leaf.
pub(crate) fn inline(value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("a value in a leaf is shorter than a page");
    let mut payload = Vec::with_capacity(2 + value.len());
    payload.extend_from_slice(&len.to_le_bytes());
    payload.extend_from_slice(value);
    payload
}

/// The payload of a value of `len` bytes whose pages begin with `first`.
pub(crate) fn indirect(len: u64, first: Ref) -> Vec<u8> {
    let mut payload = vec![0; INDIRECT];
    put(&mut payload, 0, &INDIRECT_TAG.to_le_bytes());
    put(&mut payload, 2, &len.to_le_bytes());
    put(&mut payload, 10, &first.encode());
    payload
}

/// Reads a value of `len` bytes from the chain that begins with `first`.
pub(crate) fn read<P: Deref<Target = [u8]>>(
    pager: &Pager,
    view: impl Fn(Ref) -> Result<P>,
    len: u64,
    first: Ref,
) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    walk(pager, view, len, first, |_, data| {
        value.extend_from_slice(data);
    })?;
    Ok(value)
}

/// Calls `each` with every page of a chain. What it reads is bounded by what the chain's length says,
/// which is bounded by the largest value.
pub(crate) fn walk<P: Deref<Target = [u8]>>(
    pager: &Pager,
    view: impl Fn(Ref) -> Result<P>,
    len: u64,
    first: Ref,
    mut each: impl FnMut(Ref, &[u8]),
) -> Result<()> {
    if len > MAX_VALUE_SIZE {
        return Err(pager.corrupt(first.page, Corruption::Length));
    }
    let (mut left, mut next) = (len, Some(first));
    while let Some(r) = next {
        let page = view(r)?;
        let data = match node::kind(&page) {
            Some(Kind::Overflow) => node::chained(&page),
            _ => return Err(pager.corrupt(r.page, Corruption::Kind)),
        };
        // Every page but the last is full: a chain cannot be longer than its value.
        let full = (pager.page_size - HEADER) as u64;
        if data.len() as u64 != left.min(full) || data.is_empty() {
            return Err(pager.corrupt(r.page, Corruption::Length));
        }
        left -= data.len() as u64;
        next = node::link(&page);
        if next.is_some() == (left == 0) {
            return Err(pager.corrupt(r.page, Corruption::Length));
        }
        each(r, data);
    }
    Ok(())
}

impl Draft {
    /// Writes `value` to pages of its own and returns the payload for its leaf.
    pub(crate) fn write_overflow(&mut self, value: &[u8]) -> Result<Vec<u8>> {
        let mut next = None;
        let full = self.pager.page_size - HEADER;
        // From the last one, so that each knows the next.
        let mut parts: Vec<_> = value.chunks(full).collect();
        while let Some(part) = parts.pop() {
            self.relax()?;
            let number = self.allocate()?;
            node::build_chained(self.bytes_mut(number), Kind::Overflow, next, part);
            next = Some(self.reference(number));
        }
        let first = next.expect("a value of its own is not empty");
        Ok(indirect(value.len() as u64, first))
    }

    /// Drops the pages of the value whose payload is `payload`, if it has any.
    pub(crate) fn drop_overflow(&mut self, payload: &[u8]) -> Result<()> {
        let Stored::Indirect { len, first } = stored(payload) else {
            return Ok(());
        };
        let mut chain = Vec::new();
        walk(
            &self.pager,
            |r| self.view(r),
            len,
            first,
            |r, _| chain.push(r),
        )?;
        for r in chain {
            self.discard(r);
        }
        Ok(())
    }
}
