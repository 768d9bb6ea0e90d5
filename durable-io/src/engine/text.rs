//! [`Text`]: what a dump writes for people.

use std::error::Error;
use std::fmt::{self, Arguments, Display};
use std::io::{self, Write};
use std::sync::Arc;

/// How many bytes of a key or value are shown.
const SHOWN: usize = 40;

/// The text of a dump could not be written to its output.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot write the text of a dump")]
pub struct NoOutput {
    /// What the writer answered.
    pub source: Arc<io::Error>,
}

/// Where a dump is written to, line by line. Lines that begin with `!` are what is wrong.
pub struct Text<'a> {
    out: &'a mut dyn Write,
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").finish_non_exhaustive()
    }
}

impl<'a> Text<'a> {
    /// A text that is written to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`NoOutput`].
    pub fn line(&mut self, text: Arguments<'_>) -> Result<(), NoOutput> {
        writeln!(self.out, "{text}").map_err(|source| NoOutput {
            source: Arc::new(source),
        })
    }

    /// Writes a line that says what is wrong at byte `offset`.
    ///
    /// # Errors
    /// [`NoOutput`].
    pub fn damage(&mut self, offset: u64, reason: impl Display) -> Result<(), NoOutput> {
        self.line(format_args!("! {offset:>10}  {reason}"))
    }
}

/// The beginning of some bytes, as text where they are text.
///
/// ```
/// use durable_io::engine::Shown;
///
/// assert_eq!(Shown(b"a\0").to_string(), r#""a\x00""#);
/// let long = Shown(&[b'x'; 50]).to_string();
/// assert!(long.ends_with(r#"x"… of 50 bytes"#));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SHOWN).unwrap_or(self.0);
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "… of {} bytes", self.0.len())?;
        }
        Ok(())
    }
}

/// An error and what caused it, in one line.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl Display for Chain<'_> {
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
