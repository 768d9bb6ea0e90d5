//! [`Applied`]: what a store says of itself, and its bytes ([format], section 6).
//!
//! [format]: crate::format

use std::path::Path;

use durable_io::codec::{Decoder, Encoder};
use lsm::View;

use crate::error::{Corruption, Error, Result};
use crate::limits::MAX_LEADER_SIZE;
use crate::types::LogPoint;

/// The keys in [`KEYSPACE`](super::KEYSPACE).
pub(super) const LAST: &[u8] = b"applied";
pub(super) const MEMBERSHIP: &[u8] = b"membership";

/// Up to where entries were applied, and what the group was then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    /// The last entry that was applied; `None` if there was none.
    pub last: Option<LogPoint>,
    /// The last membership that was applied, as it was given to
    /// [`apply`](super::StateMachine::apply); `None` if there was none.
    pub membership: Option<Vec<u8>>,
}

impl Applied {
    /// The index of the last entry; `None`, which is less than every index, if there was none.
    pub fn index(&self) -> Option<u64> {
        self.last.as_ref().map(|point| point.index)
    }

    /// What the store at `path` says in its keyspace `view`.
    pub(super) fn read(view: &View, path: &Path) -> Result<Self> {
        let damaged = || Error::corrupt(path, Corruption::Applied);
        let last = view.get(LAST)?.map(|bytes| {
            let mut decoder = Decoder::new(&bytes);
            let point = decode_point(&mut decoder);
            point.filter(|_| decoder.rest().is_empty())
        });
        let last = last.map(|point| point.ok_or_else(damaged)).transpose()?;
        let membership = view.get(MEMBERSHIP)?.map(|bytes| bytes.to_vec());
        Ok(Self { last, membership })
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u32(u32::from(self.last.is_some()));
        if let Some(point) = &self.last {
            encode_point(point, out);
        }
        out.u32(u32::from(self.membership.is_some()));
        if let Some(membership) = &self.membership {
            encode_bytes(membership, out);
        }
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let mut applied = Self::default();
        if decode_flag(from)? {
            applied.last = Some(decode_point(from)?);
        }
        if decode_flag(from)? {
            applied.membership = Some(decode_bytes(from)?.to_vec());
        }
        Some(applied)
    }
}

pub(super) fn encode_point(point: &LogPoint, out: &mut Encoder) {
    out.u64(point.index).u64(point.term);
    encode_bytes(&point.leader, out);
}

fn decode_point(from: &mut Decoder<'_>) -> Option<LogPoint> {
    Some(LogPoint {
        index: from.u64()?,
        term: from.u64()?,
        leader: decode_bytes(from)
            .filter(|leader| leader.len() <= MAX_LEADER_SIZE)?
            .to_vec(),
    })
}

/// The length, and then the bytes.
pub(super) fn encode_bytes(bytes: &[u8], out: &mut Encoder) {
    let len = u32::try_from(bytes.len()).expect("what is encoded was checked against its limit");
    out.u32(len).bytes(bytes);
}

pub(super) fn decode_bytes<'a>(from: &mut Decoder<'a>) -> Option<&'a [u8]> {
    let len = usize::try_from(from.u32()?).ok()?;
    from.bytes(len)
}

/// 1, if something follows, or 0.
pub(super) fn decode_flag(from: &mut Decoder<'_>) -> Option<bool> {
    match from.u32()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
