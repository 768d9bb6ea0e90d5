//! What the child tells the parent: one line per event, one `write(2)` per line, so that whatever
//! was said survives the kill in the pipe.

use std::fmt;
use std::io::Write;

/// One event in the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The step is about to begin.
    Begin(Step),
    /// The step has returned.
    End(Step),
    /// `count` records of `writer`, from number `n` on, were acknowledged, the first at `lsn`.
    Ack {
        writer: usize,
        n: u64,
        count: u64,
        lsn: u64,
    },
    /// A call failed that must not; the child ends.
    Failed(String),
}

/// A call other than a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Open,
    Rotate,
    /// `truncate_before` of this LSN.
    Truncate(u64),
    Merge,
    Close,
}

impl Line {
    /// Writes the line to standard output.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn say(&self) -> std::io::Result<()> {
        // A whole line is handed to the kernel by one write; shorter than PIPE_BUF, it is never torn.
        std::io::stdout()
            .lock()
            .write_all(format!("{self}\n").as_bytes())
    }

    /// The line that `text` (without its end) says, or `None` if it says none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "begin" => Some(Self::Begin(Step::parse(rest)?)),
            "end" => Some(Self::End(Step::parse(rest)?)),
            "failed" => Some(Self::Failed(rest.to_owned())),
            "ack" => {
                let mut numbers = rest.split(' ').map(str::parse::<u64>);
                let mut next = || numbers.next()?.ok();
                let (writer, n, count, lsn) = (next()?, next()?, next()?, next()?);
                Some(Self::Ack {
                    writer: usize::try_from(writer).ok()?,
                    n,
                    count,
                    lsn,
                })
            }
            _ => None,
        }
    }
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "open" => Some(Self::Open),
            "rotate" => Some(Self::Rotate),
            "merge" => Some(Self::Merge),
            "close" => Some(Self::Close),
            _ => Some(Self::Truncate(
                text.strip_prefix("truncate ")?.parse().ok()?,
            )),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(step) => write!(f, "begin {step}"),
            Self::End(step) => write!(f, "end {step}"),
            Self::Ack {
                writer,
                n,
                count,
                lsn,
            } => write!(f, "ack {writer} {n} {count} {lsn}"),
            Self::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Rotate => f.write_str("rotate"),
            Self::Truncate(lsn) => write!(f, "truncate {lsn}"),
            Self::Merge => f.write_str("merge"),
            Self::Close => f.write_str("close"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_back() {
        for line in [
            Line::Begin(Step::Open),
            Line::End(Step::Rotate),
            Line::Begin(Step::Truncate(77)),
            Line::Begin(Step::Merge),
            Line::End(Step::Close),
            Line::Ack {
                writer: 3,
                n: 8,
                count: 3,
                lsn: 1234,
            },
            Line::Failed("it is full".to_owned()),
        ] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        assert_eq!(Line::parse("ack 1 2"), None);
        assert_eq!(Line::parse("begin nothing"), None);
    }
}
