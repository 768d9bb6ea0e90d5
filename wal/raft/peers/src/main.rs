//! One of the stores as a program for `cargo xtask crashtest --command … --kind raft`.
//!
//! usage: judged NAME DIRECTORY

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::path::Path;

use anyhow::{Context as _, bail};
use raft_peers::{Entry, RaftLog, open, runtime};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, dir] = args.as_slice() else {
        bail!("usage: judged NAME DIRECTORY");
    };
    let runtime = runtime()?;
    let mut logs = open(name, Path::new(dir), 1, &runtime)?;
    let log = logs.first_mut().context("one log")?;
    for line in stdin().lock().lines() {
        answer(log.as_mut(), &line?)?;
    }
    // As a process that is killed: nothing is tidied up.
    std::process::exit(0);
}

fn answer(log: &mut dyn RaftLog, line: &str) -> anyhow::Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["vote", term, node] => log.save_vote(term.parse()?, node.parse()?)?,
        ["append", index, term, data] => log.append(vec![Entry {
            index: index.parse()?,
            term: term.parse()?,
            data: bytes(data)?,
        }])?,
        ["truncate", index] => log.truncate(index.parse()?)?,
        ["purge", index] => log.purge(index.parse()?)?,
        ["dump"] => return dump(log),
        _ => bail!("{line:?} is no request"),
    }
    say("ok")
}

fn dump(log: &mut dyn RaftLog) -> anyhow::Result<()> {
    let state = log.state()?;
    if let Some((term, node)) = state.vote {
        say(&format!("vote {term} {node}"))?;
    }
    if let Some(purged) = state.purged {
        say(&format!("purged {purged}"))?;
    }
    for entry in &state.entries {
        let data: String = entry
            .data
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        say(&format!("entry {} {} {data}", entry.index, entry.term))?;
    }
    say("end")
}

/// The bytes of digits in pairs.
fn bytes(hex: &str) -> anyhow::Result<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    pairs.map(byte).collect()
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    // Nobody reads what is still in a buffer.
    Ok(out.flush()?)
}
