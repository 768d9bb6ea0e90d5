//! What a dump says of groups and versions.

use std::fmt;

use crate::frame::GroupHeader;
use crate::segment::VERSION;

/// The records of a group, as text.
pub(super) struct Lsns<'a>(pub(super) &'a GroupHeader);

impl fmt::Display for Lsns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LSN {}..={}", self.0.first_lsn, self.0.last_lsn())
    }
}

/// A version that is too new, as text.
pub(super) struct Newer(pub(super) u32);

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.0;
        write!(
            f,
            "format version {version}; this program reads up to {VERSION}"
        )
    }
}
