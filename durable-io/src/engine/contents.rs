//! [`Contents`]: a file that does not change any more, mapped if the system does that.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Result;
use crate::file::{File, Map};

/// The bytes of a file that will not change any more: mapped, or, where the system refuses that for want of
/// address space, of maps (`vm.max_map_count`) or of the permission, read each time. A map needs no descriptor.
#[derive(Debug)]
pub struct Contents(How);

#[derive(Debug)]
enum How {
    Mapped(Map),
    Read(File),
}

impl Contents {
    /// The first `len` bytes of `file`.
    pub fn new(file: File, len: u64) -> Self {
        match file.map(0..len) {
            Ok(map) => Self(How::Mapped(map)),
            // Whatever is wrong with the file itself, reading it will say.
            Err(_refused) => Self(How::Read(file)),
        }
    }

    /// Those of `file`, which is not mapped: a place that cannot be read is then an error, and not a signal.
    pub fn unmapped(file: File) -> Self {
        Self(How::Read(file))
    }

    /// All of them, if they are mapped.
    #[inline]
    pub fn mapped(&self) -> Option<&[u8]> {
        match &self.0 {
            How::Mapped(map) => Some(map),
            How::Read(_) => None,
        }
    }

    /// The file, if it is not mapped.
    pub fn file(&self) -> Option<&File> {
        match &self.0 {
            How::Mapped(_) => None,
            How::Read(file) => Some(file),
        }
    }

    /// The bytes `range`, which the file has; nothing is kept of what is read.
    ///
    /// # Errors
    /// Those of [`File::read_exact_at`], if they are not mapped.
    ///
    /// # Panics
    /// If they are mapped, and there are not so many.
    pub fn get(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        match &self.0 {
            How::Mapped(map) => Ok(Cow::Borrowed(
                map.get(range).expect("the file has what is asked for"),
            )),
            How::Read(file) => {
                let mut bytes = vec![0; range.len()];
                file.read_exact_at(&mut bytes, range.start as u64)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::{Fault, FaultKind, SimDisk};

    #[test]
    fn a_refused_map_is_read() {
        const ENOMEM: i32 = 12;
        let sim = SimDisk::new();
        let dir = sim.disk().open_dir("/").unwrap();
        let file = dir.create_new("file").unwrap();
        file.write_all_at(b"contents", 0).unwrap();
        for is_refused in [false, true] {
            // The length is asked for first.
            let call = sim.calls() + 1;
            let kind = FaultKind::Errno(ENOMEM);
            let sticky = false;
            if is_refused {
                sim.inject(Fault { call, kind, sticky });
            }
            let contents = Contents::new(file.clone(), 8);
            assert_eq!(contents.mapped().is_none(), is_refused);
            assert_eq!(&*contents.get(3..7).unwrap(), b"tent");
        }
    }
}
