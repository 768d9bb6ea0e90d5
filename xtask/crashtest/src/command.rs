//! A program as a store. It is reported what to do line by line, and answers each line before it reads the next:
//!
//! ```text
//! kv     put KEY HEX, del KEY                    ok
//!        batch KEY HEX KEY HEX ...               ok       with --batches
//!        dump                                    KEY HEX, a line for each pair in any order; then end
//! log    append HEX                              ok
//!        batch HEX HEX ...                       ok       with --batches
//!        dump                                    HEX, a line for each record in order; then end
//! raft   vote TERM NODE                          ok
//!        append INDEX TERM HEX                   ok
//!        truncate INDEX, purge INDEX             ok
//!        dump                                    vote T N, purged I, entry I T HEX ...; then end
//! all    sync                                    ok       with --unsynced
//! ```
//!
//! `KEY` is letters and digits, `HEX` bytes in hexadecimal digits. `ok` says that the operation, and all before it,
//! survive the loss of power (with `--unsynced` only that of a `sync` says so); any other answer says that it
//! failed. The program ends when its standard input does.
//!
//! A program that does nothing between `ok` and the next line is judged exactly. What a thread of
//! its own does in that time counts as done before the acknowledgement: no program is accused
//! wrongly, and what is not looked at are the moments between `ok` and the harness reading it.

mod protocol;

use std::error::Error;
use std::fmt;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::engine::{Contents, Outcome};
use crate::judged::{Judged, Live};
use crate::model::{Kind, Operation, Shape};
use crate::process::{Heard, Process, SILENCE};

/// What stands for the store's directory in a command.
pub(crate) const PLACE: &str = "{dir}";
/// Of what a program says on standard error, this many bytes are kept.
const COMPLAINT_BYTES: u64 = 64 << 10;

/// The error of a store that gives no answer at all.
#[derive(Debug)]
pub(crate) struct Silent;

impl Error for Silent {}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer for {} s", SILENCE.as_secs())
    }
}

/// A command that runs a store.
#[derive(Debug)]
pub(crate) struct Program {
    command: String,
    shape: Shape,
}

impl Program {
    pub(crate) fn new(command: &str, shape: Shape) -> Self {
        let command = command.to_owned();
        Self { command, shape }
    }
}

impl Judged for Program {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn open(&self, dir: &Path) -> Outcome<Box<dyn Live>> {
        let dir = dir.to_str().ok_or("the directory's name is not UTF-8")?;
        // The shell becomes the program, so that a kill strikes that.
        let command = format!("exec {}", self.command.replace(PLACE, dir));
        let mut process = Process::start(
            Command::new("sh")
                .args(["-c", &command])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped()),
        )?;
        let complaint = process.stderr().map(|pipe| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                // What cannot be read is not shown.
                drop(pipe.take(COMPLAINT_BYTES).read_to_end(&mut text));
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let (running, kind) = (Running { process, complaint }, self.shape.kind);
        Ok(Box::new(ProgramStore(Mutex::new(running), kind)))
    }

    fn is_process(&self) -> bool {
        true
    }
}

struct Running {
    process: Process,
    complaint: Option<JoinHandle<String>>,
}

impl Running {
    fn say(&mut self, line: &str) -> Outcome<()> {
        let stdin = self.process.stdin().as_mut();
        let said = stdin
            .ok_or("standard input is closed")?
            .write_all(line.as_bytes());
        said.map_err(|error| format!("{error}; {}", self.last_words()).into())
    }

    fn hear(&mut self) -> Outcome<String> {
        match self.process.hear(SILENCE) {
            Heard::Line(line) => Ok(line),
            Heard::Silence => Err(Silent.into()),
            Heard::End => Err(self.last_words().into()),
        }
    }

    /// Ends the program and returns what it complained of: the last line, which says most.
    fn last_words(&mut self) -> String {
        drop(self.process.kill());
        let said = self
            .complaint
            .take()
            .map(|said| said.join().expect("it only reads"));
        let last = said.as_ref().and_then(|said| said.lines().last());
        let last = last.unwrap_or("it said nothing");
        format!("the program ended: {last}")
    }

    fn order(&mut self, line: &str) -> Outcome<()> {
        self.say(line)?;
        match self.hear()?.trim_end() {
            "ok" => Ok(()),
            other => Err(format!("the program answered {other:?}").into()),
        }
    }
}

/// The open store: one question at a time.
struct ProgramStore(Mutex<Running>, Kind);

impl ProgramStore {
    fn with<T>(&self, ask: impl FnOnce(&mut Running) -> Outcome<T>) -> Outcome<T> {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Live for ProgramStore {
    fn perform(&self, operation: &Operation) -> Outcome<()> {
        let line = protocol::line(operation);
        self.with(|running| running.order(&line))
    }

    fn sync(&self) -> Outcome<()> {
        self.with(|running| running.order("sync\n"))
    }

    fn dump(&self) -> Outcome<Contents> {
        self.with(|running| running.dump(self.1))
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.with(Running::close)
    }
}

impl Running {
    fn dump(&mut self, kind: Kind) -> Outcome<Contents> {
        self.say("dump\n")?;
        let mut dump = protocol::Dump::new(kind);
        loop {
            let line = self.hear()?;
            let line = line.trim_end();
            if line == "end" {
                return Ok(dump.contents());
            }
            if dump.take(line).is_none() {
                let (shown, more) = shortened(line);
                let word = kind.word();
                return Err(format!(
                    "the program dumped {shown:?}{more}, twice or not as a {word}"
                )
                .into());
            }
        }
    }

    fn close(&mut self) -> Outcome<()> {
        drop(self.process.stdin().take());
        match self.process.hear(SILENCE) {
            Heard::End => {}
            Heard::Line(line) => return Err(format!("at its end it said {line:?}").into()),
            Heard::Silence => return Err(Silent.into()),
        }
        let status = self.process.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(format!("it ended with {status}").into())
    }
}

/// The beginning of a line, and what says that it is longer.
fn shortened(line: &str) -> (&str, &str) {
    const SHOWN: usize = 40;
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => (line.split_at(end).0, "..."),
        None => (line, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `script` as a store.
    fn run(script: &str) -> Box<dyn Live> {
        let program = Program::new(&format!("sh -c '{script}' {PLACE}"), Shape::default());
        program.open(Path::new("/nowhere")).unwrap()
    }

    #[test]
    fn orders_are_answered_and_a_dump_is_read() {
        let store = run(
            "read order; echo ok; read order; echo a 00ff; echo b 0A; echo end; \
                             read order; echo full",
        );
        let change = |value| Operation::Change(vec![(b"a".to_vec(), value)]);
        store.perform(&change(Some(vec![0, 255]))).unwrap();
        let contents = store.dump().unwrap();
        let expected = [(b"a".to_vec(), vec![0, 255]), (b"b".to_vec(), vec![10])];
        assert_eq!(contents, Contents::from(expected));
        let error = store.perform(&change(None)).unwrap_err();
        assert_eq!(error.to_string(), "the program answered \"full\"");
        store.close().unwrap();
    }

    #[test]
    fn what_a_program_does_wrong_is_reported() {
        for (script, reported) in [
            ("echo broken >&2; exit 3", "the program ended: broken"),
            (
                "read order; echo a 0; echo end",
                "the program dumped \"a 0\", twice or not as a kv",
            ),
            (
                "read order; echo a 00; echo a 00",
                "the program dumped \"a 00\", twice or not as a kv",
            ),
        ] {
            let error = run(script).dump().unwrap_err().to_string();
            assert!(error.ends_with(reported), "{error}");
        }
        let error = run("read order; exit 3").close().unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }
}
