//! The file that a merge writes.

use std::sync::Arc;

use durable_io::File;
use durable_io::codec::put;

use super::Job;
use crate::data_file::Counts;
use crate::error::Result;
use crate::file_header::{FileHeader, Made};
use crate::manifest::FileEntry;
use crate::names;
use crate::record::FIRST_GROUP;
use crate::record::{
    GROUP_HEADER, GROUP_HEADER_SIZE, GroupHeader, Record, align_group, bind_record, digest,
    encode_record,
};
use crate::reserve::Frees;
use crate::store::Store;
use crate::table::Loc;

const GROUP_FITS: &str = "a group is about as large as a step, or one record";

/// The file that a merge writes.
#[derive(Debug)]
pub(super) struct Output {
    /// From the first group on.
    pub(super) file: Option<File>,
    header: FileHeader,
    pub(super) entry: FileEntry,
    /// The group that is filling: records without checks, and the checksums of their bodies.
    pub(super) group: Vec<u8>,
    bodies: Vec<(usize, u32)>,
    /// What is to be pointed to the new place.
    pub(super) moved: Vec<Moved>,
    pub(super) counts: Arc<Counts>,
}

#[derive(Debug)]
pub(super) struct Moved {
    pub(super) hash: u64,
    pub(super) from: Loc,
    /// The offset in the output.
    pub(super) to: u64,
}

impl Store {
    /// An output of which nothing is written yet.
    pub(super) fn create_output(&self) -> Result<Output> {
        let id = self.unique_id()?;
        let mut manifest = self.health.lock(&self.manifest);
        let header = FileHeader {
            store_id: self.settings.store_id,
            number: manifest.next_number,
            id,
            generation: manifest.generation,
            made: Made::ByMerge,
        };
        // Not given twice, also if the merge comes to nothing.
        manifest.next_number += 1;
        Ok(Output {
            file: None,
            header,
            entry: header.entry(),
            group: Vec::new(),
            bodies: Vec::new(),
            moved: Vec::new(),
            counts: Arc::default(),
        })
    }

    /// Writes the group that was filling, and before the first one the header.
    pub(super) fn flush(&self, output: &mut Output) -> Result<()> {
        if output.bodies.is_empty() {
            return Ok(());
        }
        let (mut bytes, check) = output.take_group();
        let mut start = output.entry.end;
        if output.file.is_none() {
            bytes.splice(0..0, output.header.encode());
            start = 0;
            let name = names::data(output.entry.number);
            let created = self.with_reserve(Frees::Files, || {
                let created = self.dir().create_new(&name);
                created.map_err(|error| self.note(error))
            });
            output.file = Some(created?);
        }
        let Some(file) = &output.file else {
            return Ok(());
        };
        // A full disk is met here, before anything is written; or by the write, where nothing can be
        // reserved: what it left is written over by the next one, and counts for nothing before.
        self.with_reserve(Frees::Files, || {
            let allocated = file.allocate(start, bytes.len() as u64);
            let written = allocated.and_then(|()| file.write_all_at(&bytes, start));
            written.map_err(|error| self.note(error))
        })?;
        output.entry.end = start + bytes.len() as u64;
        output.entry.digest = digest(output.entry.digest, check);
        Ok(())
    }

    pub(super) fn finish_output(&self, job: &mut Job) -> Result<()> {
        if let Some(output) = &mut job.output {
            self.flush(output)?;
            if let Some(file) = &output.file {
                // Durable: the output's bytes. Only now may the manifest name it: recovery takes a
                // sealed file for whole.
                let synced = file.sync_data();
                drop(synced.map_err(|error| self.poison(error))?);
            }
        }
        job.is_written = true;
        Ok(())
    }

    pub(super) fn remove_output(&self, output: &Output) {
        // After a failure nobody knows what the manifest names: the next open removes it if it may.
        if !self.health.is_poisoned() {
            self.remove_file(output.entry.number);
        }
    }
}

impl Output {
    pub(super) fn push(&mut self, hash: u64, from: Loc, record: Record<'_>) {
        if self.group.is_empty() {
            // Room for the header.
            self.group.resize(GROUP_HEADER_SIZE, 0);
        }
        let at = self.group.len();
        let body = encode_record(&mut self.group, record.kind, record.key, record.value);
        self.bodies.push((at, body));
        let to = self.entry.end + at as u64;
        self.moved.push(Moved { hash, from, to });
    }

    /// The bytes of the group that was filling, and its check.
    pub(super) fn take_group(&mut self) -> (Vec<u8>, u32) {
        let mut bytes = std::mem::take(&mut self.group);
        let start = self.entry.end;
        let bodies = std::mem::take(&mut self.bodies);
        for &(at, body) in &bodies {
            let place = self.entry.place(start + at as u64);
            let record = bytes.get_mut(at..).expect("a body is within its group");
            bind_record(record, place, body);
        }
        let records = bytes.len() as u64 - GROUP_HEADER;
        // A sealed file ends where the next group would begin.
        let end = align_group(start + bytes.len() as u64) - start;
        bytes.resize(usize::try_from(end).expect(GROUP_FITS), 0);
        let header = GroupHeader {
            bytes: u32::try_from(records).expect(GROUP_FITS),
            count: u32::try_from(bodies.len()).expect(GROUP_FITS),
            durable: FIRST_GROUP,
        };
        let (header, check) = header.encode(self.entry.place(start));
        put(&mut bytes, 0, &header);
        (bytes, check)
    }
}
