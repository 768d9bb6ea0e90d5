//! Reading a data file around damage: every record that passes its check, wherever it stands.

use crate::error::{Corruption, Result};
use crate::record::{GROUP_ALIGN, Record};
use crate::scan::{Scan, Step};

/// What a walk meets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Met<'a> {
    /// A record that is right.
    Record { offset: u64, record: Record<'a> },
    /// The group that begins here is whole; its records have been met.
    Whole { group: u64 },
    /// The group that begins here is not. Those of its records that are right are met all the same.
    Bad {
        group: u64,
        offset: u64,
        reason: Corruption,
    },
}

impl Scan {
    /// Goes through the groups from here on, and around those that are damaged. Ends where nothing but
    /// zeros follow.
    ///
    /// # Cost
    /// Behind damage every byte is tried for a record, up to the next group.
    pub(crate) fn walk(&mut self, mut visit: impl FnMut(Met<'_>)) -> Result<()> {
        loop {
            let group = self.offset;
            let met = |offset, record: Record<'_>| visit(Met::Record { offset, record });
            let (offset, reason) = match self.step(met)? {
                Step::Group(_) => {
                    visit(Met::Whole { group });
                    continue;
                }
                Step::End if self.nonzero_end()?.is_none() => return Ok(()),
                Step::End => (group, Corruption::Length),
                Step::Bad { offset, reason } => (offset, reason),
            };
            visit(Met::Bad {
                group,
                offset,
                reason,
            });
            self.offset = offset + 1;
            self.resume(&mut visit)?;
        }
    }

    /// Goes to the next group header, or to the end; the records on the way are visited.
    fn resume(&mut self, visit: &mut impl FnMut(Met<'_>)) -> Result<()> {
        while self.left() > 0 {
            if self.offset.is_multiple_of(GROUP_ALIGN) && self.header()?.is_some() {
                return Ok(());
            }
            let offset = self.offset;
            let met = |record: Record<'_>| visit(Met::Record { offset, record });
            self.offset += self.record_here(met)?.unwrap_or(1);
        }
        Ok(())
    }
}
