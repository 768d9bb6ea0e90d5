//! [`Query`] and [`Condition`]: which events are meant.

use crate::event::Event;
use crate::ids::Position;
use crate::term::category;

/// A choice of events: those that match at least one of its items. Each item asks for a type (any of
/// those named), for tags (all of those named), and for a category; what it does not name does not
/// matter. A query that was never given anything means every event.
///
/// ```
/// use event_store::Query;
///
/// // Enrolments in the course, or anything about the student:
/// let query = Query::new()
///     .kinds(["Enrolled", "Left"])
///     .tags(["course:7"])
///     .or()
///     .tags(["student:3"]);
/// # drop(query);
/// ```
///
/// The category of a stream is its name up to the first `-`, or its whole name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// The items before the last one.
    items: Vec<Item>,
    last: Item,
}

/// One item of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) category: Option<String>,
    pub(crate) kinds: Vec<String>,
    pub(crate) tags: Vec<String>,
}

impl Query {
    /// Every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events of one of these types.
    #[must_use]
    pub fn kinds<T: Into<String>>(mut self, kinds: impl IntoIterator<Item = T>) -> Self {
        self.last.kinds.extend(kinds.into_iter().map(Into::into));
        self
    }

    /// Only events with all of these tags.
    #[must_use]
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.last.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Only events of streams of this category.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.last.category = Some(category.into());
        self
    }

    /// Or else those that the next item means.
    #[must_use]
    pub fn or(mut self) -> Self {
        self.items.push(std::mem::take(&mut self.last));
        self
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().chain([&self.last])
    }

    /// True if every event is meant.
    pub(crate) fn is_everything(&self) -> bool {
        self.items().any(|item| *item == Item::default())
    }

    /// True if `event` is meant.
    pub fn matches(&self, event: &Event) -> bool {
        self.items().any(|item| item.matches(event))
    }
}

impl Item {
    fn matches(&self, event: &Event) -> bool {
        let is_category = |wanted: &String| category(event.stream()) == wanted;
        let has = |wanted: &String| event.tags().any(|tag| tag == wanted);
        self.category.as_ref().is_none_or(is_category)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| event.kind() == kind))
            && self.tags.iter().all(has)
    }
}

/// A condition of an append: it fails if an event that matches `query` was appended after position
/// `after`. With it, a decision that rests on a query is written only if its ground has not changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    pub(crate) query: Query,
    pub(crate) after: Position,
}

impl Condition {
    /// No event that `query` means may follow `after`: the position up to which the caller knows
    /// them all.
    pub fn new(query: Query, after: Position) -> Self {
        Self { query, after }
    }
}
