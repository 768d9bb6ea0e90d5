//! Words that the project has replaced by the field's: they stay out of identifiers and of file names. Prose is read
//! by people.

use std::collections::BTreeSet;
use std::path::Path;

/// The crates whose names were gone through, as folders.
const FOLDERS: &[&str] = &["durable-io", "event-store", "wal", "xtask"];

/// Each word, and what to say instead.
const WORDS: &[(&str, &str)] = &[
    ("behind", "after, remainder"),
    ("bell", "notify"),
    ("cut", "truncation, end, crash point"),
    ("cuts", "truncations, crash points"),
    ("facts", "probe, expectations"),
    ("foresee", "preview"),
    ("front", "valid prefix, beginning"),
    ("heard", "received"),
    ("listing", "directory entries"),
    ("loc", "location"),
    ("mark", "superblock, position"),
    ("marks", "superblocks, positions"),
    ("outlook", "preview"),
    ("ring", "notify"),
    ("scribe", "writer"),
    ("spare", "preallocated segment"),
    ("spot", "location"),
    ("story", "report"),
    ("survey", "directory scan"),
    ("tear", "torn write"),
    ("tell", "report, return"),
    ("told", "reported, returned"),
    ("undo", "revert, unsynced changes"),
    ("why", "reason"),
];

/// Names of the standard library.
const OF_OTHERS: &[&str] = &["front", "front_mut", "pop_front", "push_front"];

/// What to say instead of each old word, for the report.
pub(super) fn instead() -> String {
    let pairs = WORDS.iter().map(|(old, new)| format!("{old} ({new})"));
    pairs.collect::<Vec<_>>().join("; ")
}

/// How many identifiers of the source `path` with these `lines`, each counted once, and how many parts of its
/// path, hold an old word.
pub(super) fn old_words(path: &Path, lines: &[String]) -> usize {
    let is_checked = FOLDERS.iter().any(|folder| path.starts_with(folder));
    if !is_checked {
        return 0;
    }
    let parts = path.iter().map(|part| part.to_string_lossy());
    let in_path = parts.filter(|part| is_old(part)).count();
    let code = without_text(&lines.join("\n"));
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let names: BTreeSet<&str> = code.split(|c| !is_part(c)).collect();
    in_path + names.into_iter().filter(|name| is_old(name)).count()
}

/// True if one of the words that `name` is made of is an old one.
fn is_old(name: &str) -> bool {
    if OF_OTHERS.contains(&name) {
        return false;
    }
    let is_word = |word: &String| WORDS.iter().any(|(old, _)| old == word);
    words(name).iter().any(is_word)
}

/// The words of `SNAKE_CASE`, `snake_case` and `CamelCase`, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && was_small);
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        was_small = c.is_lowercase() || c.is_numeric();
    }
    words
}

/// The source `text` without its comments, and without what its strings hold.
fn without_text(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', '\'']) {
        let (before, from) = rest.split_at(at);
        code.push_str(before);
        rest = if from.starts_with("//") {
            from.find('\n').map_or("", |end| from.split_at(end).1)
        } else if let Some(string) = from.strip_prefix('"') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let is_raw = before.trim_end_matches('#').ends_with('r');
            code.push(' ');
            after_string(string, is_raw, hashes)
        } else {
            code.push(' ');
            after_letter(from)
        };
    }
    code.push_str(rest);
    code
}

/// What follows the string that `text` is in.
fn after_string(text: &str, is_raw: bool, hashes: usize) -> &str {
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return text.split_once(&end).map_or("", |(_, rest)| rest);
    }
    let mut is_escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or("", |end| text.split_at(end + 1).1)
}

/// What follows the `/` or `'` that `text` begins with, or the letter between two `'`.
fn after_letter(text: &str) -> &str {
    let mut chars = text.chars();
    let first = chars.next();
    let letter = chars.clone();
    let escaped = chars.next() == Some('\\');
    if escaped {
        chars.next();
    }
    if first == Some('\'') && chars.next() == Some('\'') {
        return chars.as_str();
    }
    letter.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        old_words(Path::new(path), &lines)
    }

    #[test]
    fn an_old_word_in_a_name_is_seen_in_each_case_and_once() {
        let text = "fn cut_end() {}\nstruct CutEnd;\nconst CUT: u8 = 0;\ncut_end();";
        assert_eq!(count("wal/src/a.rs", text), 3);
    }

    #[test]
    fn a_file_has_no_old_name() {
        for path in ["wal/src/cut.rs", "wal/tests/cut_short.rs", "wal/cut/a.rs"] {
            assert_eq!(count(path, ""), 1, "{path}");
        }
        assert_eq!(count("wal/tests/shortcut.rs", ""), 0);
    }

    #[test]
    fn comments_strings_and_longer_words_are_no_names() {
        let text = "// cut\nlet shortcut = \"cut \\\" cut\"; let c = '\"'; let s = r#\"a \" cut\"#;\n\
                    fn f<'a>(x: &'a u8) -> u8 { x / 2 } // cut";
        assert_eq!(count("wal/src/a.rs", text), 0);
        assert_eq!(
            count("wal/src/a.rs", "queue.pop_front(); string.location();"),
            0
        );
    }

    #[test]
    fn other_folders_are_not_checked_yet() {
        assert_eq!(count("btree/src/a.rs", "fn cut() {}"), 0);
    }
}
