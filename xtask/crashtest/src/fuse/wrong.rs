//! What is wrong with a store after its machine ended.

/// What is wrong, and when it was seen.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(super) how: How,
    /// Only after one more operation and another end.
    pub(super) has_continued: bool,
}

#[derive(Debug)]
pub(crate) enum How {
    /// So many operations are gone that were promised to survive.
    Lost(u64),
    Inconsistent(String),
    /// It did not do something, and said why.
    Refused(&'static str, String),
}

impl How {
    pub(super) fn at_once(self) -> Wrong {
        Wrong {
            how: self,
            has_continued: false,
        }
    }
}

impl Wrong {
    /// True if it is what was promised that is gone, and nothing else is wrong.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self.how, How::Lost(_))
    }

    /// Of which kind, in one word.
    pub(super) fn kind(&self) -> &'static str {
        match self.how {
            How::Lost(_) => "lost",
            How::Inconsistent(_) => "inconsistent",
            How::Refused(..) => "refused",
        }
    }

    /// What is wrong with a store; one that `syncs` promises what its last sync covered.
    pub(super) fn words(&self, syncs: bool) -> String {
        let promised = if syncs { "synced" } else { "acknowledged" };
        match &self.how {
            How::Lost(1) => format!("the last {promised} operation is lost"),
            How::Lost(lost) => format!("the last {lost} {promised} operations are lost"),
            How::Inconsistent(words) => words.clone(),
            How::Refused(what, error) => format!("{what}: {error}"),
        }
    }
}
