//! [`read_around`]: what can be read of a range although some of it cannot.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::file::File;

/// A place that cannot be read may hide as much as one page of the system's cache.
const PAGE: u64 = 4 << 10;

/// Bytes that cannot be read, and why.
#[derive(Clone, Debug)]
pub struct Hole {
    /// Where they are in the file.
    pub range: Range<u64>,
    /// What the system answers.
    pub error: Error,
}

/// Fills `bytes` from byte `offset` of `file` on, page by page where it cannot be read at once; what cannot be
/// read, and what is after the end of the file, is zero. Each place that cannot be read is added to `holes`, unless
/// it is known there: to the hole before it, if it continues where that ends.
///
/// # Errors
/// An error that is not [of a place](Error::is_unreadable), as the want of memory: `bytes` then hold nothing to
/// rely on.
pub fn read_around(
    file: &File,
    bytes: &mut [u8],
    offset: u64,
    holes: &mut Vec<Hole>,
) -> Result<()> {
    match file.read_at(bytes, offset) {
        Ok(read) => {
            bytes.split_at_mut(read).1.fill(0);
            return Ok(());
        }
        Err(error) if error.is_unreadable() => {}
        Err(error) => return Err(error),
    }
    let (mut rest, mut at) = (bytes, offset);
    while !rest.is_empty() {
        let to_next = PAGE - at % PAGE;
        let to_next = usize::try_from(to_next).map_or(rest.len(), |page| page.min(rest.len()));
        let (page, following) = rest.split_at_mut(to_next);
        let range = at..at + page.len() as u64;
        (rest, at) = (following, range.end);
        let read = match file.read_at(page, range.start) {
            Err(error) if error.is_unreadable() => {
                add(holes, Hole { range, error });
                0
            }
            read => read?,
        };
        page.split_at_mut(read).1.fill(0);
    }
    Ok(())
}

/// Adds what was not met before, to the hole before it if it continues there.
fn add(holes: &mut Vec<Hole>, hole: Hole) {
    let Range { start, end } = hole.range;
    let known = holes
        .iter_mut()
        .find(|known| known.range.start <= start && start <= known.range.end);
    match known {
        Some(known) => known.range.end = known.range.end.max(end),
        None => holes.push(hole),
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn only_the_pages_that_cannot_be_read_are_missing() {
        let sim = SimDisk::new();
        let dir = sim.disk().open_dir("/").unwrap();
        let file = dir.create_new("file").unwrap();
        file.write_all_at(&vec![7; 20_000], 0).unwrap();
        sim.spoil("/file", 9000..9001);
        sim.spoil("/file", 12_288..12_289);
        let (mut bytes, mut holes) = (vec![1; 30_000], Vec::new());
        // Twice: what is known is not added again.
        for _ in 0..2 {
            read_around(&file, &mut bytes, 0, &mut holes).unwrap();
        }
        assert_eq!(holes.len(), 1);
        assert_eq!(holes[0].range, 8192..16_384);
        for (at, byte) in bytes.iter().enumerate() {
            let is_there = at < 20_000 && !(8192..16_384).contains(&at);
            assert_eq!(*byte, if is_there { 7 } else { 0 }, "{at}");
        }
    }
}
