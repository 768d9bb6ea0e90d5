//! The sources of a merge: a memtable, or a run of tables.

use std::sync::Arc;

use sstable::{Cursor, Entry, Source, TableCursor};

use crate::levels::Run;
use crate::memtable::MemtableCursor;
use crate::tree::State;

/// A place in a run: in one of its tables.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    /// Which table.
    at: usize,
    cursor: Option<TableCursor>,
}

impl RunCursor {
    pub(crate) fn new(run: &Arc<Run>) -> Self {
        Self {
            run: Arc::clone(run),
            at: 0,
            cursor: None,
        }
    }

    /// Goes into table `at`; false if there is none.
    fn enter(&mut self, at: usize) -> bool {
        let table = self.run.tables.get(at);
        if self.at != at || self.cursor.is_none() {
            self.cursor = table.map(|live| live.table.cursor());
            self.at = at;
        }
        self.cursor.is_some()
    }

    /// From behind the last entry of a table to the first one of those behind it.
    fn skip_forward(&mut self) -> sstable::Result<()> {
        while let Some(cursor) = &mut self.cursor
            && cursor.entry().is_none()
            && self.at + 1 < self.run.tables.len()
        {
            self.enter(self.at + 1);
            if let Some(cursor) = &mut self.cursor {
                cursor.seek_to_first()?;
            }
        }
        Ok(())
    }

    fn skip_backward(&mut self) -> sstable::Result<()> {
        while let Some(cursor) = &mut self.cursor
            && cursor.entry().is_none()
            && let Some(before) = self.at.checked_sub(1)
        {
            self.enter(before);
            if let Some(cursor) = &mut self.cursor {
                cursor.seek_to_last()?;
            }
        }
        Ok(())
    }
}

impl Cursor for RunCursor {
    fn seek_to_first(&mut self) -> sstable::Result<()> {
        self.enter(0);
        if let Some(cursor) = &mut self.cursor {
            cursor.seek_to_first()?;
        }
        self.skip_forward()
    }

    fn seek_to_last(&mut self) -> sstable::Result<()> {
        self.enter(self.run.tables.len().saturating_sub(1));
        if let Some(cursor) = &mut self.cursor {
            cursor.seek_to_last()?;
        }
        self.skip_backward()
    }

    fn seek(&mut self, key: &[u8], version: u64) -> sstable::Result<()> {
        let tables = &self.run.tables;
        let after = tables.partition_point(|live| *live.meta.range.first <= *key);
        self.enter(after.saturating_sub(1));
        if let Some(cursor) = &mut self.cursor {
            cursor.seek(key, version)?;
        }
        self.skip_forward()
    }

    #[inline]
    fn advance(&mut self) -> sstable::Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.advance()?;
            if cursor.entry().is_none() {
                self.skip_forward()?;
            }
        }
        Ok(())
    }

    fn retreat(&mut self) -> sstable::Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.retreat()?;
            if cursor.entry().is_none() {
                self.skip_backward()?;
            }
        }
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        self.cursor.as_ref()?.entry()
    }
}

/// A place in a memtable or in a run.
#[derive(Debug)]
pub(crate) enum AnyCursor {
    Memtable(MemtableCursor),
    Run(RunCursor),
}

macro_rules! each {
    ($self:ident, $cursor:ident => $call:expr) => {
        match $self {
            Self::Memtable($cursor) => $call,
            Self::Run($cursor) => $call,
        }
    };
}

impl Cursor for AnyCursor {
    fn seek_to_first(&mut self) -> sstable::Result<()> {
        each!(self, cursor => cursor.seek_to_first())
    }

    fn seek_to_last(&mut self) -> sstable::Result<()> {
        each!(self, cursor => cursor.seek_to_last())
    }

    fn seek(&mut self, key: &[u8], version: u64) -> sstable::Result<()> {
        each!(self, cursor => cursor.seek(key, version))
    }

    #[inline]
    fn advance(&mut self) -> sstable::Result<()> {
        each!(self, cursor => cursor.advance())
    }

    fn retreat(&mut self) -> sstable::Result<()> {
        each!(self, cursor => cursor.retreat())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        each!(self, cursor => cursor.entry())
    }
}

/// Everything in `state`, the newest first.
pub(crate) fn sources(state: &State) -> Vec<Source<AnyCursor>> {
    let frozen = state.frozen.iter().map(|frozen| &frozen.table);
    let memtables = std::iter::once(&state.active).chain(frozen);
    let memtables = memtables
        .filter(|table| table.first_version().is_some())
        .map(|table| Source {
            cursor: AnyCursor::Memtable(MemtableCursor::new(table)),
            range_tombstones: table.range_tombstones(),
        });
    memtables
        .chain(state.levels.runs.iter().map(run_source))
        .collect()
}

/// Everything in `run`.
pub(crate) fn run_source(run: &Arc<Run>) -> Source<AnyCursor> {
    Source {
        cursor: AnyCursor::Run(RunCursor::new(run)),
        range_tombstones: Arc::clone(&run.range_tombstones),
    }
}
