//! How a layer shows that it is alive: a bar on a terminal, plain lines anywhere else.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The bars of the layers that run now.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// How often a plain line is printed while a layer runs.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of one layer. Bars and plain progress go to standard error, the layer's one line of
/// figures to standard output.
#[derive(Debug)]
pub(crate) struct Progress {
    label: String,
    total: Option<u64>,
    done: AtomicU64,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

impl Progress {
    /// Starts to show `label`; `total` is the number of steps if it is known beforehand.
    pub(crate) fn new(label: &str, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(label, total));
        Self {
            label: label.to_owned(),
            total,
            done: AtomicU64::new(0),
            bar,
            last_line: Mutex::new(Instant::now()),
        }
    }

    /// Counts `steps` more steps as done.
    pub(crate) fn inc(&self, steps: u64) {
        self.set(self.done.load(Ordering::Relaxed) + steps);
    }

    /// Says that `done` steps are done.
    pub(crate) fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.is_line_due() => {
                let of = self.total.map(|total| format!(" of {total}"));
                let of = of.as_deref().unwrap_or("");
                // Progress that nobody can read is no reason to stop.
                drop(writeln!(std::io::stderr(), "{}: {done}{of}", self.label));
            }
            None => {}
        }
    }

    /// True once per interval.
    fn is_line_due(&self) -> bool {
        let Ok(mut last) = self.last_line.lock() else {
            return false;
        };
        let is_due = last.elapsed() >= PLAIN_INTERVAL;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }

    /// Ends the bar and prints the layer's line of figures.
    pub(crate) fn finish(self, summary: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        print(&wrapped(&format!("{:<18} {summary}", self.label)));
    }
}

/// The columns of a terminal that everything is made for.
pub(crate) const WIDTH: usize = 80;

/// `text` on as many lines of 80 columns as it needs: each of its lines begins as it does, those that it is broken
/// into are indented by four more. A word that is longer than a line stays whole.
pub(crate) fn wrapped(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(wrapped_line).collect();
    lines.join("\n")
}

fn wrapped_line(text: &str) -> String {
    let own = text.len() - text.trim_start().len();
    let indent = own + 4;
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        let len = word.trim_end().chars().count();
        if column > indent && column + len > WIDTH {
            lines = lines.trim_end().to_owned() + "\n" + &" ".repeat(indent);
            column = indent;
        }
        lines.push_str(word);
        column += word.chars().count();
    }
    lines
}

fn bar(label: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{prefix:16}{wide_bar} {pos}/{len} {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{prefix:16}{spinner} {pos} in {elapsed}",
        ),
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are valid");
    BARS.add(bar.with_style(style).with_prefix(label.to_owned()))
}

/// Prints one line of the report to standard output.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub(crate) fn print(line: &str) {
    BARS.suspend(|| println!("{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_broken_between_words_and_indented_below_itself() {
        let words = ["word"; 40].join(" ");
        let text = wrapped(&format!("{words}\n  {words}\nshort"));
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line:?}");
        }
        let begins: Vec<&str> = text
            .lines()
            .map(|line| line.split_inclusive('w').next().unwrap())
            .collect();
        assert_eq!(
            begins,
            ["w", "    w", "    w", "  w", "      w", "      w", "short"]
        );
        let path = "x".repeat(100);
        assert_eq!(wrapped(&path), path);
    }
}
