//! What a dump says of groups, versions and errors.

use std::error::Error as _;
use std::fmt;

use crate::error::Error;
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

/// An error and what caused it, as text.
pub(super) struct Chain<'a>(pub(super) &'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
