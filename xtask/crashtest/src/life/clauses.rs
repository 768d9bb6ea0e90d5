//! What the formats say cannot be told: in each `FORMAT.md`, below the fence `text undecidable`, lines of
//! files, which may be patterns, and the reason, after a colon.

use std::path::Path;

use anyhow::Context as _;

const FENCE: &str = "```text undecidable";

/// Which files, if all of them are older ones, leave a store that cannot be told from that of then.
#[derive(Debug, Default)]
pub(super) struct Clauses(Vec<(Vec<String>, String)>);

impl Clauses {
    /// Those of the engine whose crate is in the folder `folder`.
    ///
    /// # Errors
    /// There is no format to be read.
    pub(super) fn read(workspace: &Path, folder: &str) -> anyhow::Result<Self> {
        let path = workspace.join(folder).join("FORMAT.md");
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(&text))
    }

    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().skip_while(|line| *line != FENCE).skip(1);
        let lines = lines.take_while(|line| !line.starts_with("```"));
        let clause = |line: &str| {
            let (files, reason) = line.split_once(':')?;
            let files = files.split_whitespace().map(str::to_owned).collect();
            Some((files, reason.trim().to_owned()))
        };
        Self(lines.filter_map(clause).collect())
    }

    /// The reason why nobody can tell that the files `replaced` are older ones, if there is one.
    pub(super) fn reason(&self, replaced: &[&str]) -> Option<&str> {
        let has = |pattern: &String| replaced.iter().any(|name| matches(pattern, name));
        let clause = self.0.iter().find(|(files, _)| files.iter().all(has));
        clause.map(|(_, reason)| reason.as_str())
    }
}

/// True if `name` is `pattern`, in which a star stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => {
            let rest = name.strip_prefix(start);
            rest.is_some_and(|rest| rest.ends_with(end))
        }
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_holds_if_each_of_its_files_is_older() {
        let text = "above\n```text undecidable\nmark *.wal: no witness\n```\na b: below";
        let clauses = Clauses::parse(text);
        let reason = |replaced: &[&str]| clauses.reason(replaced).map(str::to_owned);
        assert_eq!(reason(&["mark", "1.wal"]).as_deref(), Some("no witness"));
        assert_eq!(reason(&["mark"]), None);
        assert_eq!(reason(&["a", "b", "1.wal"]), None);
    }
}
