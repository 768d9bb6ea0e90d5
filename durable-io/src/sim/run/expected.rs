//! What was expected and what was seen, for people.

use std::fmt::{Debug, Write as _};

/// What was expected and what was seen, short enough to read.
pub(crate) fn expected<T: Debug>(allowed: &[T], seen: &T) -> String {
    const SHOWN: usize = 3;
    let mut text = String::from("expected ");
    let mut allowed: Vec<String> = allowed.iter().map(short).collect();
    allowed.dedup();
    let skipped = allowed.len().saturating_sub(SHOWN);
    for (nth, state) in allowed.iter().skip(skipped).enumerate() {
        if nth > 0 {
            text.push_str("\n      or ");
        }
        text.push_str(state);
    }
    if skipped > 0 {
        write!(text, "\n      or one of {skipped} older ones").expect("a string takes all");
    }
    write!(text, "\n   found {}", short(seen)).expect("a string takes all");
    text
}

fn short(value: &impl Debug) -> String {
    const LONGEST: usize = 400;
    let text = format!("{value:?}");
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => {
            let (shown, _) = text.split_at(at);
            format!("{shown}…")
        }
        None => text,
    }
}
