//! [`SnapshotData`]: a snapshot as one stream of bytes, from node to node ([format], section 7).
//!
//! [format]: crate::format

use durable_io::checksum::{Place, checksum_at};
use durable_io::codec::Encoder;
use durable_io::engine::Format;
use durable_io::{Dir, File};

use super::incoming::Incoming;
use crate::error::Result;

pub(super) const FORMAT: Format = Format {
    magic: *b"raftsnap",
    version: 1,
};
/// Before the first file: the header, the stream's id, its length, how many files there are.
pub(super) const PREAMBLE: usize = Format::FIELDS + 24;
/// Before the name of a file: the check, the length of the name, that of the file, and that of what is sent of it.
pub(super) const FILE_HEADER: usize = 24;
/// So much of a file has one check.
pub(super) const CHUNK: usize = 256 << 10;
/// The check before a chunk.
pub(super) const CHECK: usize = 4;
/// A chunk with its check.
const FRAME: u64 = (CHUNK + CHECK) as u64;

/// The content of a snapshot, as one stream of bytes: to be read from one node, and written to another.
#[derive(Debug)]
pub enum SnapshotData {
    /// One that is here, to be sent. It can be read to its end, also if a newer one takes its place meanwhile.
    Stored(Stored),
    /// One that is being received.
    Incoming(Incoming),
}

impl SnapshotData {
    /// How many bytes there are.
    ///
    /// # Errors
    /// [`Disk`](crate::Error::Disk).
    #[expect(
        clippy::len_without_is_empty,
        reason = "none is empty, and a length that is asked of the kernel may fail"
    )]
    pub fn len(&self) -> Result<u64> {
        match self {
            Self::Stored(stored) => Ok(stored.len),
            Self::Incoming(incoming) => incoming.len(),
        }
    }

    /// Reads bytes from `offset` on, and returns how many: 0 only if there are none, or if `buf` is empty.
    ///
    /// # Cost
    /// Of a stored one up to 256 KiB are read at once, for their check, and kept for the next call.
    ///
    /// # Errors
    /// [`Disk`](crate::Error::Disk).
    pub fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize> {
        match self {
            Self::Stored(stored) => stored.read_at(buf, offset),
            Self::Incoming(incoming) => incoming.read_at(buf, offset),
        }
    }
}

/// A snapshot that is here. Its files are open, so that their names may go.
#[derive(Debug)]
pub struct Stored {
    /// Random: what is of two streams does not fit together.
    id: u64,
    len: u64,
    preamble: Vec<u8>,
    files: Vec<StoredFile>,
    /// The last frame that was read, and where in the stream it begins.
    frame: Option<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct StoredFile {
    /// Where in the stream its header begins.
    start: u64,
    number: u64,
    header: Vec<u8>,
    file: File,
    /// Its bytes without the zeros at its end.
    sent: u64,
}

/// The check of `bytes`, which stand at `offset` of stream `id`, in file `number` of it.
pub(super) fn check(id: u64, number: u64, offset: u64, bytes: &[u8]) -> u32 {
    checksum_at(Place { id, number, offset }, bytes)
}

impl Stored {
    /// The files in the directories of `dir`, as stream `id`.
    pub(super) fn open(dir: &Dir, id: u64) -> Result<Self> {
        let mut stored = Self {
            id,
            len: PREAMBLE as u64,
            preamble: vec![0; PREAMBLE],
            files: Vec::new(),
            frame: None,
        };
        let mut names = dir.list()?;
        names.sort();
        for entry in names.into_iter().filter(|entry| entry.is_dir) {
            let within = dir.open_dir(&entry.name)?;
            let mut names = within.list()?;
            names.sort();
            for file in names.into_iter().filter(|file| !file.is_dir) {
                let path = format!("{}/{}", entry.name, file.name);
                stored.add(path.as_bytes(), within.open_read_only(&file.name)?)?;
            }
        }
        let mut preamble = Encoder::with_capacity(PREAMBLE);
        preamble
            .bytes(&[0; Format::FIELDS])
            .u64(id)
            .u64(stored.len)
            .u64(stored.files.len() as u64);
        stored.preamble = preamble.into_vec();
        FORMAT.seal(&mut stored.preamble, preamble_place(id));
        Ok(stored)
    }

    fn add(&mut self, name: &[u8], file: File) -> Result<()> {
        let (len, number, start) = (file.len()?, self.files.len() as u64, self.len);
        let sent = without_zeros(&file, len)?;
        let mut fields = Encoder::with_capacity(FILE_HEADER + name.len());
        let name_len = u32::try_from(name.len()).expect("the name of a file is short");
        fields.u32(name_len).u64(len).u64(sent).bytes(name);
        let mut header = Encoder::with_capacity(FILE_HEADER + name.len());
        header
            .u32(check(self.id, number, start, fields.as_slice()))
            .bytes(fields.as_slice());
        let header = header.into_vec();
        let checks = sent.div_ceil(CHUNK as u64) * CHECK as u64;
        self.len += header.len() as u64 + sent + checks;
        self.files.push(StoredFile {
            start,
            number,
            header,
            file,
            sent,
        });
        Ok(())
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> Result<usize> {
        if offset >= self.len {
            return Ok(0);
        }
        let after = self.files.partition_point(|file| file.start <= offset);
        let Some(file) = after.checked_sub(1).and_then(|nth| self.files.get(nth)) else {
            return Ok(copy(&self.preamble, offset, buf));
        };
        let within = offset - file.start;
        let Some(within) = within.checked_sub(file.header.len() as u64) else {
            return Ok(copy(&file.header, within, buf));
        };
        let start = offset - within % FRAME;
        let frame = match self.frame.take() {
            Some((at, frame)) if at == start => frame,
            _ => file.frame(self.id, start, within / FRAME)?,
        };
        let read = copy(&frame, within % FRAME, buf);
        self.frame = Some((start, frame));
        Ok(read)
    }
}

/// What the check of a preamble is bound to.
pub(super) fn preamble_place(id: u64) -> Place {
    Place {
        id,
        number: 0,
        offset: 0,
    }
}

impl StoredFile {
    /// Its chunk number `nth`, behind its check; it begins at `start` of stream `id`.
    fn frame(&self, id: u64, start: u64, nth: u64) -> Result<Vec<u8>> {
        let offset = nth * CHUNK as u64;
        let size = (self.sent - offset).min(CHUNK as u64);
        let size = usize::try_from(size).expect("a chunk is small");
        let mut chunk = vec![0; size];
        self.file.read_exact_at(&mut chunk, offset)?;
        let mut frame = Encoder::with_capacity(CHECK + size);
        frame
            .u32(check(id, self.number, start, &chunk))
            .bytes(&chunk);
        Ok(frame.into_vec())
    }
}

/// Copies what there is of `bytes` from `offset` on.
fn copy(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
    let rest = rest.expect("it was looked for where it is");
    let count = rest.len().min(buf.len());
    for (to, from) in buf.iter_mut().zip(rest) {
        *to = *from;
    }
    count
}

/// The length of `file`, which has `len` bytes, without the zeros at its end: segments are made in one piece.
fn without_zeros(file: &File, mut len: u64) -> Result<u64> {
    let mut chunk = Vec::new();
    while len > 0 {
        let start = (len - 1) / CHUNK as u64 * CHUNK as u64;
        let size = usize::try_from(len - start).expect("a chunk is small");
        chunk.resize(size, 0);
        file.read_exact_at(&mut chunk, start)?;
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        len = start;
    }
    Ok(0)
}
