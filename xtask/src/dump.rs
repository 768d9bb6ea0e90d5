//! `cargo xtask dump`: a table, or the files of a log or a store, as text, on standard output.

use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::path::PathBuf;

use durable_io::{Disk, Entry};

/// The command line of `dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the log or store, or the file of a table.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Show the records or entries too, not only the groups or blocks that hold them.
    #[arg(long)]
    records: bool,
}

/// Prints what `args` ask for. A reader that has seen enough ends it, without an error.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    let dumped = if args.path.is_file() {
        dump_table(args, &mut out)
    } else {
        dump_dir(args, &mut out)
    };
    let dumped = dumped.and_then(|()| Ok(out.flush()?));
    match dumped {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        dumped => dumped,
    }
}

/// Dumps the directory as what the names in it say that it is.
fn dump_dir(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let entries = Disk::os().open_dir(&args.path)?.list()?;
    let dump = if is_lsm(&entries) {
        dump_lsm
    } else if is_btree(&entries) {
        dump_btree
    } else if is_event_store(&entries) {
        dump_event_store
    } else if is_bitcask(&entries) {
        dump_bitcask
    } else if is_raft(&entries) {
        dump_raft
    } else {
        dump_wal
    };
    dump(args, out)
}

/// True if the directory has the parts of an LSM-tree.
fn is_lsm(entries: &[Entry]) -> bool {
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    has("log") && has("manifest") && has("tables")
}

fn dump_lsm(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let detail = if args.records {
        lsm::Detail::Records
    } else {
        lsm::Detail::Edits
    };
    match lsm::dump(&Disk::os(), &args.path, detail, out) {
        Err(lsm::Error::Output(output)) => Err(output.source.into()),
        dumped => Ok(dumped?),
    }
}

/// True if the directory has the files of a B+tree.
fn is_btree(entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|entry| entry.name == "pages" && !entry.is_dir)
}

fn dump_btree(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let detail = if args.records {
        btree::Detail::Records
    } else {
        btree::Detail::Pages
    };
    match btree::dump(&Disk::os(), &args.path, detail, out) {
        Err(btree::Error::Output(output)) => Err(output.source.into()),
        dumped => Ok(dumped?),
    }
}

/// True if the directory has the log of an event store.
fn is_event_store(entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|entry| entry.name == "events" && entry.is_dir)
}

fn dump_event_store(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let detail = if args.records {
        event_store::Detail::Records
    } else {
        event_store::Detail::Groups
    };
    match event_store::dump(&Disk::os(), &args.path, detail, out) {
        Err(event_store::Error::Output(error)) => Err(error.source.into()),
        dumped => Ok(dumped?),
    }
}

/// True if the directory has the files of a hash-indexed store.
fn is_bitcask(entries: &[Entry]) -> bool {
    let mut names = entries.iter().map(|entry| entry.name.as_str());
    names.any(|name| name == "manifest" || name.strip_suffix(".data").is_some())
}

fn dump_bitcask(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let detail = if args.records {
        bitcask::Detail::Records
    } else {
        bitcask::Detail::Groups
    };
    match bitcask::dump(&Disk::os(), &args.path, detail, out) {
        Err(bitcask::Error::Output(error)) => Err(error.source.into()),
        dumped => Ok(dumped?),
    }
}

/// True if the directory has the log of Raft groups.
fn is_raft(entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|entry| entry.name == "log" && entry.is_dir)
}

fn dump_raft(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let detail = if args.records {
        durable_raft::Detail::Records
    } else {
        durable_raft::Detail::Groups
    };
    match durable_raft::dump(&Disk::os(), &args.path, detail, out) {
        Err(durable_raft::Error::Output(output)) => Err(output.source.into()),
        dumped => Ok(dumped?),
    }
}

fn dump_table(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let detail = if args.records {
        sstable::Detail::Entries
    } else {
        sstable::Detail::Blocks
    };
    match sstable::dump(&Disk::os(), &args.path, detail, out) {
        Err(sstable::Error::Output(error)) => Err(error.source.into()),
        dumped => Ok(dumped?),
    }
}

fn dump_wal(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let detail = if args.records {
        wal::Detail::Records
    } else {
        wal::Detail::Groups
    };
    match wal::dump(&Disk::os(), &args.path, detail, out) {
        Err(wal::Error::Output(error)) => Err(error.source.into()),
        dumped => Ok(dumped?),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let own = error.downcast_ref::<std::io::Error>();
    let shared = error.downcast_ref::<std::sync::Arc<std::io::Error>>();
    let kind = own
        .or(shared.map(|shared| &**shared))
        .map(std::io::Error::kind);
    kind == Some(ErrorKind::BrokenPipe)
}
