//! `cargo xtask dump`: the files of a log as text, on standard output.

use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::path::PathBuf;

use wal::{Detail, Disk, Error};

/// The command line of `dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The log's directory.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Show the records too, not only the groups that hold them.
    #[arg(long)]
    records: bool,
}

/// Prints what `args` ask for. A reader that has seen enough ends it, without an error.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let detail = if args.records {
        Detail::Records
    } else {
        Detail::Groups
    };
    let mut out = BufWriter::new(stdout().lock());
    let dumped = wal::dump(&Disk::os(), &args.dir, detail, &mut out);
    let flushed = out.flush();
    match dumped {
        Err(Error::Output { source }) if source.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => match flushed {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => Ok(flushed?),
        },
    }
}
