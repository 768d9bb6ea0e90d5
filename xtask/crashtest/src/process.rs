//! A process that is listened to line by line, and killed at the latest when nobody listens any more.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// A process that says nothing for so long hangs: no call of a store takes a hundredth of this.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// A started process and the lines that it says. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    ended: bool,
}

/// What was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    Line(String),
    /// It closed its standard output.
    End,
    /// Nothing for too long.
    Silence,
}

impl Process {
    /// Starts `command`, with its standard output as a pipe.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let (sender, lines) = channel();
        if let Some(pipe) = child.stdout.take() {
            // Ends with the pipe, so with the process.
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self {
            child,
            lines,
            ended: false,
        })
    }

    /// Waits for the next line, for as long as `patience`.
    pub(crate) fn hear(&self, patience: Duration) -> Heard {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Heard::Line(line),
            Err(RecvTimeoutError::Disconnected) => Heard::End,
            Err(RecvTimeoutError::Timeout) => Heard::Silence,
        }
    }

    /// Its standard input, if that is a pipe.
    pub(crate) fn stdin(&mut self) -> &mut Option<ChildStdin> {
        &mut self.child.stdin
    }

    /// Takes its standard error, if that is a pipe.
    pub(crate) fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Those of `waitpid`.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.ended = true;
        self.child.wait()
    }

    /// Kills it; if it has ended already, that is no error.
    ///
    /// # Errors
    /// Those of `kill` and `waitpid`.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.ended = true;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            // On the way out with an error, which says more than a failure here could; or of a
            // store that is to die here.
            drop(self.kill());
        }
    }
}
