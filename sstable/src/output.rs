//! [`Output`]: the bytes of a new file, from front to back, and their checksum.

use crc32fast::Hasher;
use durable_io::File;

use crate::error::Result;

/// So many bytes are gathered for each write.
const CHUNK: usize = 256 << 10;
/// So many bytes at a time the disk is asked to begin with, while more is made: little is left for the sync
/// at the end.
const WRITEBACK: u64 = 1 << 20;

/// A file that is written once, in order. The first bytes, the header, come last.
#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    written: u64,
    /// What the disk was asked to begin with ends here.
    begun: u64,
    /// Over everything behind the header.
    hasher: Hasher,
}

impl Output {
    /// `header` bytes at the front of the empty `file` are left for [`finish`](Self::finish).
    pub(crate) fn new(file: File, header: u64) -> Self {
        Self {
            file,
            buffer: Vec::with_capacity(CHUNK),
            written: header,
            begun: header,
            hasher: Hasher::new(),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where the next byte goes.
    pub(crate) fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        if self.buffer.len() + bytes.len() > CHUNK {
            self.flush()?;
        }
        if bytes.len() > CHUNK {
            self.write(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Appends zeros until what comes `ahead` bytes later is at a multiple of `alignment`, which is at
    /// most 4096.
    pub(crate) fn pad(&mut self, alignment: u64, ahead: u64) -> Result<()> {
        let at = self.offset() + ahead;
        let missing = at.next_multiple_of(alignment) - at;
        let missing = usize::try_from(missing).expect("an alignment is small");
        let (zeros, _) = [0; 4096].split_at(missing);
        self.push(zeros)
    }

    /// Hands everything to the kernel.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer);
        buffer.clear();
        self.buffer = buffer;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        let len = self.written - self.begun;
        if len >= WRITEBACK {
            self.file.start_writeback(self.begun, len);
            self.begun = self.written;
        }
        Ok(())
    }

    /// Appends `footer`, then writes `header` to the front, and returns the checksum of the whole file.
    pub(crate) fn finish(&mut self, header: &[u8], footer: &[u8]) -> Result<u32> {
        self.push(footer)?;
        self.flush()?;
        self.file.write_all_at(header, 0)?;
        let mut whole = Hasher::new();
        whole.update(header);
        whole.combine(&self.hasher);
        Ok(whole.finalize())
    }
}
