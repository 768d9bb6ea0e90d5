//! A program as a key-value store. It is told what to do line by line, and answers each line before
//! it reads the next:
//!
//! ```text
//! put KEY HEX      ok
//! del KEY          ok
//! dump             KEY HEX, a line for each pair in any order; then end
//! ```
//!
//! `KEY` is letters and digits, `HEX` the value in hexadecimal digits. `ok` says that the operation,
//! and all before it, survive the loss of power; any other answer says that it failed. The program
//! ends when its standard input does.
//!
//! A program that does nothing between `ok` and the next line is judged exactly. What a thread of
//! its own does in that time counts as done before the acknowledgement: no program is accused
//! wrongly, and what is not looked at are the moments between `ok` and the harness reading it.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::engine::{Change, Contents, Engine, Killing, Outcome, Place, Refusal, Setting, Store};
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
}

impl Program {
    pub(crate) fn new(command: &str) -> Self {
        let command = command.to_owned();
        Self { command }
    }
}

impl Engine for Program {
    fn name(&self) -> &'static str {
        "command"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        let dir = setting
            .dir
            .to_str()
            .ok_or("the directory's name is not UTF-8")?;
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
        let running = Running { process, complaint };
        Ok(Box::new(ProgramStore(Mutex::new(running))))
    }

    fn damage(&self, _error: &Refusal) -> Option<Place> {
        None
    }

    fn killing(&self) -> Option<Killing> {
        None
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
struct ProgramStore(Mutex<Running>);

impl ProgramStore {
    fn with<T>(&self, ask: impl FnOnce(&mut Running) -> Outcome<T>) -> Outcome<T> {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for ProgramStore {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        let [(key, value)] = changes else {
            return Err("the protocol has no batches".into());
        };
        let key = String::from_utf8_lossy(key);
        let line = match value {
            None => format!("del {key}\n"),
            Some(value) => {
                let mut line = format!("put {key} ");
                for byte in value {
                    write!(line, "{byte:02x}")?;
                }
                line + "\n"
            }
        };
        self.with(|running| running.order(&line))
    }

    fn dump(&self) -> Outcome<Contents> {
        self.with(Running::dump)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.with(Running::close)
    }
}

impl Running {
    fn dump(&mut self) -> Outcome<Contents> {
        self.say("dump\n")?;
        let mut contents = Contents::new();
        loop {
            let line = self.hear()?;
            if line.trim_end() == "end" {
                return Ok(contents);
            }
            let pair = line.trim_end().split_once(' ');
            let pair = pair.and_then(|(key, hex)| Some((key, bytes(hex)?)));
            let (key, value) = pair.ok_or_else(|| format!("the program dumped {line:?}"))?;
            if contents.insert(key.as_bytes().to_vec(), value).is_some() {
                return Err(format!("the program dumped {key:?} twice").into());
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

/// The bytes that `hex` stands for.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let digits = |pair: &[u8; 2]| {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        u8::try_from(high? << 4 | low?).ok()
    };
    if rest.is_empty() {
        pairs.iter().map(digits).collect()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `script` as a store.
    fn run(script: &str) -> Box<dyn Store> {
        let program = Program::new(&format!("sh -c '{script}' {PLACE}"));
        let setting = Setting::new(durable_io::Disk::os(), "/nowhere", 0);
        program.open(&setting).unwrap()
    }

    #[test]
    fn orders_are_answered_and_a_dump_is_read() {
        let store = run(
            "read order; echo ok; read order; echo a 00ff; echo b 0A; echo end; \
                             read order; echo full",
        );
        store.apply(&[(b"a".to_vec(), Some(vec![0, 255]))]).unwrap();
        let contents = store.dump().unwrap();
        let expected = [(b"a".to_vec(), vec![0, 255]), (b"b".to_vec(), vec![10])];
        assert_eq!(contents, Contents::from(expected));
        let error = store.apply(&[(b"a".to_vec(), None)]).unwrap_err();
        assert_eq!(error.to_string(), "the program answered \"full\"");
        store.close().unwrap();
    }

    #[test]
    fn what_a_program_does_wrong_is_told() {
        for (script, told) in [
            ("echo broken >&2; exit 3", "the program ended: broken"),
            (
                "read order; echo a 0; echo end",
                "the program dumped \"a 0\"",
            ),
            (
                "read order; echo a 00; echo a 00",
                "the program dumped \"a\" twice",
            ),
        ] {
            let error = run(script).dump().unwrap_err().to_string();
            assert!(error.ends_with(told), "{error}");
        }
        let error = run("read order; exit 3").close().unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn hexadecimal_digits_are_bytes() {
        assert_eq!(bytes("00fFa1"), Some(vec![0, 255, 161]));
        assert_eq!(bytes(""), Some(Vec::new()));
        assert_eq!(bytes("0"), None);
        assert_eq!(bytes("0g"), None);
    }
}
