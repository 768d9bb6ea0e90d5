//! The raw methods of a durable append: what the device itself allows.

use durable_io::{Dir, File};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};

/// Bytes of each file. At its end an append continues at the start, in a new file where the old one
/// would no longer be what it shall be.
const FILE_SIZE: u64 = 16 << 20;
/// What `O_DIRECT` asks of offsets, lengths and buffers.
const BLOCK_SIZE: u64 = 4096;
const RECORD_SIZE_MAX: usize = 16 << 10;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// How the file has its space before an append comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Growing,
    Allocated,
    Zeroed,
}

/// How an append becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Fdatasync,
    RwfDsync,
    DirectDsync,
    DirectFdatasync,
}

/// A method's name, and what it does.
pub(crate) type Method = (&'static str, Space, How);

pub(crate) const METHODS: [Method; 8] = [
    ("growing, write + fdatasync", Space::Growing, How::Fdatasync),
    ("growing, RWF_DSYNC", Space::Growing, How::RwfDsync),
    (
        "allocated, write + fdatasync",
        Space::Allocated,
        How::Fdatasync,
    ),
    ("allocated, RWF_DSYNC", Space::Allocated, How::RwfDsync),
    ("zeroed, write + fdatasync", Space::Zeroed, How::Fdatasync),
    ("zeroed, RWF_DSYNC", Space::Zeroed, How::RwfDsync),
    (
        "zeroed, O_DIRECT | O_DSYNC",
        Space::Zeroed,
        How::DirectDsync,
    ),
    (
        "zeroed, O_DIRECT + fdatasync",
        Space::Zeroed,
        How::DirectFdatasync,
    ),
];

/// A buffer as `O_DIRECT` wants it.
#[repr(align(4096))]
struct Aligned([u8; RECORD_SIZE_MAX]);

/// Appends records of one size to a file, each durable when it returns.
pub(crate) struct Appender {
    dir: Dir,
    name: &'static str,
    space: Space,
    how: How,
    file: File,
    /// The same file, past the page cache.
    direct: Option<OwnedFd>,
    record: Box<Aligned>,
    size: u64,
    offset: u64,
}

impl Appender {
    pub(crate) fn new(dir: &Dir, method: Method, size: u64) -> Result<Self, Error> {
        let (name, space, how) = method;
        let file = dir.create_new(name)?;
        let flags = match how {
            How::Fdatasync | How::RwfDsync => None,
            How::DirectDsync => Some(OFlags::DIRECT | OFlags::DSYNC),
            How::DirectFdatasync => Some(OFlags::DIRECT),
        };
        let open = |flags| rustix::fs::open(file.path(), flags | OFlags::RDWR, Mode::empty());
        let direct = flags.map(open).transpose()?;
        let mut appender = Self {
            dir: dir.clone(),
            name,
            space,
            how,
            file,
            direct,
            record: Box::new(Aligned([7; RECORD_SIZE_MAX])),
            size,
            offset: 0,
        };
        appender.prepare()?;
        appender.append()?;
        Ok(appender)
    }

    /// Gives the file its space, and settles everything that is not the append's own.
    fn prepare(&self) -> Result<(), Error> {
        match self.space {
            Space::Growing => {}
            Space::Allocated => self.file.allocate(0, FILE_SIZE)?,
            Space::Zeroed => self.file.write_zeros(0, FILE_SIZE)?,
        }
        drop(self.file.sync_all()?);
        Ok(self.dir.sync()?)
    }

    /// Makes sure that there is room for one more append.
    pub(crate) fn make_room(&mut self) -> Result<(), Error> {
        if self.offset + self.size <= FILE_SIZE {
            return Ok(());
        }
        self.offset = 0;
        // What was zeroed is as good when it was written before; the others need a new file.
        if self.space != Space::Zeroed {
            self.dir.remove(self.name)?;
            self.file = self.dir.create_new(self.name)?;
            self.prepare()?;
        }
        Ok(())
    }

    pub(crate) fn append(&mut self) -> Result<(), Error> {
        let size = usize::try_from(self.size)?;
        let record = self.record.0.get(..size).unwrap_or_default();
        match (self.how, &self.direct) {
            (How::Fdatasync, _) => {
                self.file.write_all_at(record, self.offset)?;
                drop(self.file.sync_data()?);
            }
            (How::RwfDsync, _) => drop(self.file.write_durable_at(record, self.offset)?),
            (_, None) => return Err("no O_DIRECT descriptor".into()),
            (how, Some(direct)) => {
                // Whole blocks: a record smaller than one rewrites the block at the log's end.
                let start = self.offset / BLOCK_SIZE * BLOCK_SIZE;
                let len = self.size.next_multiple_of(BLOCK_SIZE);
                let blocks = self
                    .record
                    .0
                    .get(..usize::try_from(len)?)
                    .unwrap_or_default();
                if rustix::io::pwrite(direct, blocks, start)? != blocks.len() {
                    return Err("short write".into());
                }
                if how == How::DirectFdatasync {
                    rustix::fs::fdatasync(direct)?;
                }
            }
        }
        self.offset += self.size;
        Ok(())
    }
}
