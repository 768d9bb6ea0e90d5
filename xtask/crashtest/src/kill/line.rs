//! What the child tells the parent: one line per event, one `write(2)` per line, so that whatever
//! was said survives the kill in the pipe.

use std::fmt;
use std::io::Write;

/// The steps that every engine has.
pub(super) const OPEN: &str = "open";
pub(super) const CLOSE: &str = "close";

/// One event in the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The step (opening, closing or a chore) is about to begin.
    Begin(String),
    /// The step has returned.
    End(String),
    /// Operation `n` of `writer` was acknowledged.
    Ack { writer: usize, n: u64 },
    /// A call failed that must not; the child ends.
    Failed(String),
}

impl Line {
    /// Writes the line to standard output.
    ///
    /// # Errors
    /// The parent is gone.
    pub(super) fn say(&self) -> std::io::Result<()> {
        // A whole line is handed to the kernel by one write; shorter than PIPE_BUF, it is never torn.
        std::io::stdout()
            .lock()
            .write_all(format!("{self}\n").as_bytes())
    }

    /// The line that `text` (without its end) says, or `None` if it says none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "begin" => Some(Self::Begin(rest.to_owned())),
            "end" => Some(Self::End(rest.to_owned())),
            "failed" => Some(Self::Failed(rest.to_owned())),
            "ack" => {
                let (writer, n) = rest.split_once(' ')?;
                Some(Self::Ack {
                    writer: writer.parse().ok()?,
                    n: n.parse().ok()?,
                })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(step) => write!(f, "begin {step}"),
            Self::End(step) => write!(f, "end {step}"),
            Self::Ack { writer, n } => write!(f, "ack {writer} {n}"),
            Self::Failed(error) => write!(f, "failed {}", error.replace('\n', " ")),
        }
    }
}

/// Runs `step`, and tells when it begins and when it has returned.
///
/// # Errors
/// Those of `step`; the parent is gone.
pub(super) fn telling<T, E>(name: &str, step: impl FnOnce() -> Result<T, E>) -> Result<T, E>
where
    E: From<std::io::Error>,
{
    Line::Begin(name.to_owned()).say()?;
    let done = step()?;
    Line::End(name.to_owned()).say()?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_back() {
        for line in [
            Line::Begin("open".to_owned()),
            Line::End("rotate".to_owned()),
            Line::Ack { writer: 3, n: 8 },
            Line::Failed("it is full".to_owned()),
        ] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        assert_eq!(Line::parse("ack 1"), None);
        assert_eq!(Line::parse("nothing"), None);
    }
}
