//! What a query means, found in one place of the index after the other.

use crate::ids::Position;
use crate::query::{Item, Query};
use crate::term::About;
use crate::view::{List, Miss, View};

impl View<'_> {
    /// Up to `max` positions of events that `query` means, from `from` on and before `end`.
    pub(crate) fn matches(
        &self,
        query: &Query,
        from: Position,
        end: Position,
        max: usize,
    ) -> Result<Vec<Position>, Miss> {
        let mut found = Vec::new();
        for nth in 0..self.places() {
            let (_, last) = self.covered(nth);
            if last >= from && found.len() < max {
                let mut search = Search::new(self, nth, query, from, end)?;
                while found.len() < max
                    && let Some(position) = search.next()?
                {
                    found.push(position);
                }
            }
        }
        Ok(found)
    }
}

/// The events that a query means in one place, in their order.
struct Search<'a> {
    items: Vec<Narrowed<'a>>,
}

/// One item of a query in one place.
struct Narrowed<'a> {
    /// What is gone through: each event of the item is in one of them at least.
    through: Vec<(Through<'a>, u64)>,
    /// Of each of these, one must have the event.
    required: Vec<Vec<List<'a>>>,
}

enum Through<'a> {
    List(List<'a>),
    /// Every event before a position.
    All(Position),
}

impl Through<'_> {
    fn get(&self, at: u64) -> Result<Option<Position>, Miss> {
        match self {
            Self::List(list) if at < list.len() => list.get(at).map(Some),
            Self::List(_) => Ok(None),
            Self::All(end) => Ok((Position(at) < *end).then_some(Position(at))),
        }
    }
}

impl<'a> Search<'a> {
    fn new(
        view: &View<'a>,
        nth: usize,
        query: &Query,
        from: Position,
        end: Position,
    ) -> Result<Self, Miss> {
        let mut items = Vec::new();
        for item in query.items() {
            items.extend(Narrowed::new(view, nth, item, from, end)?);
        }
        Ok(Self { items })
    }

    fn next(&mut self) -> Result<Option<Position>, Miss> {
        loop {
            let mut least: Option<Position> = None;
            for item in &self.items {
                for (through, at) in &item.through {
                    if let Some(position) = through.get(*at)? {
                        least = Some(least.map_or(position, |least| least.min(position)));
                    }
                }
            }
            let Some(position) = least else {
                return Ok(None);
            };
            let mut is_meant = false;
            for item in &mut self.items {
                is_meant |= item.pass(position)?;
            }
            if is_meant {
                return Ok(Some(position));
            }
        }
    }
}

impl<'a> Narrowed<'a> {
    /// `None` if nothing there can match.
    fn new(
        view: &View<'a>,
        nth: usize,
        item: &Item,
        from: Position,
        end: Position,
    ) -> Result<Option<Self>, Miss> {
        let mut required: Vec<Vec<List<'a>>> = Vec::new();
        let category = item.category.iter().map(|name| vec![About::Category(name)]);
        let tags = item.tags.iter().map(|name| vec![About::Tag(name)]);
        let kinds: Vec<_> = item.kinds.iter().map(|name| About::Kind(name)).collect();
        let kinds = (!kinds.is_empty()).then_some(kinds);
        for any in category.chain(tags).chain(kinds) {
            let mut lists = Vec::new();
            for about in any {
                lists.extend(view.list(nth, view.key.term(about), end)?);
            }
            if lists.is_empty() {
                return Ok(None);
            }
            required.push(lists);
        }
        let (first, last) = view.covered(nth);
        if required.is_empty() {
            let mut end = end.min(last.next());
            if nth < view.slots.len() {
                end = end.min(view.tail.first());
            }
            let through = vec![(Through::All(end), from.max(first).0)];
            return Ok(Some(Self { through, required }));
        }
        let size = |lists: &Vec<List<'a>>| lists.iter().map(List::len).sum::<u64>();
        let fewest = (0..required.len()).min_by_key(|&nth| required.get(nth).map_or(0, size));
        let mut through = Vec::new();
        for list in required.swap_remove(fewest.unwrap_or(0)) {
            let at = list.rank(from)?;
            through.push((Through::List(list), at));
        }
        Ok(Some(Self { through, required }))
    }

    /// Goes past `position`; true if the event there is meant.
    fn pass(&mut self, position: Position) -> Result<bool, Miss> {
        let mut is_there = false;
        for (through, at) in &mut self.through {
            if through.get(*at)? == Some(position) {
                *at += 1;
                is_there = true;
            }
        }
        if !is_there {
            return Ok(false);
        }
        for any in &self.required {
            let mut has = false;
            for list in any {
                has = has || list.contains(position)?;
            }
            if !has {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
