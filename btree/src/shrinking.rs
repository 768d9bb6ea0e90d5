//! [`Shrinking`]: how far the work has come that makes the file shorter.

/// As often all pages are looked at, whether they are to be moved: what was copied on the way lies where
/// there was a place at that time.
const WALKS: u32 = 3;

/// How far the work has come.
#[derive(Debug, Default)]
pub(crate) struct Shrinking {
    pub(crate) stage: Stage,
    /// Pages written in this walk.
    pub(crate) written: usize,
    /// Walks that moved pages.
    pub(crate) walks: u32,
    /// All free places were used, and a checkpoint was waited for.
    pub(crate) has_waited: bool,
    /// The table to go on with; the catalog if there is none.
    pub(crate) table: Option<Vec<u8>>,
    /// The key in it.
    pub(crate) key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Leaves are filled.
    #[default]
    Fill,
    /// Pages are moved.
    Move,
}

impl Shrinking {
    /// Only moves: no more is written than the file has too many.
    pub(crate) fn moves() -> Self {
        Self::begin(Stage::Move)
    }

    pub(crate) fn begin(stage: Stage) -> Self {
        Self {
            stage,
            ..Self::default()
        }
    }

    pub(crate) fn is_at_begin(&self) -> bool {
        self.table.is_none() && self.key.is_empty()
    }

    /// All trees were walked over; returns whether that was the last time.
    pub(crate) fn end_walk(&mut self) -> bool {
        let is_over = self.stage == Stage::Move && (self.written == 0 || self.walks == WALKS);
        *self = Self {
            walks: self.walks + 1,
            ..Self::begin(Stage::Move)
        };
        is_over
    }
}
