//! What a power loss can leave of a group, if the disk writes sectors whole ([format], section 8).
//!
//! [format]: crate::format

use crate::error::Result;
use crate::frame::GROUP_HEADER_SIZE;
use crate::reader::{Found, SegmentReader};

/// Bytes that such a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// True if the group at `offset`, which is not whole, can be one that was being written: then a sector
/// of it, or of its header if that is not whole, still holds the zeros that were there before.
pub(crate) fn is_possible(reader: &mut SegmentReader, offset: u64) -> Result<bool> {
    let bytes = match reader.peek(offset)? {
        Found::Group(header) => u64::from(header.bytes),
        Found::Bad(_) => 0,
        Found::End => return Ok(true),
    };
    let (_, source) = reader.parts();
    let end = (offset + GROUP_HEADER_SIZE as u64 + bytes).min(source.len());
    let mut at = offset;
    while at < end {
        let next = end.min((at + 1).next_multiple_of(SECTOR));
        if source.get(at, next - at)?.iter().all(|&byte| byte == 0) {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}
