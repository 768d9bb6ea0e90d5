//! Inputs that are damaged. What is damaged and of no use any more may go; a file with anything else in it
//! stays as it is.

use std::sync::Arc;

use super::Job;
use crate::data_file::DataFile;
use crate::error::{Corruption, Error, Result};
use crate::hint::Hint;
use crate::record::Kind;
use crate::scan::{Scan, Step};
use crate::store::Store;
use crate::table::Loc;

impl Store {
    /// Copies what is live of the damaged group where `scan` stands, and goes to the next one. The hint says
    /// what was in it; what of that is damaged must not be needed by anybody.
    ///
    /// # Errors
    /// The damage, if it is of a record that the index names, or of a tombstone that is needed, or if there
    /// is no hint to tell.
    pub(super) fn copy_around(
        &self,
        job: &mut Job,
        place: usize,
        input: &Arc<DataFile>,
        scan: &mut Scan,
        found: Step,
    ) -> Result<()> {
        let group = scan.offset;
        let (from, reason) = match found {
            Step::Bad { offset, reason } => (offset, reason),
            _ => (group, Corruption::Length),
        };
        let hint = input
            .sealed
            .and_then(|entry| Hint::load(self.dir(), &entry));
        let hint = hint.ok_or_else(|| scan.corrupt(from, reason))?;
        scan.skip();
        scan.seek()?;
        let end = if scan.header()?.is_some() {
            scan.offset
        } else {
            input.end()
        };
        scan.offset = end;
        // The records before the damage have been copied.
        for entry in hint
            .entries()
            .filter(|entry| (from..end).contains(&entry.offset))
        {
            let bytes = input.record_bytes(entry.offset);
            let record = bytes
                .as_ref()
                .map(|bytes| input.decode(bytes, entry.offset));
            if let Ok(Ok(record)) = record {
                self.copy_record(job, place, input, entry.offset, record)?;
                continue;
            }
            let loc = Loc::new(input.slot, entry.offset);
            let is_used = match entry.kind {
                Kind::Put => self.keydir.names(entry.hash, loc),
                Kind::Delete => job.needed.is_needed(entry.hash, place),
            };
            if is_used {
                let damage = scan.corrupt(entry.offset, Corruption::Checksum);
                return Err(self.name_key(damage, input, entry.offset));
            }
        }
        Ok(())
    }

    /// Of the `inputs` of a merge that met `error`: what is to be merged all the same. All, if it is not for
    /// one of them.
    pub(super) fn without_damaged(inputs: &[(usize, Arc<DataFile>)], error: &Error) -> Vec<u64> {
        if let Error::Corrupt { path, .. } = error {
            let damaged = inputs.iter().filter(|(_, file)| file.path() == path);
            damaged.for_each(|(_, file)| file.set_damaged());
        }
        let whole = inputs.iter().filter(|(_, file)| !file.is_damaged());
        whole.map(|(_, file)| file.number).collect()
    }
}
