//! `cargo xtask tidy`: what no compiler looks for. Each check has a list of today's exceptions, which may only
//! shrink: one that is larger than it needs to be is as red as one that is too small.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use durable_io::Disk;

use crate::engines::ENGINES;
use crate::planted::stale;

mod circles;
mod words;

use circles::Crate;

/// The list of exceptions, from the root of the workspace: a check, a path, and a number in each line.
const EXCEPTIONS: &str = "xtask/tidy.txt";
/// The adapters of the engines: a file and a folder of the engine's name each.
const ADAPTERS: &str = "xtask/src/engines";
const ADAPTER_LINES: usize = 300;
const FILE_LINES: usize = 500;

/// The command line of `tidy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Lower the exceptions to what is needed. None is added, and none raised.
    #[arg(long)]
    shrink: bool,
    /// Also print the imports that close each circle of files.
    #[arg(long)]
    circles: bool,
}

/// A check and a path, and how often the check fails there, or how large it is.
type Counts = BTreeMap<(String, String), usize>;

/// Looks at every source of the workspace at `root`, and prints what is not tidy; true if nothing is.
///
/// # Errors
/// Sources or exceptions that cannot be read.
pub(crate) fn run(args: &Args, root: &Path) -> anyhow::Result<bool> {
    let sources = sources(root)?;
    let mut found = Counts::new();
    for source in &sources {
        source.count(&mut found);
    }
    for engine in ENGINES {
        let name = engine.name();
        let lines = sources.iter().filter(|source| source.is_adapter_of(name));
        let lines = lines.map(|source| source.code.len()).sum();
        note(&mut found, "adapter", name, lines, ADAPTER_LINES);
        for (file, line) in crashtest::barriers(root, engine.folder(), engine.sources())? {
            let source = sources
                .iter()
                .find(|source| source.path == Path::new(&file));
            let is_explained =
                source.is_none_or(|source| says_what_is_durable(&source.lines, line));
            note(&mut found, "barrier", &file, usize::from(!is_explained), 0);
        }
    }
    for (name, sources) in crates(&sources)? {
        note(&mut found, "circle", &name, sources.files_in_circles(), 0);
        if args.circles {
            let circles = sources.circles().into_iter();
            say(&circles
                .map(|edges| format!("{name}: {}", edges.join(", ")))
                .collect::<Vec<_>>());
        }
    }
    for path in stale(root)? {
        note(&mut found, "planted", &path, 1, 0);
    }
    let mut allowed = exceptions(root)?;
    if args.shrink {
        allowed.retain(|key, _| found.contains_key(key));
        for (key, number) in &mut allowed {
            *number = found
                .get(key)
                .map_or(*number, |found| *number.min(&mut found.clone()));
        }
        write(root, &allowed)?;
    }
    let wrong = differences(&found, &allowed);
    say(&wrong);
    say(&[match wrong.len() {
        0 => "tidy".to_owned(),
        many => format!("{many} things are not tidy; exceptions are in {EXCEPTIONS}"),
    }]);
    Ok(wrong.is_empty())
}

#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
fn say(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

/// The imports of each crate, by its folder.
fn crates(sources: &[Source]) -> anyhow::Result<BTreeMap<String, Crate>> {
    let mut crates = BTreeMap::<String, Crate>::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        let path = source.path.display().to_string();
        if let Some((folder, file)) = path.split_once("/src/") {
            let found = crates.entry(folder.to_owned()).or_default();
            found.add(Path::new(file), &source.lines.join("\n"))?;
        }
    }
    Ok(crates)
}

/// What is found and not allowed, or allowed and not needed.
fn differences(found: &Counts, allowed: &Counts) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((check, path), number) in found {
        let allowed = allowed.get(&(check.clone(), path.clone())).copied();
        let limit = match check.as_str() {
            "adapter" => ADAPTER_LINES,
            "length" => FILE_LINES,
            _ => 0,
        };
        match allowed {
            Some(allowed) if allowed == *number => {}
            Some(allowed) if allowed > *number => wrong.push(format!(
                "{check}: {path}: {number}, so the exception of {allowed} must shrink (--shrink does it)"
            )),
            allowed => {
                let allowed = allowed.unwrap_or(limit);
                wrong.push(format!("{check}: {path}: {number}, allowed {allowed}: {}", reason_of(check)));
            }
        }
    }
    let unneeded = allowed.keys().filter(|key| !found.contains_key(*key));
    wrong.extend(unneeded.map(|(check, path)| {
        format!("{check}: {path}: its exception is not needed any more (--shrink removes it)")
    }));
    wrong
}

fn reason_of(check: &str) -> Cow<'static, str> {
    let reason = match check {
        "adapter" => "what the judge asks of an engine fits into so few lines",
        "length" => "a file has one subject",
        "circle" => "files that import each other in a circle (--circles prints the imports)",
        "fallback" => {
            "a value made up in place of an error: a typed error, or `expect` with the invariant"
        }
        "planted" => {
            "a planted bug must apply to the sources as they are: `git apply --reject` shows where not"
        }
        "discard" => "`let _ =` hides an error: drop(..) what is no result, and handle what is one",
        "word" => {
            let instead = words::instead();
            return format!("names with a word that has a better one: {instead}").into();
        }
        _ => "above each barrier is `// Durable: … Only now may …`",
    };
    reason.into()
}

fn note(found: &mut Counts, check: &str, path: &str, number: usize, limit: usize) {
    if number > limit {
        *found
            .entry((check.to_owned(), path.to_owned()))
            .or_insert(0) += number;
    }
}

/// A source file.
struct Source {
    /// From the root of the workspace.
    path: PathBuf,
    lines: Vec<String>,
    /// Those that are not tests.
    code: Vec<String>,
    /// True if there is nothing but tests and examples in it.
    is_test: bool,
}

impl Source {
    fn new(root: &Path, path: PathBuf) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(root.join(&path))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let is_test = path.ends_with("tests.rs")
            || path.components().any(|part| {
                let part = part.as_os_str();
                part == "tests" || part == "benches" || part == "examples" || part == "testing"
            });
        let code = if is_test { Vec::new() } else { code(&lines) };
        Ok(Self {
            path,
            lines,
            code,
            is_test,
        })
    }

    fn count(&self, found: &mut Counts) {
        let path = self.path.display().to_string();
        note(found, "length", &path, self.lines.len(), FILE_LINES);
        let text = self.code.iter().map(|line| line.trim()).collect::<Vec<_>>();
        let lies = text.iter().filter(|line| is_lying_fallback(line)).count();
        // A chain that goes over lines.
        let chains = text.windows(2).filter(|pair| {
            matches!(pair, [first, second] if first.ends_with(".ok()") && second.starts_with(".unwrap_or"))
        });
        note(found, "fallback", &path, lies + chains.count(), 0);
        let discards = text.iter().filter(|line| line.starts_with("let _ ="));
        note(found, "discard", &path, discards.count(), 0);
        note(
            found,
            "word",
            &path,
            words::old_words(&self.path, &self.lines),
            0,
        );
    }

    /// True if it belongs to what the judge asks of the engine called `name`, and not to the subjects of what
    /// that can do beyond.
    fn is_adapter_of(&self, name: &str) -> bool {
        let Ok(path) = self.path.strip_prefix(ADAPTERS) else {
            return false;
        };
        let module = name.replace('-', "_");
        let folder = path.strip_prefix(&module).ok();
        let is_subject = folder
            .is_some_and(|path| path.starts_with("subject") || path == Path::new("subject.rs"));
        path == Path::new(&format!("{module}.rs")) || folder.is_some() && !is_subject
    }
}

/// True if `line` makes up a value where there is an error.
fn is_lying_fallback(line: &str) -> bool {
    let line = line.trim();
    if line.starts_with("//") {
        return false;
    }
    let is_max = line.match_indices("unwrap_or(").any(|(at, found)| {
        let rest = line.get(at + found.len()..);
        rest.and_then(|rest| rest.split_once(')'))
            .is_some_and(|(value, _)| value.ends_with("::MAX"))
    });
    // In two parts, so that this line is none of them.
    let others = [
        ("unwrap_or_default", "()"),
        ("unwrap_or", "(Ok("),
        (".ok()", ".unwrap_or"),
    ];
    let is_other = |&(first, second): &(&str, &str)| line.contains(&[first, second].concat());
    is_max || others.iter().any(is_other)
}

/// True if the comment right above the statement that holds line `line` says what it makes durable.
fn says_what_is_durable(lines: &[String], line: u32) -> bool {
    let above = lines.iter().take((line as usize).saturating_sub(1)).rev();
    let mut in_comment = false;
    for line in above.map(|line| line.trim()) {
        if line.starts_with("//") {
            in_comment = true;
            if line.contains("Durable:") || line.contains("Redundant:") {
                return true;
            }
        } else if in_comment || line.is_empty() || line.ends_with([';', '{', '}']) {
            return false;
        }
    }
    false
}

/// `lines` without what is compiled for tests alone.
fn code(lines: &[String]) -> Vec<String> {
    let mut code = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code.push(line.clone());
            continue;
        }
        let mut item = lines
            .by_ref()
            .skip_while(|line| line.trim().starts_with("#["));
        let Some(first) = item.next() else { break };
        if !first.trim_end().ends_with([';', '}']) {
            let indent = first.len() - first.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            item.any(|line| *line == end);
        }
    }
    code
}

/// Every source of the workspace's crates.
fn sources(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut queue = vec![PathBuf::new()];
    while let Some(folder) = queue.pop() {
        for entry in Disk::os().open_dir(root.join(&folder))?.list()? {
            let path = folder.join(&entry.name);
            if entry.is_dir {
                if entry.name != "target" && !entry.name.starts_with('.') {
                    queue.push(path);
                }
            } else if entry.name.strip_suffix(".rs").is_some() {
                sources.push(Source::new(root, path)?);
            }
        }
    }
    Ok(sources)
}

fn exceptions(root: &Path) -> anyhow::Result<Counts> {
    let text = std::fs::read_to_string(root.join(EXCEPTIONS))
        .with_context(|| format!("cannot read {EXCEPTIONS}"))?;
    let mut exceptions = Counts::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        ensure!(
            words.len() == 3,
            "{EXCEPTIONS}: {line:?} is not a check, a path and a number"
        );
        if let [check, path, number] = *words.as_slice() {
            let key = (check.to_owned(), path.to_owned());
            exceptions.insert(key, number.parse()?);
        }
    }
    Ok(exceptions)
}

fn write(root: &Path, exceptions: &Counts) -> anyhow::Result<()> {
    let mut text =
        "# What is not tidy yet. Nothing is added here; see `cargo xtask tidy`.\n".to_owned();
    for ((check, path), number) in exceptions {
        writeln!(text, "{check} {path} {number}")?;
    }
    let (folder, name) = EXCEPTIONS
        .rsplit_once('/')
        .context("a path with a folder")?;
    let dir = Disk::os().open_dir(root.join(folder))?;
    durable_io::replace_file(&dir, name, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_made_up_value_is_seen() {
        for lie in [
            "x.unwrap_or_default()",
            "let n = u32::try_from(len).unwrap_or(u32::MAX);",
            "x.unwrap_or(Ok(false))",
            "x.ok().unwrap_or(3)",
        ] {
            assert!(is_lying_fallback(lie), "{lie}");
        }
        for honest in ["x.unwrap_or(0)", "// unwrap_or_default()", "u64::MAX"] {
            assert!(!is_lying_fallback(honest), "{honest}");
        }
    }

    #[test]
    fn a_barrier_is_explained_right_above_its_statement() {
        let text = lines(
            "// Durable: all of it.\n// Only now may it go.\nlet x = file\n    .sync_data()?;\nb.sync_all()?;",
        );
        assert!(says_what_is_durable(&text, 4));
        assert!(!says_what_is_durable(&text, 5));
    }

    #[test]
    fn tests_are_no_code() {
        let text = lines("a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n#[cfg(test)]\nmod tests;\nd");
        assert_eq!(code(&text), ["a", "c", "d"]);
    }

    #[test]
    fn an_exception_may_only_shrink() {
        let counts = |number| Counts::from([(("length".to_owned(), "a.rs".to_owned()), number)]);
        assert_eq!(differences(&counts(510), &counts(510)).len(), 0);
        assert_eq!(differences(&counts(511), &counts(510)).len(), 1);
        assert_eq!(differences(&counts(509), &counts(510)).len(), 1);
        assert_eq!(differences(&Counts::new(), &counts(510)).len(), 1);
    }
}
