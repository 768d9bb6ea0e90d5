//! The files of a snapshot that was received ([format], section 7): nothing in it is believed before its check holds.
//!
//! [format]: crate::format

use std::path::{Path, PathBuf};

use durable_io::codec::Decoder;
use durable_io::engine::{BadHeader, UnsupportedVersion};
use durable_io::{Dir, Disk};

use super::stream::{
    CHECK, CHUNK, FILE_HEADER, FORMAT, PREAMBLE, SnapshotData, check, preamble_place,
};
use crate::error::{Corruption, Error, Result};

/// No file of a store has a longer name.
const MAX_NAME_SIZE: usize = 512;

/// Writes the files of `data` into the new directory `path`.
pub(super) fn unpack(data: &mut SnapshotData, disk: &Disk, path: &Path) -> Result<()> {
    // Durable: the directory's name. Only now may a root name it.
    // Redundant: the store in it is opened, and that syncs this name, too.
    let dir = disk.create_dir(path)?;
    let mut stream = Stream::begin(data, path)?;
    for number in 0..stream.files {
        stream.unpack_file(number, &dir)?;
    }
    if stream.offset != stream.end {
        return Err(stream.damaged());
    }
    for entry in dir.list()? {
        // Durable: the names of the files. Only now may a root name the store that needs them.
        dir.open_dir(&entry.name)?.sync()?;
    }
    // Durable: the names of its directories. Only now may a root name the store that needs them.
    // Redundant: the store in it is opened, and that syncs these names, too.
    dir.sync()?;
    Ok(())
}

struct Stream<'a> {
    data: &'a mut SnapshotData,
    /// Where it is unpacked to, for messages.
    path: PathBuf,
    id: u64,
    files: u64,
    /// Up to where it was read, and where it ends. What stands behind that is of a transfer that was begun anew.
    offset: u64,
    end: u64,
}

/// The header of a file.
struct FileHeader {
    name: String,
    len: u64,
    sent: u64,
}

impl<'a> Stream<'a> {
    fn begin(data: &'a mut SnapshotData, path: &Path) -> Result<Self> {
        let mut stream = Self {
            data,
            path: path.to_owned(),
            id: 0,
            files: 0,
            offset: 0,
            end: 0,
        };
        let preamble = stream.take(PREAMBLE)?;
        let fields = FORMAT.open(&preamble, |fields| Some(preamble_place(fields.u64()?)));
        let mut fields = fields.map_err(|bad| match bad {
            BadHeader::Version(version) => Error::UnsupportedVersion(UnsupportedVersion {
                path: path.to_owned(),
                version,
                supported: FORMAT.version,
            }),
            _ => stream.damaged(),
        })?;
        let mut decode = || Some((fields.u64()?, fields.u64()?, fields.u64()?));
        (stream.id, stream.end, stream.files) = decode().expect("a preamble has these fields");
        Ok(stream)
    }

    fn damaged(&self) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            offset: self.offset,
            reason: Corruption::Received,
        }
    }

    /// The next `size` bytes.
    fn take(&mut self, size: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        let mut rest = bytes.as_mut_slice();
        while !rest.is_empty() {
            match self.data.read_at(rest, self.offset)? {
                0 => return Err(self.damaged()),
                read => {
                    self.offset += read as u64;
                    rest = rest
                        .get_mut(read..)
                        .expect("no more is read than there is room for");
                }
            }
        }
        Ok(bytes)
    }

    fn header(&mut self, number: u64) -> Result<FileHeader> {
        let start = self.offset;
        let mut header = self.take(FILE_HEADER)?;
        let mut fields = Decoder::new(&header);
        let mut decode = || Some((fields.u32()?, fields.u32()?, fields.u64()?, fields.u64()?));
        let (sum, name_len, len, sent) = decode().expect("a header has these fields");
        let name_len = usize::try_from(name_len).ok();
        let name_len = name_len.filter(|len| *len <= MAX_NAME_SIZE && sent <= self.end);
        let name = self.take(name_len.ok_or_else(|| self.damaged())?)?;
        header.extend_from_slice(&name);
        let covered = header
            .get(CHECK..)
            .expect("a header is longer than its check");
        if check(self.id, number, start, covered) != sum || sent > len {
            return Err(self.damaged());
        }
        let name = String::from_utf8(name).map_err(|_not_ours| self.damaged())?;
        Ok(FileHeader { name, len, sent })
    }

    fn unpack_file(&mut self, number: u64, dir: &Dir) -> Result<()> {
        let FileHeader { name, len, sent } = self.header(number)?;
        let (folder, name) = name.split_once('/').ok_or_else(|| self.damaged())?;
        match dir.create_dir(folder) {
            Err(error) if error.is_already_exists() => {}
            other => other?,
        }
        let file = dir.open_dir(folder)?.create_new(name)?;
        // A full disk is met here. What is not sent are zeros.
        file.allocate(0, len)?;
        let mut done = 0;
        while done < sent {
            let start = self.offset;
            let sum = self.take(CHECK)?;
            let sum = Decoder::new(&sum).u32().expect("it is a number");
            let size = (sent - done).min(CHUNK as u64);
            let chunk = self.take(usize::try_from(size).expect("a chunk is small"))?;
            if check(self.id, number, start, &chunk) != sum {
                return Err(self.damaged());
            }
            file.write_all_at(&chunk, done)?;
            done += size;
        }
        // Durable: the file's bytes, and its length. Only now may a root name the store that needs it.
        drop(file.sync_data()?);
        Ok(())
    }
}
