//! What stands behind the data of a table: both copies of what says how to read it
//! ([format], sections 1 and 3).
//!
//! [format]: crate::format

use crate::error::{Error, Result};
use crate::filter;
use crate::footer::{FOOTER_SIZE, Footer, Section};
use crate::frame::{self, BlockKind};
use crate::writer::{Placed, Writer, small};

/// No sector of a disk that may go bad is larger; and what is used instead in a file that would become
/// several times as long by it.
const SECTOR: u64 = 4096;
const SMALL_SECTOR: u64 = 512;
const SMALL_FILE: u64 = 64 << 10;

impl Writer {
    /// Writes everything behind the data: both copies of what says how to read them. No sector has a
    /// part of both, nor of header and footer.
    pub(super) fn write_meta(&mut self) -> Result<u32> {
        let mut footer = Footer {
            file_id: self.id,
            entries: self.properties.entries(),
            compression: self.options.compression.code().into(),
            probes: match self.options.filter_bits {
                0 => 0,
                bits => filter::probes(bits),
            },
            prefix_len: small(self.options.filter_prefix),
            partitions: small(self.top.len()),
            ..Footer::default()
        };
        self.properties.user = std::mem::take(&mut self.options.properties);
        let top = self.top.finish();
        let range_tombstones = std::mem::take(&mut self.range_tombstones).into_vec();
        let properties = self.properties.encode();
        let sections = [
            (BlockKind::Top, footer.partitions, top),
            (
                BlockKind::RangeTombstones,
                u32::try_from(self.properties.range_tombstones).expect("their size has a limit"),
                range_tombstones,
            ),
            (
                BlockKind::Properties,
                small(self.properties.user.len()),
                properties,
            ),
        ];
        let firsts = self.write_sections(&sections)?;
        let sector = if self.output.offset() < SMALL_FILE {
            SMALL_SECTOR
        } else {
            SECTOR
        };
        self.output.pad(sector, 0)?;
        footer.index_copies = self.output.offset();
        self.copy_indexes()?;
        let seconds = self.write_sections(&sections)?;
        let both = |(a, b): (Placed, Placed)| Section {
            a: a.offset,
            b: b.offset,
            len: a.len,
        };
        let [top, range_tombstones, properties] = firsts;
        let [second_top, second_range_tombstones, second_properties] = seconds;
        footer.top = both((top, second_top));
        footer.range_tombstones = both((range_tombstones, second_range_tombstones));
        footer.properties = both((properties, second_properties));
        let offset = self.output.offset();
        footer.file_len = offset + FOOTER_SIZE as u64;
        self.output
            .finish(&footer.encode(0), &footer.encode(offset))
    }

    /// Writes one copy of each section that is not empty.
    fn write_sections(&mut self, sections: &[(BlockKind, u32, Vec<u8>); 3]) -> Result<[Placed; 3]> {
        let mut placed = [Placed::default(); 3];
        for (placed, (kind, count, payload)) in placed.iter_mut().zip(sections) {
            if *count > 0 || *kind == BlockKind::Properties {
                *placed = self.push(*kind, *count, payload)?;
            }
        }
        Ok(placed)
    }

    /// Writes the index blocks again, which are read back: they may be too many to be kept.
    fn copy_indexes(&mut self) -> Result<()> {
        self.output.flush()?;
        for placed in std::mem::take(&mut self.indexes) {
            let len = usize::try_from(placed.len).expect("it was in memory");
            let mut block = vec![0; len];
            self.output
                .file()
                .read_exact_at(&mut block, placed.offset)?;
            let header = frame::open(&block, BlockKind::Index, self.id, placed.offset);
            let header = header.map_err(|reason| Error::Corrupt {
                path: self.output.file().path().to_owned(),
                offset: placed.offset,
                reason,
            })?;
            frame::seal(&mut block, &header, self.id, self.output.offset());
            self.output.push(&block)?;
        }
        Ok(())
    }
}
