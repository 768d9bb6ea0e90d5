//! The two meta slots: which tree is the store's.
//!
//! Both hold the same, except while one is being written: the first one is written, then it is made
//! durable, then the second one. So one of them can always be read, and a damaged one costs nothing.

use durable_io::File;
use durable_io::checksum::{Place, checksum_at};
use durable_io::codec::{Decoder, put};
use durable_io::engine::UnsupportedVersion;
use wal::Lsn;

use crate::error::{Corruption, Error, Result};
use crate::limits::{MAX_PAGE_SIZE, MIN_PAGE_SIZE};
use crate::node::Ref;
use crate::root::{State, Tree};

/// Bytes of a slot.
pub(crate) const SLOT_SIZE: usize = 1024;
/// Where the slots begin. No sector has parts of both.
pub(crate) const SLOTS: [u64; 2] = [0, 4096];
/// Bytes before the first page, at least.
pub(crate) const META_SIZE: u64 = 8192;

const MAGIC: u64 = u64::from_le_bytes(*b"btree\r\n\x1a");
pub(crate) const VERSION: u32 = 1;
const AT_CHECKSUM: usize = SLOT_SIZE - 4;

/// The generation of a store without a checkpoint.
pub(crate) const FIRST_GENERATION: u64 = 1;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) page_size: u32,
    pub(crate) store_id: u64,
    /// Counts checkpoints.
    pub(crate) generation: u64,
    /// The last record of the log that the tree holds.
    pub(crate) lsn: Lsn,
    pub(crate) state: State,
    /// Pages from this one on were never used.
    pub(crate) end: u32,
    /// The first page of the list of free pages.
    pub(crate) free_list: Option<Ref>,
}

/// The first page behind the slots.
pub(crate) fn first_page(page_size: u32) -> u32 {
    let pages = META_SIZE.div_ceil(page_size.into());
    u32::try_from(pages).expect("a page is larger than a byte")
}

impl Slot {
    /// The slot of a new store.
    pub(crate) fn empty(page_size: u32, store_id: u64) -> Self {
        Self {
            page_size,
            store_id,
            generation: FIRST_GENERATION,
            lsn: Lsn(0),
            state: State::default(),
            end: first_page(page_size),
            free_list: None,
        }
    }

    /// Its bytes, for the slot at `offset`.
    pub(crate) fn encode(&self, offset: u64) -> [u8; SLOT_SIZE] {
        let mut bytes = [0; SLOT_SIZE];
        let catalog = self.state.catalog;
        put(&mut bytes, 0, &MAGIC.to_le_bytes());
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &self.page_size.to_le_bytes());
        put(&mut bytes, 16, &self.store_id.to_le_bytes());
        put(&mut bytes, 24, &self.generation.to_le_bytes());
        put(&mut bytes, 32, &self.lsn.0.to_le_bytes());
        put(&mut bytes, 40, &encode_ref(catalog.root));
        put(&mut bytes, 52, &catalog.len.to_le_bytes());
        put(&mut bytes, 60, &self.state.next_table.to_le_bytes());
        put(&mut bytes, 68, &self.end.to_le_bytes());
        put(&mut bytes, 72, &encode_ref(self.free_list));
        let checksum = checksum(self.store_id, offset, &bytes);
        put(&mut bytes, AT_CHECKSUM, &checksum.to_le_bytes());
        bytes
    }

    /// What the slot at `offset` says.
    pub(crate) fn decode(bytes: &[u8; SLOT_SIZE], offset: u64) -> Result<Self, BadSlot> {
        Self::parse(bytes, offset).ok_or(BadSlot::Damaged)?
    }

    fn parse(bytes: &[u8; SLOT_SIZE], offset: u64) -> Option<Result<Self, BadSlot>> {
        let mut decoder = Decoder::new(bytes);
        if decoder.u64()? != MAGIC {
            return None;
        }
        let (version, page_size, store_id) = (decoder.u32()?, decoder.u32()?, decoder.u64()?);
        let stored = Decoder::new(bytes.get(AT_CHECKSUM..)?).u32()?;
        if stored != checksum(store_id, offset, bytes) {
            return None;
        }
        if version != VERSION {
            return Some(Err(BadSlot::Version(version)));
        }
        let slot = Self {
            page_size,
            store_id,
            generation: decoder.u64()?,
            lsn: Lsn(decoder.u64()?),
            state: State {
                catalog: Tree {
                    root: some(decode_ref(&mut decoder)?),
                    len: decoder.u64()?,
                },
                next_table: decoder.u64()?,
            },
            end: decoder.u32()?,
            free_list: some(decode_ref(&mut decoder)?),
        };
        let is_sound = is_page_size(page_size) && slot.end >= first_page(page_size);
        is_sound.then_some(Ok(slot))
    }

    /// Writes it to the slot at `offset`.
    pub(crate) fn write(&self, file: &File, offset: u64) -> durable_io::Result<()> {
        file.write_all_at(&self.encode(offset), offset)
    }
}

pub(crate) fn is_page_size(size: u32) -> bool {
    size.is_power_of_two() && (MIN_PAGE_SIZE..=MAX_PAGE_SIZE).contains(&size)
}

fn encode_ref(r: Option<Ref>) -> [u8; 12] {
    r.unwrap_or(Ref { page: 0, stamp: 0 }).encode()
}

/// Page 0 is none.
fn decode_ref(decoder: &mut Decoder<'_>) -> Option<Ref> {
    let (page, stamp) = (decoder.u32()?, decoder.u64()?);
    Some(Ref { page, stamp })
}

fn some(r: Ref) -> Option<Ref> {
    (r.page != 0).then_some(r)
}

fn checksum(store_id: u64, offset: u64, bytes: &[u8; SLOT_SIZE]) -> u32 {
    let place = Place {
        id: store_id,
        number: 0,
        offset,
    };
    let (covered, _) = bytes.split_at(AT_CHECKSUM);
    checksum_at(place, covered)
}

/// Why a slot is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSlot {
    Damaged,
    Version(u32),
}

/// The slot at `offset`; `None` if it is damaged.
pub(crate) fn read_slot(file: &File, offset: u64) -> Result<Option<Slot>> {
    let mut bytes = [0; SLOT_SIZE];
    file.read_at(&mut bytes, offset)?;
    match Slot::decode(&bytes, offset) {
        Ok(slot) => Ok(Some(slot)),
        Err(BadSlot::Damaged) => Ok(None),
        Err(BadSlot::Version(version)) => {
            let path = file.path().to_owned();
            let supported = VERSION;
            let refused = UnsupportedVersion {
                path,
                version,
                supported,
            };
            Err(refused.into())
        }
    }
}

/// The newest of the two slots, and whether the other one says the same.
pub(crate) fn read(file: &File) -> Result<(Slot, bool)> {
    let mut found = Vec::new();
    for offset in SLOTS {
        found.extend(read_slot(file, offset)?);
    }
    let newest = found.iter().copied().max_by_key(|slot| slot.generation);
    let newest = newest.ok_or_else(|| Error::corrupt(file.path(), 0, Corruption::Slots))?;
    let are_equal = found.len() == SLOTS.len() && found.iter().all(|slot| *slot == newest);
    Ok((newest, are_equal))
}
